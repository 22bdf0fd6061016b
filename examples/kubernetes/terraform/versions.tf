terraform {
  required_version = ">= 1.9"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.10"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id

  # The storage account accepts no account keys, and whoever runs Terraform needs no role on its data.
  storage_use_azuread = true

  # Version 5 registers nothing by default, and an empty subscription has nothing registered.
  resource_providers_to_register = [
    "Microsoft.Compute",
    "Microsoft.ContainerRegistry",
    "Microsoft.ContainerService",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Storage",
  ]

  features {
    storage {
      data_plane_available = false
    }
  }
}
