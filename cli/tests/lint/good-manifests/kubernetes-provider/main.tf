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
          app                           = "orders"
          "azure.workload.identity/use" = "true"
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

locals {
  is_used = "true"
}

resource "kubernetes_cron_job_v1" "report" {
  metadata {
    name      = "report"
    namespace = "shop"
  }
  spec {
    schedule = "0 3 * * *"
    job_template {
      metadata {}
      spec {
        template {
          metadata {
            labels = {
              "azure.workload.identity/use" = local.is_used
            }
          }
          spec {
            service_account_name = "orders"
            container {
              name  = "report"
              image = "registry.example.com/report:1"
            }
          }
        }
      }
    }
  }
}

resource "kubernetes_stateful_set_v1" "stock" {
  metadata {
    name      = "stock"
    namespace = "shop"
  }
  spec {
    template {
      metadata {
        labels = {
          "azure.workload.identity/use" = true
        }
      }
      spec {
        service_account_name = kubernetes_service_account.orders.metadata[0].name
        container {
          name  = "stock"
          image = "registry.example.com/stock:1"
        }
      }
    }
  }
}
