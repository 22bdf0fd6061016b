# The cluster's own identity and a pipeline manage things; the pod has a role of the company's own.
resource "azurerm_role_assignment" "network" {
  scope                = azurerm_virtual_network.main.id
  role_definition_name = "Contributor"
  principal_id         = azurerm_user_assigned_identity.control_plane.principal_id
}

resource "azurerm_federated_identity_credential" "pipeline" {
  name                = "pipeline"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.pipeline.id
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:contoso/orders:ref:refs/heads/main"
  audience            = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "pipeline" {
  scope                = azurerm_storage_account.shop.id
  role_definition_name = "Contributor"
  principal_id         = azurerm_user_assigned_identity.pipeline.principal_id
}

resource "azurerm_federated_identity_credential" "orders" {
  name                      = "orders"
  user_assigned_identity_id = azurerm_user_assigned_identity.orders.id
  issuer                    = data.azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject                   = "system:serviceaccount:shop:orders"
  audience                  = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "orders" {
  scope              = azurerm_storage_account.shop.id
  role_definition_id = azurerm_role_definition.reader_of_invoices.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.orders.principal_id
}

resource "azurerm_role_assignment" "orders_reader" {
  scope                = azurerm_storage_account.shop.id
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.orders.principal_id
}
