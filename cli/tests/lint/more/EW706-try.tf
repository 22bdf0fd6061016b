resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = try(azurerm_user_assigned_identity.orders[0].principal_id, "")
    }
  }
}
