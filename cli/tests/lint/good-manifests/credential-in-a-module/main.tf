resource "azurerm_federated_identity_credential" "orders" {
  name                = "orders"
  resource_group_name = "shop"
  parent_id           = azurerm_user_assigned_identity.orders.id
  issuer              = azurerm_kubernetes_cluster.main.oidc_issuer_url
  subject             = "system:serviceaccount:external-secrets:external-secrets"
  audience            = ["api://AzureADTokenExchange"]
}

module "identity" {
  source = "Azure/avm-res-managedidentity-userassignedidentity/azurerm"
  name   = "orders"
  federated_identity_credentials = {
    orders = { subject = "system:serviceaccount:shop:orders" }
  }
}

resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = module.identity.client_id
    }
  }
}
