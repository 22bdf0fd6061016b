resource "azurerm_federated_identity_credential" "github" {
  name                = "github"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:example/shop:environment:production"
  audience            = ["api://AzureADTokenExchange"]
}

