resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = var.client_id
    }
  }
}

resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = var.identity_id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders"
  audience            = ["api://AzureADTokenExchange"]
}

resource "kubernetes_service_account" "billing" {
  metadata {
    name      = "billing"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = module.identity.client_id
    }
  }
}

resource "azurerm_federated_identity_credential" "billing" {
  name                = "billing"
  resource_group_name = "shop"
  parent_id           = module.identity.resource_id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:billing"
  audience            = ["api://AzureADTokenExchange"]
}

resource "kubernetes_service_account" "stock" {
  metadata {
    name      = "stock"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = data.azurerm_user_assigned_identity.stock.client_id
    }
  }
}

resource "azurerm_federated_identity_credential" "stock" {
  name                = "stock"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.stock.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:stock"
  audience            = ["api://AzureADTokenExchange"]
}

resource "kubernetes_service_account" "returns" {
  metadata {
    name      = "returns"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = azurerm_user_assigned_identity.returns.client_id
    }
  }
}

resource "azurerm_federated_identity_credential" "returns" {
  name                = "returns"
  resource_group_name = "shop"
  parent_id           = var.identity_id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:returns"
  audience            = ["api://AzureADTokenExchange"]
}
