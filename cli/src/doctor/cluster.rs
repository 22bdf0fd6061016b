//! The diagnosis from a laptop: the objects of the cluster, then the exchange for a service account.

use std::ffi::OsString;
use std::io::Write as _;

use entra_workload::Environment;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::Failure;

/// What is asked: `NAMESPACE/NAME` of one kind of object.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Deployment(Name),
    Pod(Name),
    ServiceAccount(Name),
}

#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or("must be NAMESPACE/NAME")?;
        let is_name = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        if !is_name(namespace) || !is_name(name) {
            return Err("must be NAMESPACE/NAME".to_owned());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// What the cluster says.
pub(super) struct Live {
    /// The objects, for the rules of lint: a name and the object.
    pub(super) objects: Vec<(String, Value)>,
    /// The variables that the webhook would set, and the token that the kubelet would project.
    pub(super) environment: Environment,
    /// What could not be read, and why.
    pub(super) notes: Vec<String>,
    /// Removed when the diagnosis ends.
    _token_file: NamedTempFile,
}

/// Reads the objects and gets a token as the kubelet would, by the `TokenRequest` API.
///
/// * `own`: the variables of this process; `AZURE_TENANT_ID`, `AZURE_AUTHORITY_HOST` and `SSL_CERT_FILE` count
///   here, as the settings of the webhook do in the cluster.
pub(super) async fn read(
    target: &Target,
    own: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Live, Failure> {
    // `kube` takes the provider of the process; where the build has two, none is the default.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await.map_err(|error| {
        format!("there is no usable kubeconfig: {error}; set KUBECONFIG or run `kubectl config use-context`")
    })?;
    let mut objects = Vec::new();
    let account = match target {
        Target::ServiceAccount(name) => name.clone(),
        Target::Deployment(name) => {
            let deployment: Deployment = get(&client, name, "Deployment").await?;
            let spec = deployment
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref());
            let account = spec.and_then(|spec| spec.service_account_name.clone());
            add(&mut objects, "Deployment", name, "apps/v1", &deployment)?;
            of_workload(name, account)
        }
        Target::Pod(name) => {
            let pod: Pod = get(&client, name, "Pod").await?;
            let account = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.clone());
            add(&mut objects, "Pod", name, "v1", &pod)?;
            of_workload(name, account)
        }
    };
    let object: ServiceAccount = get(&client, &account, "ServiceAccount").await?;
    add(&mut objects, "ServiceAccount", &account, "v1", &object)?;
    let mut notes = Vec::new();
    notes.extend(webhook(&client).await);

    let token = mint(&client, &account).await?;
    let mut file = NamedTempFile::new()?;
    file.write_all(token.as_bytes())?;
    let annotations = object.metadata.annotations.unwrap_or_default();
    let annotated = |name: &str| {
        annotations
            .get(&format!("azure.workload.identity/{name}"))
            .cloned()
    };
    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut variables: Vec<(String, String)> =
        own.filter(|(name, _)| PASSED.contains(&name.as_str())).collect();
    if let Some(client_id) = annotated("client-id") {
        variables.push(("AZURE_CLIENT_ID".to_owned(), client_id));
    }
    if let Some(tenant_id) = annotated("tenant-id") {
        variables.retain(|(name, _)| name != "AZURE_TENANT_ID");
        variables.push(("AZURE_TENANT_ID".to_owned(), tenant_id));
    }
    variables.push((
        "AZURE_FEDERATED_TOKEN_FILE".to_owned(),
        file.path().display().to_string(),
    ));
    Ok(Live {
        objects,
        environment: variables.into_iter().collect(),
        notes,
        _token_file: file,
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

async fn get<T>(client: &Client, name: &Name, kind: &str) -> Result<T, Failure>
where
    T: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<T> = Api::namespaced(client.clone(), &name.namespace);
    let Name { namespace, name } = name;
    api.get(name)
        .await
        .map_err(|error| failure(&error, &format!("the {kind} {namespace}/{name} cannot be read")))
}

/// With the missing permission, if that is the reason: the API server names it.
fn failure(error: &kube::Error, what: &str) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("{what}: you lack a permission: {}", status.message).into()
        }
        kube::Error::Api(status) => format!("{what}: {}", status.message).into(),
        error => format!("{what}: {error}").into(),
    }
}

fn add(
    objects: &mut Vec<(String, Value)>,
    kind: &str,
    name: &Name,
    version: &str,
    object: &impl Serialize,
) -> Result<(), Failure> {
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
    objects.push((format!("{kind} {}/{}", name.namespace, name.name), object));
    Ok(())
}

async fn mint(client: &Client, account: &Name) -> Result<String, Failure> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &account.namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let what = format!("there is no token of {}/{}", account.namespace, account.name);
    let response = api
        .create_token_request(&account.name, &PostParams::default(), &request)
        .await
        .map_err(|error| failure(&error, &what))?;
    let token = response.status.map(|status| status.token);
    token.ok_or_else(|| what.into())
}

/// Says what is wrong with the webhook.
async fn webhook(client: &Client) -> Vec<String> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) => return vec![failure(&error, "webhooks are not checked").to_string()],
    };
    let found: Vec<_> = list
        .items
        .iter()
        .flat_map(|configuration| configuration.webhooks.iter().flatten())
        .filter(|webhook| webhook.name.contains("azure-workload-identity"))
        .collect();
    let mut notes = Vec::new();
    match found.len() {
        0 => notes.push(
            "the webhook of workload identity is not installed: `az aks update --enable-workload-identity`, or install its chart; without it, pods get no variables"
                .to_owned(),
        ),
        1 => {}
        count => notes.push(format!("the webhook of workload identity is installed {count} times: remove the chart where AKS brings its own")),
    }
    let ignores = found
        .iter()
        .any(|webhook| webhook.failure_policy.as_deref() == Some("Ignore"));
    if ignores {
        notes.push("the webhook has the failure policy Ignore: while it is down, pods start without workload identity".to_owned());
    }
    notes
}

/// Settings of the webhook and of this machine.
const PASSED: [&str; 5] = [
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// What the webhook asks for. Source: azure-workload-identity, "Service Account Token Volume Projection".
const AUDIENCE: &str = "api://AzureADTokenExchange";
