extension microsoftGraphV1

resource orders 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'orders'
  location: resourceGroup().location
}
