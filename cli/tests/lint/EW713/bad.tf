resource "azurerm_kubernetes_cluster" "main" {
  name                      = "main"
  oidc_issuer_enabled       = true
  workload_identity_enabled = true
}

resource "azurerm_federated_identity_credential" "orders" {
  name                      = "orders"
  user_assigned_identity_id = azurerm_user_assigned_identity.orders.id
  issuer                    = "https://westeurope.oic.prod-aks.azure.com/1d6ae5f1/9c2f/"
  subject                   = "system:serviceaccount:shop:orders"
  audience                  = ["api://AzureADTokenExchange"]
}
