//! The diagnosis from a laptop: the objects of the cluster, then the exchange for a service account.

mod api_server;
mod surroundings;
mod target;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use entra_workload::Environment;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{self, PodSpec, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Resource};
use serde::Serialize;
use serde_json::Value;

use self::api_server::ApiServer;
use self::surroundings::{WebhookSettings, events, may_use, newest_pod, webhook};
pub(super) use self::target::{Name, Target};
use crate::Failure;

/// What the cluster says.
pub(super) struct Live {
    /// The objects, for the rules of lint: a name and the object.
    pub(super) objects: Vec<(String, Value)>,
    /// What the webhook and the kubelet would give a pod. `None` with an identity binding: only pods reach the token
    /// proxy.
    pub(super) pod: Option<Arc<Pod>>,
    /// What could not be read, and why.
    pub(super) notes: Vec<String>,
}

/// A pod that does not run: its variables, and the token that the kubelet would project. The token stays in memory, so
/// that no end of this process leaves it in a file.
pub(super) struct Pod {
    pub(super) environment: Environment,
    token: String,
}

impl Pod {
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new(TOKEN_FILE) {
            return Ok(self.token.clone().into_bytes());
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Reads the objects and gets a token as the kubelet would, by the `TokenRequest` API.
///
/// * `own`: the variables of this process; `AZURE_TENANT_ID`, `AZURE_AUTHORITY_HOST` and `SSL_CERT_FILE` count
///   here, as the settings of the webhook do in the cluster.
/// * `timeout`: of each request to the API server.
pub(super) async fn read(
    target: &Target,
    own: impl IntoIterator<Item = (OsString, OsString)>,
    timeout: Duration,
) -> Result<Live, Failure> {
    let server = ApiServer::connect(timeout).await?;
    let (mut objects, mut notes) = (Vec::new(), Vec::new());
    let mut of_container = Vec::new();
    let account = match target {
        Target::ServiceAccount(name) => name.clone(),
        Target::Deployment(name) => {
            let deployment: Deployment = get(&server, name, "Deployment").await?;
            let spec = deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref());
            let account = spec.and_then(|spec| spec.service_account_name.clone());
            of_container = spec.map(literals).unwrap_or_default();
            objects.push((
                format!("Deployment {name}"),
                manifest("Deployment", "apps/v1", &deployment)?,
            ));
            notes.extend(newest_pod(&server, name, &deployment, &mut objects).await.err());
            of_workload(name, account)
        }
        Target::Pod(name) => {
            let pod: v1::Pod = get(&server, name, "Pod").await?;
            let account = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.clone());
            of_container = pod.spec.as_ref().map(literals).unwrap_or_default();
            objects.push((format!("Pod {name}"), manifest("Pod", "v1", &pod)?));
            of_workload(name, account)
        }
    };
    let object: ServiceAccount = get(&server, &account, "ServiceAccount").await?;
    objects.push((
        format!("ServiceAccount {account}"),
        manifest("ServiceAccount", "v1", &object)?,
    ));
    let of_webhook = match webhook(&server, &mut objects).await {
        Ok(settings) => settings,
        Err(error) => {
            notes.push(error);
            WebhookSettings::default()
        }
    };
    notes.extend(events(&server, &account.namespace, &mut objects).await.err());

    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let own: Vec<_> = own.filter(|(name, _)| PASSED.contains(&name.as_str())).collect();
    let annotations = object.metadata.annotations.unwrap_or_default();
    let annotated = ANNOTATIONS.iter().filter_map(|(name, annotation)| {
        let value = annotations.get(*annotation)?;
        Some(((*name).to_owned(), value.clone()))
    });
    let is_bound = objects.iter().any(|(_, object)| has_binding(object));
    if is_bound {
        let client_id = annotations.get(CLIENT_ID).map_or("", String::as_str);
        notes.extend(may_use(&server, &account, client_id, &mut objects).await.err());
        return Ok(Live {
            objects,
            pod: None,
            notes: notes.iter().map(ToString::to_string).collect(),
        });
    }
    // The last one counts: the program's own variables win over what the webhook sets.
    let sources = [own, of_webhook.variables, annotated.collect(), of_container];
    let mut variables: BTreeMap<String, String> = sources.into_iter().flatten().collect();
    if !variables.contains_key("AZURE_TENANT_ID") {
        let text = "the tenant is not known: set AZURE_TENANT_ID to that of the webhook";
        return Err(text.into());
    }
    let audience = audience_of_volume(&objects).or(of_webhook.audience.as_deref());
    let token = mint(&server, &account, audience.unwrap_or(AUDIENCE)).await?;
    variables.insert("AZURE_FEDERATED_TOKEN_FILE".to_owned(), TOKEN_FILE.to_owned());
    Ok(Live {
        objects,
        pod: Some(Arc::new(Pod {
            environment: variables.into_iter().collect(),
            token,
        })),
        notes: notes.iter().map(ToString::to_string).collect(),
    })
}

