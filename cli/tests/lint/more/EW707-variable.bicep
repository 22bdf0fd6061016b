var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b24988ac-6180-42a0-ab88-20f7382dd24c')
// The identity of the orders service.
param location string = resourceGroup().location

resource cluster 'Microsoft.ContainerService/managedClusters@2024-09-01' = {
  name: 'main'
  location: location
  properties: {
    dnsPrefix: 'main'
    oidcIssuerProfile: {
      enabled: true
    }
    securityProfile: {
      workloadIdentity: {
        enabled: true
      }
    }
  }
}

resource orders 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'orders'
  location: location
}

resource credential 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = {
  name: 'orders'
  parent: orders
  properties: {
    issuer: cluster.properties.oidcIssuerProfile.issuerURL
    subject: 'system:serviceaccount:shop:orders'
    audiences: [
      'api://AzureADTokenExchange'
    ]
  }
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: 'shop'
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, orders.id)
  scope: storage
  properties: {
    principalId: orders.properties.principalId
    principalType: 'ServicePrincipal'
    // Contributor
    roleDefinitionId: reader
  }
}
