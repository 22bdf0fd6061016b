// The identity of the orders service.
param namespace string = 'shop'
param location string = resourceGroup().location

@description('The cluster of the platform team.')
resource cluster 'Microsoft.ContainerService/managedClusters@2024-09-01' existing = {
  name: 'main'
}

resource orders 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'orders'
  location: location

  resource credential 'federatedIdentityCredentials' = {
    name: 'orders'
    properties: {
      issuer: cluster.properties.oidcIssuerProfile.issuerURL
      subject: 'system:serviceaccount:${namespace}:orders'
      audiences: ['api://AzureADTokenExchange']
    }
  }
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, orders.id)
  scope: resourceGroup()
  properties: {
    principalId: orders.properties.principalId
    principalType: 'ServicePrincipal'
    // Storage Blob Data Contributor
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
  }
}
