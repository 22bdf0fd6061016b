use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Pod};
use kube::api::{ListParams, PostParams};
use kube::core::Selector;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::manifest;
use super::target::Name;
use crate::Failure;

/// What the webhook sets in each pod, as far as it can be read: most people may not.
#[derive(Default)]
pub(super) struct WebhookSettings {
    pub(super) variables: Vec<(String, String)>,
    /// `--audience`, the audience of the tokens.
    pub(super) audience: Option<String>,
}

/// Reads the webhook of workload identity, and whether something answers for it.
pub(super) async fn webhook(
    server: &ApiServer,
    objects: &mut Vec<(String, Value)>,
) -> Result<WebhookSettings, Failure> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(server.client());
    let parameters = ListParams::default();
    let list = server
        .call("webhooks are not checked", api.list(&parameters))
        .await?;
    let (mut items, mut services) = (Vec::new(), BTreeSet::new());
    for configuration in list.items {
        let webhooks = configuration.webhooks.iter().flatten();
        let ours: Vec<_> = webhooks
            .filter(|webhook| webhook.name.contains("azure-workload-identity"))
            .collect();
        let services_of_ours = ours
            .iter()
            .filter_map(|webhook| webhook.client_config.service.as_ref());
        services.extend(services_of_ours.map(|service| (service.namespace.clone(), service.name.clone())));
        if !ours.is_empty() {
            items.push(manifest(
                "MutatingWebhookConfiguration",
                ADMISSION,
                &configuration,
            )?);
        }
    }
    let mut settings = WebhookSettings::default();
    for (namespace, name) in services.into_iter().take(MOST_SERVICES) {
        // Every version of Kubernetes has them; `EndpointSlice` is newer.
        let api: Api<Endpoints> = Api::namespaced(server.client(), &namespace);
        let what = "endpoints of the webhook are not checked";
        let endpoints = server.call(what, api.get_opt(&name)).await?;
        let mut endpoints = endpoints.unwrap_or_default();
        endpoints.metadata.name = Some(name.clone());
        endpoints.metadata.namespace = Some(namespace.clone());
        settings.variables.extend(tenant(server, &namespace).await);
        settings.audience = settings.audience.or(audience(server, &namespace).await);
        let label = format!("Endpoints {namespace}/{name}");
        objects.push((label, manifest("Endpoints", "v1", &endpoints)?));
    }
    let list = manifest(
        "MutatingWebhookConfigurationList",
        ADMISSION,
        &json!({ "items": items }),
    )?;
    objects.push(("MutatingWebhookConfigurations".to_owned(), list));
    Ok(settings)
}

/// Reads the tenant of the webhook.
async fn tenant(server: &ApiServer, namespace: &str) -> Option<(String, String)> {
    let api: Api<ConfigMap> = Api::namespaced(server.client(), namespace);
    let config = server.call(CONFIG, api.get_opt(CONFIG)).await.ok().flatten();
    let data = config.and_then(|config| config.data).unwrap_or_default();
    let tenant = data.get("AZURE_TENANT_ID").filter(|tenant| !tenant.is_empty());
    tenant.map(|tenant| ("AZURE_TENANT_ID".to_owned(), tenant.clone()))
}

/// Reads the option `--audience` of the webhook.
async fn audience(server: &ApiServer, namespace: &str) -> Option<String> {
    let api: Api<Deployment> = Api::namespaced(server.client(), namespace);
    let deployment = server
        .call(DEPLOYMENT, api.get_opt(DEPLOYMENT))
        .await
        .ok()
        .flatten();
    let containers = deployment?.spec?.template.spec?.containers;
    let words = |container: k8s_openapi::api::core::v1::Container| {
        let command = container.command.unwrap_or_default();
        command.into_iter().chain(container.args.unwrap_or_default())
    };
    audience_option(containers.into_iter().flat_map(words))
}

