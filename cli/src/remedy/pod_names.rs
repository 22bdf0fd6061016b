use entra_workload::diagnose::Pod;

/// The names of a pod in commands. Those that are not known are placeholders in capitals.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PodNames {
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) pod: String,
    pub(super) deployment: String,
    pub(super) client_id: String,
}

impl PodNames {
    /// * `deployment`: the Deployment, if it is known. Otherwise, the name of the pod tells it.
    pub(crate) fn new(pod: &Pod, deployment: Option<&str>) -> Self {
        let or = |name: &Option<String>, placeholder: &str| name.as_deref().unwrap_or(placeholder).to_owned();
        let of_pod = || deployment_of(pod.name.as_deref()?);
        Self {
            namespace: or(&pod.namespace, "NAMESPACE"),
            service_account: or(&pod.service_account, "SERVICE_ACCOUNT"),
            pod: or(&pod.name, "POD"),
            deployment: deployment.or_else(of_pod).unwrap_or("DEPLOYMENT").to_owned(),
            client_id: or(&pod.client_id, "CLIENT_ID"),
        }
    }
}

/// Returns the name of the Deployment of a pod: without the hash of its `ReplicaSet` and its own suffix.
fn deployment_of(pod: &str) -> Option<&str> {
    let (replica_set, suffix) = pod.rsplit_once('-')?;
    let (deployment, hash) = replica_set.rsplit_once('-')?;
    let is_generated = |text: &str| text.bytes().all(|byte| GENERATED.contains(&byte));
    // The pod of a CronJob has the minute of its start there, in digits alone.
    let is_hash = is_generated(hash) && hash.bytes().any(|byte| byte.is_ascii_alphabetic());
    let fits = suffix.len() == 5 && is_generated(suffix) && (5..=10).contains(&hash.len()) && is_hash;
    fits.then_some(deployment)
}

/// Source: Kubernetes, `k8s.io/apimachinery/pkg/util/rand`.
const GENERATED: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployment_is_known_from_the_name_of_a_pod() {
        for (pod, name) in [
            ("orders-7d9f8b6c5-x2x4z", Some("orders")),
            ("orders-api-67bd54c8b9-5wq6d", Some("orders-api")),
            ("orders-0", None),
            ("orders", None),
            ("orders-29475522-x2x4z", None),
            ("orders-x2x4z", None),
        ] {
            assert_eq!(deployment_of(pod), name, "{pod}");
        }
    }

    #[test]
    fn unknown_names_are_placeholders() {
        let names = PodNames::new(&Pod::default(), None);
        assert_eq!(
            (&*names.namespace, &*names.deployment),
            ("NAMESPACE", "DEPLOYMENT")
        );
        assert_eq!(
            PodNames::new(&Pod::default(), Some("orders")).deployment,
            "orders"
        );
    }
}
