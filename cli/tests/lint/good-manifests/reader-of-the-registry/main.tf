resource "azurerm_role_assignment" "orders" {
  scope                = azurerm_storage_account.shop.id
  role_definition_name = "Reader"
  principal_id         = azurerm_kubernetes_cluster.main.kubelet_identity[0].object_id
}