/// Returns the value of `--audience=VALUE` or `--audience VALUE`.
fn audience_option(words: impl IntoIterator<Item = String>) -> Option<String> {
    let mut words = words.into_iter();
    words
        .find_map(|word| word.strip_prefix("--audience").map(str::to_owned))
        .and_then(|rest| match rest.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None => words.next().filter(|_| rest.is_empty()),
        })
        .filter(|audience| !audience.is_empty())
}

/// Reads the warnings of the namespace.
pub(super) async fn events(
    server: &ApiServer,
    namespace: &str,
    objects: &mut Vec<(String, Value)>,
) -> Result<(), Failure> {
    let api: Api<Event> = Api::namespaced(server.client(), namespace);
    let warnings = ListParams::default().fields("type=Warning").limit(MOST_EVENTS);
    for event in server.call("events are not checked", api.list(&warnings)).await? {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        let label = format!("Event about {namespace}/{about}");
        objects.push((label, manifest("Event", "v1", &event)?));
    }
    Ok(())
}

/// Asks whether the token proxy would let a service account use an identity.
pub(super) async fn may_use(
    server: &ApiServer,
    account: &Name,
    client_id: &str,
    objects: &mut Vec<(String, Value)>,
) -> Result<(), Failure> {
    let Name { namespace, name } = account;
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{name}")),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("use-managed-identity".to_owned()),
                group: Some("cid.wi.aks.azure.com".to_owned()),
                resource: Some(client_id.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(server.client());
    let what = "the ClusterRole of the binding is not checked";
    let parameters = PostParams::default();
    let answer = server.call(what, api.create(&parameters, &review)).await?;
    let label = format!("SubjectAccessReview of {account}");
    objects.push((
        label,
        manifest("SubjectAccessReview", "authorization.k8s.io/v1", &answer)?,
    ));
    Ok(())
}

/// Reads the newest pod of a deployment; the older ones can be about to end.
///
/// # Errors
///
/// If the deployment has no valid selector, or the pods cannot be read.
pub(super) async fn newest_pod(
    server: &ApiServer,
    name: &Name,
    deployment: &Deployment,
    objects: &mut Vec<(String, Value)>,
) -> Result<(), Failure> {
    let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone());
    let selector = Selector::try_from(selector.unwrap_or_default()).map_err(|error| {
        format!("pods are not checked: invalid selector of the Deployment {name}: {error}")
    })?;
    if selector.selects_all() {
        return Err(format!("pods are not checked: the Deployment {name} has no selector").into());
    }
    let api: Api<Pod> = Api::namespaced(server.client(), &name.namespace);
    let parameters = ListParams::default().labels_from(&selector);
    let list = server.call("pods are not checked", api.list(&parameters)).await?;
    let newest = list
        .items
        .iter()
        .max_by_key(|pod| pod.metadata.creation_timestamp.clone());
    if let Some(pod) = newest {
        let label = format!("Pod {}/{}", name.namespace, pod.name_any());
        objects.push((label, manifest("Pod", "v1", pod)?));
    }
    Ok(())
}

const ADMISSION: &str = "admissionregistration.k8s.io/v1";

/// The latest hour of a busy namespace; Kubernetes keeps no more.
const MOST_EVENTS: u32 = 500;

/// Source: azure-workload-identity, `manifest_staging/charts/workload-identity-webhook`.
const CONFIG: &str = "azure-wi-webhook-config";

/// Source: as above.
const DEPLOYMENT: &str = "azure-wi-webhook-controller-manager";

/// A cluster has one, or two by mistake. Each costs three requests.
const MOST_SERVICES: usize = 10;

#[cfg(test)]
mod tests {
    use super::audience_option;

    #[test]
    fn audience_of_the_webhook_is_read_from_its_arguments() {
        for (words, audience) in [
            (&["/manager", "--audience=api://custom"][..], Some("api://custom")),
            (
                &["--audience", "api://custom", "--arc-cluster=false"],
                Some("api://custom"),
            ),
            (&["--arc-cluster=false"], None),
            (&["--audience="], None),
            (&["--audiences=x"], None),
        ] {
            let words = words.iter().map(|word| (*word).to_owned());
            assert_eq!(audience_option(words).as_deref(), audience);
        }
    }
}
