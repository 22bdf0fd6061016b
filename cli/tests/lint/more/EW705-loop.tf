resource "azurerm_federated_identity_credential" "each" {
  for_each                  = toset(["orders", "billing"])
  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.orders.id
  issuer                    = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject                   = "system:serviceaccount:shop:${each.key}"
  audience                  = ["api://AzureADTokenExchange"]
}
