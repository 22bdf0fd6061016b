#!/usr/bin/env bash
# Creates everything on the Azure side with the Azure CLI: cluster, registry, managed identity, federated credential,
# storage account, Key Vault and roles. Writes ../manifests/settings.env, which deploy.sh and the manifests read.
#
# Needs `az login` as an Owner of the subscription (or Contributor and User Access Administrator). Takes about ten
# minutes, and can run again: what exists is kept. tear-down.sh deletes everything.
set -euo pipefail
cd "$(dirname "$0")"

# Change these here or in the environment.
RESOURCE_GROUP=${RESOURCE_GROUP:-shop}
LOCATION=${LOCATION:-westeurope}
CLUSTER=${CLUSTER:-shop}
NODE_SIZE=${NODE_SIZE:-Standard_D2s_v5}
IDENTITY=${IDENTITY:-orders}
CONTAINER=${CONTAINER:-reports}
# The sample sets a secret. For a service that only reads secrets, "Key Vault Secrets User" is enough.
KEY_VAULT_ROLE=${KEY_VAULT_ROLE:-Key Vault Secrets Officer}
# The issuer of a cluster that is not AKS. If it is set, no cluster and no registry are created; set IMAGE too.
ISSUER=${ISSUER:-}

# These are also in ../manifests. The federated credential matches them to the letter.
NAMESPACE=shop
SERVICE_ACCOUNT=orders

# Names that are unique in all of Azure end in a number that depends on the subscription and the resource group.
subscription=$(az account show --query id --output tsv)
suffix=$(printf '%s/%s' "$subscription" "$RESOURCE_GROUP" | cksum | cut -d ' ' -f 1)
storage=shop$suffix
vault=shop-$suffix
registry=shop$suffix
IMAGE=${IMAGE:-$registry.azurecr.io/entra-workload-samples:0.1.0}

step() { printf '\n==> %s\n' "$*" >&2; }

step "Resource providers of an empty subscription"
for provider in Compute ContainerRegistry ContainerService KeyVault ManagedIdentity Network Storage; do
    az provider register --namespace "Microsoft.$provider" --wait
done

step "Resource group $RESOURCE_GROUP"
az group create --name "$RESOURCE_GROUP" --location "$LOCATION" --output none

if [[ -z $ISSUER ]]; then
    step "Registry $registry"
    az acr create --resource-group "$RESOURCE_GROUP" --name "$registry" --sku Basic --output none

    step "Cluster $CLUSTER with OIDC issuer and workload identity"
    if az aks show --resource-group "$RESOURCE_GROUP" --name "$CLUSTER" --output none 2>/dev/null; then
        az aks update --resource-group "$RESOURCE_GROUP" --name "$CLUSTER" \
            --enable-oidc-issuer --enable-workload-identity --attach-acr "$registry" --output none
    else
        az aks create --resource-group "$RESOURCE_GROUP" --name "$CLUSTER" --location "$LOCATION" \
            --node-count 1 --node-vm-size "$NODE_SIZE" --no-ssh-key \
            --enable-oidc-issuer --enable-workload-identity --attach-acr "$registry" --output none
    fi
    # As it is, with the slash at its end: Entra compares it with the `iss` of the token to the letter.
    ISSUER=$(az aks show --resource-group "$RESOURCE_GROUP" --name "$CLUSTER" \
        --query oidcIssuerProfile.issuerUrl --output tsv)
fi

step "Managed identity $IDENTITY"
az identity create --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --location "$LOCATION" --output none
client_id=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query clientId --output tsv)
principal_id=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query principalId --output tsv)
tenant_id=$(az identity show --resource-group "$RESOURCE_GROUP" --name "$IDENTITY" --query tenantId --output tsv)

step "Federated credential for service account $NAMESPACE/$SERVICE_ACCOUNT of $ISSUER"
az identity federated-credential create --resource-group "$RESOURCE_GROUP" --identity-name "$IDENTITY" \
    --name "$NAMESPACE-$SERVICE_ACCOUNT" \
    --issuer "$ISSUER" \
    --subject "system:serviceaccount:$NAMESPACE:$SERVICE_ACCOUNT" \
    --audiences api://AzureADTokenExchange \
    --output none

step "Storage account $storage with container $CONTAINER; account keys are off"
az storage account create --resource-group "$RESOURCE_GROUP" --name "$storage" --location "$LOCATION" \
    --kind StorageV2 --sku Standard_LRS --min-tls-version TLS1_2 \
    --allow-blob-public-access false --allow-shared-key-access false --output none
az storage container-rm create --resource-group "$RESOURCE_GROUP" --storage-account "$storage" --name "$CONTAINER" \
    --output none
storage_id=$(az storage account show --resource-group "$RESOURCE_GROUP" --name "$storage" --query id --output tsv)
storage_url=$(az storage account show --resource-group "$RESOURCE_GROUP" --name "$storage" \
    --query primaryEndpoints.blob --output tsv)

step "Key Vault $vault; permissions are roles"
if ! az keyvault show --resource-group "$RESOURCE_GROUP" --name "$vault" --output none 2>/dev/null; then
    az keyvault create --resource-group "$RESOURCE_GROUP" --name "$vault" --location "$LOCATION" \
        --enable-rbac-authorization true --retention-days 7 --output none
fi
vault_id=$(az keyvault show --resource-group "$RESOURCE_GROUP" --name "$vault" --query id --output tsv)
vault_url=$(az keyvault show --resource-group "$RESOURCE_GROUP" --name "$vault" --query properties.vaultUri --output tsv)

step "Roles of the identity; they can take ten minutes to take effect"
# By object ID and type, so that no directory look-up can miss an identity that is seconds old.
az role assignment create --assignee-object-id "$principal_id" --assignee-principal-type ServicePrincipal \
    --role "Storage Blob Data Contributor" --scope "$storage_id/blobServices/default/containers/$CONTAINER" --output none
az role assignment create --assignee-object-id "$principal_id" --assignee-principal-type ServicePrincipal \
    --role "$KEY_VAULT_ROLE" --scope "$vault_id" --output none

cat >../manifests/settings.env <<SETTINGS
# Written by az/set-up.sh. Nothing in it is a secret.
RESOURCE_GROUP=$RESOURCE_GROUP
CLUSTER=$CLUSTER
REGISTRY=$registry
IMAGE=$IMAGE
AZURE_TENANT_ID=$tenant_id
AZURE_CLIENT_ID=$client_id
AZURE_STORAGE_ACCOUNT_URL=$storage_url
AZURE_STORAGE_CONTAINER=$CONTAINER
AZURE_KEYVAULT_URL=$vault_url
SETTINGS
step "Wrote manifests/settings.env; next: deploy.sh"
