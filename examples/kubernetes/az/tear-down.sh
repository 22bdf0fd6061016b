#!/usr/bin/env bash
# Deletes what set-up.sh created: the resource group with everything in it. The vault is purged too, since its name
# stays taken for seven days otherwise.
set -euo pipefail

# As for set-up.sh.
RESOURCE_GROUP=${RESOURCE_GROUP:-shop}

read -r -p "Delete resource group $RESOURCE_GROUP with everything in it? Type its name: " answer
[[ $answer == "$RESOURCE_GROUP" ]] || { echo "nothing deleted" >&2; exit 1; }

vaults=$(az keyvault list --resource-group "$RESOURCE_GROUP" --query "[].name" --output tsv)
az group delete --name "$RESOURCE_GROUP" --yes
for vault in $vaults; do
    az keyvault purge --name "$vault"
done
