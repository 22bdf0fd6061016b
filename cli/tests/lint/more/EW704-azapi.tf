resource "azapi_resource" "orders" {
  type      = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31"
  name      = "orders"
  parent_id = azurerm_user_assigned_identity.orders.id
  body = jsonencode({
    properties = {
      issuer    = azurerm_kubernetes_cluster.main.oidc_issuer_url
      subject   = "system:serviceaccount:shop:orders"
      audiences = ["api://AzureADTokenExchanges"]
    }
  })
}
