resource "azurerm_kubernetes_cluster" "main" {
  name = "main"
}

resource "azurerm_federated_identity_credential" "pipeline" {
  name                = "pipeline"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.pipeline.id
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:contoso/orders:ref:refs/heads/main"
  audience            = ["api://AzureADTokenExchange"]
}
