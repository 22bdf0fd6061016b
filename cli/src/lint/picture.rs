use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use strsim::levenshtein;
use uuid::fmt::Hyphenated;

use super::account_index::AccountIndex;
use super::kustomize::Patches;
use super::source::{Note, Origin, Source};
use super::terraform::Resource;
use super::value::Value;

/// What the files say together: service account, pod template, identity, federated credential, role.
///
/// A namespace that is not given matches every one: it is given when the files are applied.
pub(super) struct Picture<'a> {
    pub(super) objects: Vec<Object<'a>>,
    pub(super) pods: Vec<Pod<'a>>,
    pub(super) accounts: Vec<Account<'a>>,
    /// The resources of each kind, each with the index of its file.
    resources: HashMap<&'a str, Vec<(usize, &'a Resource)>>,
    /// Network policies of every API.
    pub(super) policies: Vec<Object<'a>>,
    index: AccountIndex<'a>,
    /// Of the accounts with a client ID.
    annotated: AccountIndex<'a>,
    /// The names of accounts that pods with the label use, each with the namespaces of the pods.
    used: HashMap<Option<&'a str>, HashSet<Option<&'a str>>>,
    /// The names of accounts whose pods have a variable with the client ID.
    overridden: HashSet<Option<&'a str>>,
    /// The service accounts whose tokens operators request.
    requested: HashSet<&'a str>,
    patches: Patches,
    /// Those left to compare names and labels with each other.
    steps: Cell<usize>,
    /// The first file in which not all of them are compared.
    not_compared: Cell<Option<usize>>,
    sources: &'a [Source],
}

/// An object of Kubernetes.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    /// The index of its file.
    pub(super) source: usize,
    pub(super) kind: &'a str,
    pub(super) value: &'a Value,
}

/// A pod, or the pod template of a workload.
#[derive(Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) object: Object<'a>,
    pub(super) template: &'a Value,
    pub(super) spec: &'a Value,
}

/// A service account of a manifest or of Terraform.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) source: usize,
    pub(super) metadata: &'a Value,
    /// The name, or where one would be.
    pub(super) place: &'a Value,
}

impl<'a> Picture<'a> {
    pub(super) fn of(sources: &'a [Source]) -> Self {
        let mut picture = Self {
            objects: Vec::new(),
            pods: Vec::new(),
            accounts: Vec::new(),
            resources: HashMap::new(),
            policies: Vec::new(),
            index: AccountIndex::default(),
            annotated: AccountIndex::default(),
            used: HashMap::new(),
            overridden: HashSet::new(),
            requested: HashSet::new(),
            patches: Patches::of(sources),
            steps: Cell::new(MOST_STEPS),
            not_compared: Cell::new(None),
            sources,
        };
        for (index, source) in sources.iter().enumerate() {
            for (number, document) in source.documents.iter().enumerate() {
                if !picture.patches.is_patch(index, number) {
                    picture.add(index, document, 0);
                }
            }
            for resource in &source.resources {
                let of_kind = picture.resources.entry(&resource.kind).or_default();
                of_kind.push((index, resource));
            }
        }
        picture.add_to_indexes();
        picture
    }

    fn add_to_indexes(&mut self) {
        for (index, account) in self.accounts.iter().enumerate() {
            let (name, namespace) = (account.name().unwrap_or_default(), account.namespace());
            let file = self.sources.get(account.source);
            let file = file.map_or(Path::new(""), |source| source.path.as_path());
            self.index.add(index, name, namespace, file);
            if account.annotation(CLIENT_ID).is_some() {
                self.annotated.add(index, name, namespace, file);
            }
        }
        for pod in &self.pods {
            let name = pod.service_account().and_then(Value::text);
            if pod.is_labelled() {
                self.used.entry(name).or_default().insert(pod.object.namespace());
            }
            if pod.variables("AZURE_CLIENT_ID").next().is_some() {
                self.overridden.insert(name);
            }
        }
    }

