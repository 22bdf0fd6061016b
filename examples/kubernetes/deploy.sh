#!/usr/bin/env bash
# Builds the image in the registry, deploys the samples to the AKS cluster, and shows what they print. Reads
# manifests/settings.env, which az/set-up.sh, Terraform or Bicep wrote. Needs az and kubectl, but no Docker.
set -euo pipefail
cd "$(dirname "$0")/../.."
kit=examples/kubernetes

# shellcheck source-path=SCRIPTDIR source=manifests/settings.env
source "$kit/manifests/settings.env"

az acr build --registry "$REGISTRY" --image "${IMAGE#*/}" --file "$kit/Dockerfile" .
az aks get-credentials --resource-group "$RESOURCE_GROUP" --name "$CLUSTER" --overwrite-existing

# The pod template of a Job cannot change.
kubectl delete job keyvault --namespace shop --ignore-not-found
kubectl apply --kustomize "$kit/manifests"
kubectl wait job/keyvault --namespace shop --for condition=Complete --timeout 15m
kubectl rollout status deployment/blob --namespace shop --timeout 15m
kubectl logs job/keyvault --namespace shop
kubectl logs deployment/blob --namespace shop
