resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = azurerm_user_assigned_identity.billing.client_id
    }
  }
}

resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  user_assigned_identity_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:shop:orders"
  audience            = ["api://AzureADTokenExchange"]
}