    fn add(&mut self, source: usize, value: &'a Value, depth: usize) {
        let kind = value.get("kind").and_then(Value::text).unwrap_or_default();
        let items = value.get("items").map(Value::items).unwrap_or_default();
        if kind.ends_with("List") && depth == 0 {
            self.objects.push(Object { source, kind, value });
            for item in items {
                self.add(source, item, 1);
            }
            return;
        }
        if value.get("apiVersion").is_none() || kind.is_empty() {
            return;
        }
        let object = Object { source, kind, value };
        self.objects.push(object);
        if kind.ends_with("NetworkPolicy") {
            self.policies.push(object);
        }
        add_requested(value, &mut self.requested);
        if let Some(metadata) = value.get("metadata").filter(|_| kind == "ServiceAccount") {
            let place = metadata.get("name").unwrap_or(metadata);
            self.accounts.push(Account {
                source,
                metadata,
                place,
            });
        }
        if let Some((template, spec)) =
            template_of(kind, value).and_then(|template| Some((template, template.get("spec")?)))
            && spec.get("containers").is_some()
        {
            self.pods.push(Pod {
                object,
                template,
                spec,
            });
        }
    }

    /// The service account of a pod, if it is in the files: of several the nearest, since folders can stand for
    /// environments.
    pub(super) fn account_of(&self, pod: &Pod<'_>) -> Option<&Account<'a>> {
        let name = pod.service_account()?.text()?;
        let file = self.sources.get(pod.object.source)?;
        let index = self.index.nearest(name, pod.object.namespace(), &file.path)?;
        self.accounts
            .get(index)
            .filter(|account| account.name().is_some())
    }

    /// Whether a service account can have this name: one whose name the files do not tell can have any.
    pub(super) fn has_account(&self, name: &str, namespace: Option<&str>) -> bool {
        let mut names = [name, ""].into_iter();
        names.any(|name| self.index.first(name, namespace).is_some())
    }

    /// The first service account of a name that has a client ID.
    pub(super) fn annotated_account(&self, name: &str, namespace: Option<&str>) -> Option<&Account<'a>> {
        let index = self.annotated.first(name, namespace)?;
        self.accounts
            .get(index)
            .filter(|account| account.name().is_some())
    }

    /// Whether a pod that uses an account has a variable with the client ID.
    pub(super) fn is_overridden(&self, account: &Account<'_>) -> bool {
        self.overridden.contains(&account.name())
    }

    /// What of the files was not looked at. Complete after the rules.
    pub(super) fn notes(&self) -> impl Iterator<Item = Note> {
        let patches =
            "the patches of this and all later kustomizations are ignored: too many for as many files";
        let names = "too many names and labels to compare; findings about those of this file and some others are missing";
        let notes = [
            (self.patches.stopped_at, patches),
            (self.not_compared.get(), names),
        ];
        notes.into_iter().filter_map(|(source, text)| {
            let source = self.sources.get(source?)?;
            Some(Note::new(&source.path, text))
        })
    }

    /// Takes steps to compare a name or a label of a file with others. Returns false if none are left.
    pub(super) fn may_compare(&self, source: usize, steps: usize) -> bool {
        let left = self.steps.get().saturating_sub(steps);
        self.steps.set(left);
        if left == 0 && self.not_compared.get().is_none() {
            self.not_compared.set(Some(source));
        }
        left > 0
    }

    /// Whether Kustomize adds to an object what the file does not have.
    pub(super) fn is_patched(&self, object: &Object<'_>) -> bool {
        self.patches
            .change(object.source, object.kind, object.place().text())
    }

    pub(super) fn is_patched_account(&self, account: &Account<'_>) -> bool {
        self.patches
            .change(account.source, "ServiceAccount", account.name())
    }

    /// Whether an operator requests tokens of the account itself, as External Secrets does.
    pub(super) fn is_requested(&self, account: &Account<'_>) -> bool {
        account.name().is_some_and(|name| self.requested.contains(name))
    }

    /// Whether a file is an object of a cluster.
    pub(super) fn is_live(&self, source: usize) -> bool {
        let source = self.sources.get(source);
        source.is_some_and(|source| source.origin == Origin::Cluster)
    }

