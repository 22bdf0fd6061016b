resource "kubernetes_service_account" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"
    }
  }
}

resource "kubernetes_deployment_v1" "orders" {
  metadata {
    name      = "orders"
    namespace = "shop"
    labels = {
      "azure.workload.identity/use" = "true"
    }
  }
  spec {
    selector {
      match_labels = {
        app = "orders"
      }
    }
    template {
      metadata {
        labels = {
          app = "orders"
        }
      }
      spec {
        service_account_name = "orders"
        container {
          name  = "orders"
          image = "registry.example.com/orders:1"
        }
        container {
          name  = "proxy"
          image = "registry.example.com/proxy:1"
        }
      }
    }
  }
}
