use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::assertion::jwt;
use crate::blocking::Shared;
use crate::bounded_file::FileReader;

/// The names of a pod, for the commands of a report. Those that are not known are placeholders in
/// capitals.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Pod {
    /// The namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod.
    pub name: String,
    /// The Deployment that the pod is of.
    pub deployment: String,
    /// The client ID of its identity.
    pub client_id: String,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            namespace: "NAMESPACE".into(),
            service_account: "SERVICE_ACCOUNT".into(),
            name: "POD".into(),
            deployment: "DEPLOYMENT".into(),
            client_id: "CLIENT_ID".into(),
        }
    }
}

impl Pod {
    /// Reads the names from the first file that holds a service-account token.
    pub(super) async fn read(files: Vec<PathBuf>, file_reader: FileReader) -> Self {
        let reading = Shared::default();
        let claims = reading.read(move || files.iter().find_map(|file| claims(file, &file_reader)));
        let claims = claims.await.ok().flatten();
        claims.map(|claims| Self::of(&claims)).unwrap_or_default()
    }

    pub(super) fn of(claims: &Map<String, Value>) -> Self {
        let text = |path: &str| {
            let mut names = path.split('/');
            let first = claims.get(names.next()?)?;
            let value = names.try_fold(first, |value, name| value.get(name))?;
            value.as_str().filter(|name| is_name(name)).map(str::to_owned)
        };
        let default = Self::default();
        // system:serviceaccount:NAMESPACE:NAME
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let mut subject = subject
            .strip_prefix("system:serviceaccount:")
            .unwrap_or_default()
            .splitn(2, ':');
        let mut of_subject = || subject.next().filter(|name| is_name(name)).map(str::to_owned);
        let (namespace, service_account) = (of_subject(), of_subject());
        let name = text("kubernetes.io/pod/name");
        Self {
            deployment: name.as_deref().and_then(deployment).unwrap_or(default.deployment),
            namespace: namespace.unwrap_or(default.namespace),
            service_account: service_account.unwrap_or(default.service_account),
            name: name.unwrap_or(default.name),
            client_id: default.client_id,
        }
    }
}

fn claims(file: &Path, file_reader: &FileReader) -> Option<Map<String, Value>> {
    let bytes = file_reader.read(file, MAX_FILE).ok()?;
    let jwt = std::str::from_utf8(&bytes).ok()?.trim();
    Some(jwt::Decoded::read(jwt).ok()?.claims)
}

/// Returns the name of the Deployment of a pod: without the hash of its `ReplicaSet` and its own suffix.
fn deployment(pod: &str) -> Option<String> {
    let (replica_set, suffix) = pod.rsplit_once('-')?;
    let (deployment, hash) = replica_set.rsplit_once('-')?;
    let is_generated = |text: &str| text.bytes().all(|byte| GENERATED.contains(&byte));
    // The pod of a CronJob has the minute of its start there, in digits alone.
    let is_hash = is_generated(hash) && hash.bytes().any(|byte| byte.is_ascii_alphabetic());
    let fits = suffix.len() == 5 && is_generated(suffix) && (5..=10).contains(&hash.len()) && is_hash;
    fits.then(|| deployment.to_owned())
}

/// Whether the text can be the name of an object, so that it is safe in a command.
fn is_name(text: &str) -> bool {
    let fits = (1..=253).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// Source: Kubernetes, "Configure Service Accounts for Pods".
pub(super) const API_TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

const MAX_FILE: usize = 64 * 1024;

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
            assert_eq!(deployment(pod).as_deref(), name, "{pod}");
        }
    }

    #[test]
    fn names_that_a_shell_would_read_are_placeholders() {
        let claims = serde_json::json!({"sub": "system:serviceaccount:$(reboot):a;b"});
        let pod = Pod::of(claims.as_object().unwrap());
        assert_eq!(pod, Pod::default());
    }
}
