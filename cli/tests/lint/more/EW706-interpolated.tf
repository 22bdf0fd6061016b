resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = "${azurerm_user_assigned_identity.orders.principal_id}"
    }
  }
}
