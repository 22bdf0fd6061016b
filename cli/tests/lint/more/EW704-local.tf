locals {
  audience = "api://AzureADTokenExchanges"
}

resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders"
  audience            = [local.audience]
}
