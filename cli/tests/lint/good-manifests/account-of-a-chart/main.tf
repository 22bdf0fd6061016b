resource "azurerm_federated_identity_credential" "external_dns" {
  name                = "external-dns"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.external_dns.id
  issuer              = data.azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:external-dns:external-dns"
  audience            = ["api://AzureADTokenExchange"]
}
