resource "azurerm_kubernetes_cluster" "main" {
  name                      = "main"
  oidc_issuer_enabled       = true
  workload_identity_enabled = true
}

resource "azurerm_federated_identity_credential" "orders" {
  name                      = "orders"
  user_assigned_identity_id = azurerm_user_assigned_identity.orders.id
  issuer                    = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject                   = "system:serviceaccount:shop:orders"
  audience                  = ["api://AzureADTokenExchange"]
}
