resource "azurerm_kubernetes_cluster" "ci" {
  name = "ci"
}
