resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id"                        = azurerm_user_assigned_identity.orders.client_id
      "azure.workload.identity/service-account-token-expiration" = var.token_expiration
    }
  }
}
