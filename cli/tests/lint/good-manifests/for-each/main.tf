resource "azurerm_federated_identity_credential" "each" {
  for_each            = toset(["orders", "billing"])
  name                = each.key
  resource_group_name = var.resource_group
  parent_id           = azurerm_user_assigned_identity.each[each.key].id
  issuer              = data.azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:${var.namespace}:${each.key}"
  audience            = ["api://AzureADTokenExchange"]
}