    /// What is written between two values.
    pub(super) fn between(&self, source: usize, one: &Value, other: &Value) -> &'a str {
        let source = self.sources.get(source);
        let text = source.and_then(|source| source.text.get(one.span.end..other.span.start));
        text.unwrap_or_default()
    }

    /// Whether a pod with workload identity uses the service account.
    pub(super) fn is_used(&self, account: &Account<'_>) -> bool {
        let namespace = account.namespace();
        self.used.get(&account.name()).is_some_and(|namespaces| {
            namespace.is_none() || namespaces.contains(&None) || namespaces.contains(&namespace)
        })
    }

    /// A value as it is written.
    pub(super) fn text(&self, source: usize, value: &Value) -> &'a str {
        let text = self
            .sources
            .get(source)
            .and_then(|source| source.text.get(value.span.clone()));
        text.unwrap_or_default()
    }

    /// Whether a file has objects of Kubernetes.
    pub(super) fn is_manifest(&self, source: usize) -> bool {
        self.sources
            .get(source)
            .is_some_and(|source| source.resources.is_empty())
    }

    /// Where the names of a file's resources are known.
    pub(super) fn module(&self, source: usize) -> Option<&'a Path> {
        self.sources.get(source).map(|source| source.module.as_path())
    }

    /// The webhooks of workload identity, each with its configuration.
    pub(super) fn webhooks(&self) -> impl Iterator<Item = (&Object<'a>, &'a Value)> {
        let objects = self.objects.iter();
        objects
            .filter(|object| object.kind == "MutatingWebhookConfiguration")
            .flat_map(|object| {
                let webhooks = object.value.get("webhooks").map(Value::items);
                webhooks
                    .unwrap_or_default()
                    .iter()
                    .map(move |webhook| (object, webhook))
            })
            .filter(|(_, webhook)| {
                let name = webhook.get("name").and_then(Value::text);
                name.is_some_and(|name| name.contains("azure-workload-identity"))
            })
    }

    /// The resources of Terraform or Bicep of a kind.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = (usize, &'a Resource)> {
        self.resources.get(kind).into_iter().flatten().copied()
    }
}

impl<'a> Object<'a> {
    pub(super) fn namespace(&self) -> Option<&'a str> {
        self.value.at(&["metadata", "namespace"])?.text()
    }

    pub(super) fn metadata(&self, map: &str, key: &str) -> Option<&'a (Value, Value)> {
        self.value.at(&["metadata", map])?.entry(key)
    }

    /// The name, or the object where one would be.
    pub(super) fn place(&self) -> &'a Value {
        self.value
            .at(&["metadata", "name"])
            .or_else(|| self.value.get("kind"))
            .unwrap_or(self.value)
    }
}

