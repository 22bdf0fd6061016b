using './main.bicep'

// What you may want to change; main.bicep describes every parameter.
param nodeSize = 'Standard_D2s_v5'
param keyVaultRole = 'Key Vault Secrets Officer'
