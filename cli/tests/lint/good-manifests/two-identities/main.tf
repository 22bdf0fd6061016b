resource "azurerm_federated_identity_credential" "a" {
  name                      = "orders"
  user_assigned_identity_id = azurerm_user_assigned_identity.a.id
  issuer                    = data.azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject                   = "system:serviceaccount:shop:orders"
  audience                  = ["api://AzureADTokenExchange"]
}

resource "azurerm_federated_identity_credential" "b" {
  name                      = "orders"
  user_assigned_identity_id = azurerm_user_assigned_identity.b.id
  issuer                    = data.azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject                   = "system:serviceaccount:shop:orders"
  audience                  = ["api://AzureADTokenExchange"]
}