impl<'a> Pod<'a> {
    /// The command that sets the label on the pods of a workload. A pod cannot be changed any more.
    pub(super) fn set_label(&self) -> Option<String> {
        let labels = format!(r#"{{"metadata":{{"labels":{{"{LABEL}":"true"}}}}}}"#);
        let template = match self.object.kind {
            "Pod" => return None,
            "CronJob" => format!(r#"{{"jobTemplate":{{"spec":{{"template":{labels}}}}}}}"#),
            _ => format!(r#"{{"template":{labels}}}"#),
        };
        let (namespace, name) = (self.object.namespace()?, self.object.place().text()?);
        let (namespace, name) = (object_name(namespace)?, object_name(name)?);
        let kind = self.object.kind.to_ascii_lowercase();
        Some(format!(
            "kubectl --namespace {namespace} patch {kind} {name} --type merge --patch '{{\"spec\":{template}}}'"
        ))
    }

    /// The label of workload identity where it does nothing: on the workload, or on the jobs of a `CronJob`.
    pub(super) fn misplaced_label(&self) -> Option<&'a (Value, Value)> {
        let of_jobs = ["spec", "jobTemplate", "metadata", "labels"];
        let of_jobs = self
            .object
            .value
            .at(&of_jobs)
            .and_then(|labels| labels.entry(LABEL));
        let of_workload = self.object.metadata("labels", LABEL);
        of_workload.or(of_jobs).filter(|_| self.object.kind != "Pod")
    }

    /// A label of the pod template: its key and its value.
    pub(super) fn label(&self, key: &str) -> Option<&'a (Value, Value)> {
        self.template.at(&["metadata", "labels"])?.entry(key)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&'a (Value, Value)> {
        self.template.at(&["metadata", "annotations"])?.entry(key)
    }

    pub(super) fn is_labelled(&self) -> bool {
        self.label(LABEL)
            .is_some_and(|(_, value)| value.text() == Some("true"))
    }

    /// Whether it can be created as it is. A patch of Kustomize has containers without an image, or none.
    pub(super) fn is_whole(&self) -> bool {
        self.containers()
            .all(|container| container.get("image").is_some())
    }

    /// Whether a token for Entra is mounted by hand, and the webhook is not needed.
    pub(super) fn has_own_token(&self) -> bool {
        self.token_sources().any(|(_, token)| {
            let audience = token.get("audience").and_then(Value::text);
            audience.is_some_and(|audience| audience.starts_with("api://AzureADTokenExchange"))
        })
    }

    /// Whether the CSI driver for secrets requests the token, and the webhook is not needed.
    pub(super) fn has_secrets_store(&self) -> bool {
        let volumes = self.spec.get("volumes").map(Value::items).unwrap_or_default();
        volumes.iter().any(|volume| {
            let driver = volume.at(&["csi", "driver"]).and_then(Value::text);
            driver == Some("secrets-store.csi.k8s.io")
        })
    }

    /// Whether it is a pod of a cluster, not a manifest.
    pub(super) fn is_running(&self) -> bool {
        self.object.kind == "Pod" && self.object.value.get("status").is_some()
    }

    /// The command that creates a running pod anew. Without a controller nobody would.
    pub(super) fn create_anew(&self) -> Option<String> {
        self.object.value.at(&["metadata", "ownerReferences"])?;
        let (namespace, name) = (self.object.namespace()?, self.object.place().text()?);
        let (namespace, name) = (object_name(namespace)?, object_name(name)?);
        Some(format!("kubectl --namespace {namespace} delete pod {name}"))
    }

    pub(super) fn service_account(&self) -> Option<&'a Value> {
        let name = self.spec.get("serviceAccountName");
        name.or_else(|| self.spec.get("serviceAccount"))
    }

    /// Containers and init containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let of = |list: &str| self.spec.get(list).map(Value::items).unwrap_or_default().iter();
        of("containers").chain(of("initContainers"))
    }

    /// The service-account tokens of projected volumes, with the name of the volume.
    pub(super) fn token_sources(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let volumes = self.spec.get("volumes").map(Value::items).unwrap_or_default();
        volumes.iter().flat_map(|volume| {
            let name = volume.get("name").and_then(Value::text).unwrap_or_default();
            let sources = volume
                .at(&["projected", "sources"])
                .map(Value::items)
                .unwrap_or_default();
            sources
                .iter()
                .filter_map(move |source| Some((name, source.get("serviceAccountToken")?)))
        })
    }

    /// The variables of all containers with this name.
    pub(super) fn variables(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        let variables = self.containers().filter_map(|container| container.get("env"));
        variables
            .flat_map(Value::items)
            .filter(move |variable| variable.get("name").and_then(Value::text) == Some(name))
    }
}

impl<'a> Account<'a> {
    /// The command that sets the annotation.
    pub(super) fn set_client_id(&self) -> Option<String> {
        let (namespace, name) = (object_name(self.namespace()?)?, object_name(self.name()?)?);
        Some(format!(
            "kubectl --namespace {namespace} annotate serviceaccount {name} --overwrite {CLIENT_ID}=CLIENT_ID_OF_THE_IDENTITY"
        ))
    }

