locals {
  # Ends the names that must be unique in all of Azure.
  suffix = substr(sha256("${var.subscription_id}/${var.resource_group}"), 0, 10)
}

resource "azurerm_resource_group" "shop" {
  name     = var.resource_group
  location = var.location
}

resource "azurerm_container_registry" "shop" {
  name                = "shop${local.suffix}"
  resource_group_name = azurerm_resource_group.shop.name
  location            = azurerm_resource_group.shop.location
  sku                 = "Basic"
}

resource "azurerm_kubernetes_cluster" "shop" {
  name                = var.cluster
  resource_group_name = azurerm_resource_group.shop.name
  location            = azurerm_resource_group.shop.location
  dns_prefix          = var.cluster

  # The issuer publishes the keys that Entra checks service-account tokens with; workload identity is the webhook.
  oidc_issuer_enabled       = true
  workload_identity_enabled = true

  default_node_pool {
    name       = "default"
    node_count = 1
    vm_size    = var.node_size
  }

  node_provisioning_profile {
    mode = "Manual"
  }

  # The identity of the cluster itself. Pods do not use it.
  identity {
    type = "SystemAssigned"
  }
}

resource "azurerm_role_assignment" "image_pull" {
  scope                = azurerm_container_registry.shop.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.shop.kubelet_identity[0].object_id
  principal_type       = "ServicePrincipal"
}

# The identity of the pods.
resource "azurerm_user_assigned_identity" "orders" {
  name                = var.identity
  resource_group_name = azurerm_resource_group.shop.name
  location            = azurerm_resource_group.shop.location
}

resource "azurerm_federated_identity_credential" "orders" {
  name                      = "${var.namespace}-${var.service_account}"
  user_assigned_identity_id = azurerm_user_assigned_identity.orders.id

  # As it is, with the slash at its end: Entra compares it with the `iss` of the token to the letter.
  issuer   = azurerm_kubernetes_cluster.shop.oidc_issuer_url
  subject  = "system:serviceaccount:${var.namespace}:${var.service_account}"
  audience = ["api://AzureADTokenExchange"]
}

resource "azurerm_storage_account" "shop" {
  name                            = "shop${local.suffix}"
  resource_group_name             = azurerm_resource_group.shop.name
  location                        = azurerm_resource_group.shop.location
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  allow_nested_items_to_be_public = false
  shared_access_key_enabled       = false
}

resource "azurerm_storage_container" "shop" {
  name               = var.container
  storage_account_id = azurerm_storage_account.shop.id
}

resource "azurerm_role_assignment" "blob" {
  scope                = azurerm_storage_container.shop.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.orders.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_key_vault" "shop" {
  name                       = "shop-${local.suffix}"
  resource_group_name        = azurerm_resource_group.shop.name
  location                   = azurerm_resource_group.shop.location
  tenant_id                  = azurerm_user_assigned_identity.orders.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  soft_delete_retention_days = 7
}

resource "azurerm_role_assignment" "key_vault" {
  scope                = azurerm_key_vault.shop.id
  role_definition_name = var.key_vault_role
  principal_id         = azurerm_user_assigned_identity.orders.principal_id
  principal_type       = "ServicePrincipal"
}
