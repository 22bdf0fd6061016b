resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"
    }
  }
}

resource "kubernetes_manifest" "orders" {
  manifest = {
    apiVersion = "apps/v1"
    kind       = "Deployment"
    metadata = {
      name      = "orders"
      namespace = "shop"
    }
    spec = {
      template = {
        metadata = {
          labels = {
            app = "orders"
          }
        }
        spec = {
          serviceAccountName = "orders"
          containers = [{
            name  = "orders"
            image = "registry.example.com/orders:1"
          }]
        }
      }
    }
  }
}
