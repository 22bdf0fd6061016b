output "settings" {
  description = "The content of ../manifests/settings.env. Nothing in it is a secret."
  value       = <<-SETTINGS
    # Written from the outputs of Terraform. Nothing in it is a secret.
    RESOURCE_GROUP=${azurerm_resource_group.shop.name}
    CLUSTER=${azurerm_kubernetes_cluster.shop.name}
    REGISTRY=${azurerm_container_registry.shop.name}
    IMAGE=${azurerm_container_registry.shop.login_server}/entra-workload-samples:0.1.0
    AZURE_TENANT_ID=${azurerm_user_assigned_identity.orders.tenant_id}
    AZURE_CLIENT_ID=${azurerm_user_assigned_identity.orders.client_id}
    AZURE_STORAGE_ACCOUNT_URL=${azurerm_storage_account.shop.primary_blob_endpoint}
    AZURE_STORAGE_CONTAINER=${azurerm_storage_container.shop.name}
    AZURE_KEYVAULT_URL=${azurerm_key_vault.shop.vault_uri}
  SETTINGS
}

output "issuer" {
  description = "The OIDC issuer of the cluster: the `iss` of its service-account tokens."
  value       = azurerm_kubernetes_cluster.shop.oidc_issuer_url
}