    pub(super) fn name(&self) -> Option<&'a str> {
        self.metadata.get("name")?.text()
    }

    pub(super) fn namespace(&self) -> Option<&'a str> {
        self.metadata.get("namespace")?.text()
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&'a (Value, Value)> {
        self.metadata.get("annotations")?.entry(key)
    }

    pub(super) fn label(&self, key: &str) -> Option<&'a (Value, Value)> {
        self.metadata.get("labels")?.entry(key)
    }

    pub(super) fn annotations(&self) -> &'a [(Value, Value)] {
        self.metadata
            .get("annotations")
            .map(Value::entries)
            .unwrap_or_default()
    }
}

/// Adds the accounts of all `serviceAccountRef`, however deep.
fn add_requested<'a>(value: &'a Value, requested: &mut HashSet<&'a str>) {
    for (key, value) in value.entries() {
        let is_reference = key.text() == Some("serviceAccountRef");
        let account = value.get("name").filter(|_| is_reference);
        requested.extend(account.and_then(Value::text));
        add_requested(value, requested);
    }
    for item in value.items() {
        add_requested(item, requested);
    }
}

/// The pod of an object, or its pod template.
pub(super) fn template_of<'a>(kind: &str, object: &'a Value) -> Option<&'a Value> {
    match kind {
        "Pod" => Some(object),
        "CronJob" => object.at(&["spec", "jobTemplate", "spec", "template"]),
        _ => object.at(&["spec", "template"]),
    }
}

pub(super) fn same(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// Whether one name is probably a misspelling of the other: at most two letters differ, in any case.
pub(super) fn is_near(one: &str, other: &str) -> bool {
    let longest = one.len().max(other.len());
    if longest > LONGEST_NAME || one.len().abs_diff(other.len()) > 2 {
        return false;
    }
    let distance = levenshtein(&one.to_ascii_lowercase(), &other.to_ascii_lowercase());
    distance <= 2 && distance < longest / 2
}

/// About how many steps [`is_near`] takes.
pub(super) fn steps_of_is_near(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 2 {
        return 1;
    }
    one.len().min(LONGEST_NAME) * other.len().min(LONGEST_NAME) + 1
}

/// Returns a name that Kubernetes accepts, so that it is safe in a command. Nothing for any other text: an API server can
/// send what it likes.
pub(super) fn object_name(text: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_name = text.len() <= 253
        && text.bytes().all(is_part)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    is_name.then_some(text)
}

/// Whether `text` is a GUID with hyphens.
pub(super) fn is_guid(text: &str) -> bool {
    text.parse::<Hyphenated>().is_ok()
}

/// The files of the webhook, the newer one last. Source: azure-workload-identity, `pkg/webhook/consts.go`.
pub(super) const TOKEN_FILES: [&str; 2] = [
    "/var/run/secrets/azure/tokens/azure-identity-token",
    "/var/run/secrets/azure/wi/token/azure-identity-token",
];
pub(super) const LABEL: &str = "azure.workload.identity/use";
pub(super) const CLIENT_ID: &str = "azure.workload.identity/client-id";

/// A second or two. Those of 300 names of usual length for each of 300 others.
const MOST_STEPS: usize = 50_000_000;

/// Of an object of Kubernetes, in bytes. Source: Kubernetes, "Object Names and IDs".
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_near_if_at_most_two_letters_differ_in_any_case() {
        for other in [
            "orders-api",
            "Orders-API",
            "order-api",
            "ordres-api",
            "orders-apis1",
        ] {
            assert!(is_near("orders-api", other), "{other}");
        }
        for other in ["orders", "ordres-aoi", "orders-api-v2", ""] {
            assert!(!is_near("orders-api", other), "{other}");
        }
        // Half of a short name.
        assert!(!is_near("a", "b") && !is_near("api", "app"));
        assert!(!is_near(&"a".repeat(254), &"a".repeat(254)));
    }

    #[test]
    fn guid_has_hyphens() {
        assert!(is_guid("7A5FF21B-4f5b-4f5b-9e3e-2c0b5a1d9a10"));
        for text in [
            "7a5ff21b4f5b4f5b9e3e2c0b5a1d9a10",
            "{7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10}",
            "urn:uuid:7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10",
            "------------------------------------",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
