resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = "https://westeurope.oic.prod-aks.azure.com/4d4cf8a9/1f2e3d4c"
  subject             = "system:serviceaccount:shop:orders"
  audience            = ["api://AzureADTokenExchange"]
}

