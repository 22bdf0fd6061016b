variable "subscription_id" {
  description = "The subscription; `az account show --query id --output tsv` prints the current one."
  type        = string
}

variable "location" {
  description = "The region of everything."
  type        = string
  default     = "westeurope"
}

variable "resource_group" {
  description = "The resource group that is created."
  type        = string
  default     = "shop"
}

variable "cluster" {
  description = "The name of the AKS cluster."
  type        = string
  default     = "shop"
}

variable "node_size" {
  description = "The size of the cluster's node."
  type        = string
  default     = "Standard_D2s_v5"
}

variable "identity" {
  description = "The name of the managed identity."
  type        = string
  default     = "orders"
}

variable "container" {
  description = "The name of the blob container."
  type        = string
  default     = "reports"
}

variable "key_vault_role" {
  description = "The role on the vault. The sample sets a secret; \"Key Vault Secrets User\" is enough to read."
  type        = string
  default     = "Key Vault Secrets Officer"
}

# These two are also in ../manifests. The federated credential matches them to the letter.
variable "namespace" {
  description = "The namespace of the service account."
  type        = string
  default     = "shop"
}

variable "service_account" {
  description = "The name of the service account."
  type        = string
  default     = "orders"
}
