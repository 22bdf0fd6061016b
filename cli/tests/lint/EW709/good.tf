resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders"
  audience            = ["api://AzureADTokenExchange"]
}

resource "azurerm_federated_identity_credential" "orders0" {
  name                = "orders0"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders0"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders1" {
  name                = "orders1"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders1"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders2" {
  name                = "orders2"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders2"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders3" {
  name                = "orders3"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders3"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders4" {
  name                = "orders4"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders4"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders5" {
  name                = "orders5"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders5"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders6" {
  name                = "orders6"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders6"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders7" {
  name                = "orders7"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders7"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders8" {
  name                = "orders8"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders8"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders9" {
  name                = "orders9"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders9"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders10" {
  name                = "orders10"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders10"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders11" {
  name                = "orders11"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders11"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders12" {
  name                = "orders12"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders12"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders13" {
  name                = "orders13"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders13"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders14" {
  name                = "orders14"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders14"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders15" {
  name                = "orders15"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders15"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders16" {
  name                = "orders16"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders16"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders17" {
  name                = "orders17"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders17"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

resource "azurerm_federated_identity_credential" "orders18" {
  name                = "orders18"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders18"
  audience            = ["api://AzureADTokenExchange"]
  depends_on          = [azurerm_federated_identity_credential.orders]
}