/// Whether a pod, a template or a service account uses an identity binding.
fn has_binding(object: &Value) -> bool {
    let places = ["/metadata/annotations", "/spec/template/metadata/annotations"];
    places.iter().any(|place| {
        let annotations = object.pointer(place);
        annotations.is_some_and(|annotations| annotations[BINDING] == "true")
    })
}

/// Without a name, a pod uses the service account `default`.
fn of_workload(workload: &Name, account: Option<String>) -> Name {
    Name {
        namespace: workload.namespace.clone(),
        name: account
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned()),
    }
}

async fn get<T>(server: &ApiServer, name: &Name, kind: &str) -> Result<T, Failure>
where
    T: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<T> = Api::namespaced(server.client(), &name.namespace);
    let what = format!("the {kind} {name} cannot be read");
    server.call(&what, api.get(&name.name)).await
}

/// The object as a file would hold it: the API leaves out kind and version.
fn manifest(kind: &str, version: &str, object: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(object)?;
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), version.into());
        object.insert("kind".to_owned(), kind.into());
    }
    // They repeat the object.
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    Ok(object)
}

/// The audience of the token that a pod or a template has, by the webhook or by hand.
fn audience_of_volume(objects: &[(String, Value)]) -> Option<&str> {
    let places = ["/spec/volumes", "/spec/template/spec/volumes"];
    let volumes = objects.iter().flat_map(|(_, object)| {
        places
            .iter()
            .filter_map(|place| object.pointer(place)?.as_array())
    });
    let sources = volumes
        .flatten()
        .filter_map(|volume| volume.pointer("/projected/sources")?.as_array());
    let mut tokens = sources
        .flatten()
        .map(|source| &source["serviceAccountToken"])
        .filter(|token| token["path"] == TOKEN);
    tokens.find_map(|token| token["audience"].as_str())
}

/// The variables of the first container that are written in the manifest.
fn literals(spec: &PodSpec) -> Vec<(String, String)> {
    let container = spec.containers.first();
    let variables = container
        .and_then(|container| container.env.as_ref())
        .into_iter()
        .flatten();
    variables
        .filter(|variable| CONTAINER.contains(&variable.name.as_str()))
        .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
        .collect()
}

async fn mint(server: &ApiServer, account: &Name, audience: &str) -> Result<String, Failure> {
    let api: Api<ServiceAccount> = Api::namespaced(server.client(), &account.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let what = format!("there is no token of {account}");
    let parameters = PostParams::default();
    let response = api.create_token_request(&account.name, &parameters, &request);
    let response = server.call(&what, response).await?;
    let token = response.status.map(|status| status.token);
    token.ok_or_else(|| what.into())
}

/// The name of the token in its volume. Source: azure-workload-identity, `pkg/webhook/consts.go`.
const TOKEN: &str = "azure-identity-token";

/// What the webhook requests in every cloud, unless its `--audience` says otherwise. Source: as above.
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Settings of the webhook and of this machine.
const PASSED: [&str; 9] = [
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
];

/// Where the webhook mounts the token. Source: azure-workload-identity, `pkg/webhook/consts.go`.
const TOKEN_FILE: &str = "/var/run/secrets/azure/tokens/azure-identity-token";

const CLIENT_ID: &str = "azure.workload.identity/client-id";
const BINDING: &str = "azure.workload.identity/use-identity-binding";

/// What the webhook sets, and the annotation that it comes from.
const ANNOTATIONS: [(&str, &str); 2] = [
    ("AZURE_CLIENT_ID", CLIENT_ID),
    ("AZURE_TENANT_ID", "azure.workload.identity/tenant-id"),
];

/// The webhook does not replace them.
const CONTAINER: [&str; 3] = ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn audience_is_that_of_the_token_volume_of_a_pod_or_a_template() {
        let token = |path: &str| json!({"serviceAccountToken": {"path": path, "audience": "api://custom"}});
        let volumes = |path: &str| json!([{"name": "a", "emptyDir": {}}, {"name": "b", "projected": {"sources": [token(path)]}}]);
        let pod = |path: &str| json!({"spec": {"volumes": volumes(path)}});
        let deployment = json!({"spec": {"template": pod(TOKEN)}});
        for (object, audience) in [
            (pod(TOKEN), Some("api://custom")),
            (deployment, Some("api://custom")),
            (pod("vault-token"), None),
            (json!({"kind": "ServiceAccount"}), None),
        ] {
            let objects = [("object".to_owned(), object)];
            assert_eq!(audience_of_volume(&objects), audience, "{objects:?}");
        }
    }
}
