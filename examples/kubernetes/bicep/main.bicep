// Everything on the Azure side in one resource group: cluster, registry, managed identity, federated credential,
// storage account, Key Vault and roles. The output `settings` is the content of ../manifests/settings.env.
targetScope = 'resourceGroup'

@description('The region of everything.')
param location string = resourceGroup().location

@description('The name of the AKS cluster.')
param cluster string = 'shop'

@description('The size of the node of the cluster.')
param nodeSize string = 'Standard_D2s_v5'

@description('The name of the managed identity.')
param identity string = 'orders'

@description('The name of the blob container.')
param container string = 'reports'

@description('The role on the vault. The sample sets a secret; Key Vault Secrets User is enough to read.')
@allowed([
  'Key Vault Secrets Officer'
  'Key Vault Secrets User'
])
param keyVaultRole string = 'Key Vault Secrets Officer'

// These two are also in ../manifests. The federated credential matches them to the letter.
@description('The namespace of the service account.')
param namespace string = 'shop'

@description('The name of the service account.')
param serviceAccount string = 'orders'

// Ends the names that must be unique in all of Azure.
var suffix = uniqueString(resourceGroup().id)

// The IDs of built-in roles are the same in every tenant.
var roles = {
  AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  'Key Vault Secrets Officer': 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  'Key Vault Secrets User': '4633458b-17de-408a-b874-0445c86b69e6'
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: 'shop${suffix}'
  location: location
  sku: {
    name: 'Basic'
  }
}

resource aks 'Microsoft.ContainerService/managedClusters@2025-05-01' = {
  name: cluster
  location: location
  // The identity of the cluster itself. Pods do not use it.
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    dnsPrefix: cluster
    agentPoolProfiles: [
      {
        name: 'default'
        mode: 'System'
        count: 1
        vmSize: nodeSize
      }
    ]
    // Publishes the keys that Entra checks service-account tokens with.
    oidcIssuerProfile: {
      enabled: true
    }
    // The webhook that gives pods the token and the variables.
    securityProfile: {
      workloadIdentity: {
        enabled: true
      }
    }
  }
}

resource imagePull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: registry
  name: guid(registry.id, aks.id, roles.AcrPull)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.AcrPull)
    principalId: aks.properties.identityProfile.kubeletidentity.objectId
    principalType: 'ServicePrincipal'
  }
}

// The identity of the pods.
resource orders 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: identity
  location: location
}

resource federatedCredential 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2024-11-30' = {
  parent: orders
  name: '${namespace}-${serviceAccount}'
  properties: {
    // As it is, with the slash at its end: Entra compares it with the `iss` of the token to the letter.
    issuer: aks.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:${namespace}:${serviceAccount}'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'shop${suffix}'
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    minimumTlsVersion: 'TLS1_2'
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: storage
  name: 'default'
}

resource blobContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobService
  name: container
}

resource blobRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: blobContainer
  name: guid(blobContainer.id, orders.id, roles['Storage Blob Data Contributor'])
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Blob Data Contributor']
    )
    principalId: orders.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: 'shop-${suffix}'
  location: location
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    softDeleteRetentionInDays: 7
  }
}

resource vaultRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, orders.id, roles[keyVaultRole])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[keyVaultRole])
    principalId: orders.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

@description('The content of ../manifests/settings.env. Nothing in it is a secret.')
output settings string = join(
  [
    '# Written from the outputs of the Bicep deployment. Nothing in it is a secret.'
    'RESOURCE_GROUP=${resourceGroup().name}'
    'CLUSTER=${aks.name}'
    'REGISTRY=${registry.name}'
    'IMAGE=${registry.properties.loginServer}/entra-workload-samples:0.1.0'
    'AZURE_TENANT_ID=${orders.properties.tenantId}'
    'AZURE_CLIENT_ID=${orders.properties.clientId}'
    'AZURE_STORAGE_ACCOUNT_URL=${storage.properties.primaryEndpoints.blob}'
    'AZURE_STORAGE_CONTAINER=${container}'
    'AZURE_KEYVAULT_URL=${vault.properties.vaultUri}'
  ],
  '\n'
)

@description('The OIDC issuer of the cluster: the `iss` of its service-account tokens.')
output issuer string = aks.properties.oidcIssuerProfile.issuerURL
