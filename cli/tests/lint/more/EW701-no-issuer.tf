resource "azurerm_kubernetes_cluster" "main" {
  name                      = "main"
  workload_identity_enabled = true
}
