locals {
  issuer = "https://northeurope.oic.prod-aks.azure.com/4d4cf8a9-1d4c-4b5e-8a5e-0d2c8c1b7a11/0b7e1c0e-0000-4000-8000-00000000000b"
}

resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = local.issuer
  subject             = "system:serviceaccount:shop:orders"
  audience            = ["api://AzureADTokenExchange"]
}
