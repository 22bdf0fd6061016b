use entra_workload::Code;
use serde_json::json;

use super::{PodNames, Remedy, Tool, shell};

/// Commands that change the service account, the Deployment or the pod.
pub(super) fn change_of_workload(code: Code, names: &PodNames) -> Vec<Remedy> {
    let PodNames {
        namespace,
        service_account,
        pod,
        deployment,
        ..
    } = names;
    let kubectl = |command: String| {
        Remedy::new(
            Tool::Kubectl,
            format!("kubectl --namespace {namespace} {command}"),
        )
    };
    let annotate = |annotation: &str, value: &str| {
        let annotation = format!("azure.workload.identity/{annotation}={}", shell(value));
        vec![
            kubectl(format!(
                "annotate serviceaccount {service_account} --overwrite {annotation}"
            )),
            kubectl(format!("rollout restart deployment {deployment}")),
        ]
    };
    let set_env = |variables: &str| vec![kubectl(format!("set env deployment {deployment} {variables}"))];
    let patch = |template: &str| {
        kubectl(format!(
            "patch deployment {deployment} --type merge --patch '{{\"spec\":{{\"template\":{template}}}}}'"
        ))
    };
    match code {
        Code::NO_WORKLOAD_IDENTITY => vec![
            patch(r#"{"metadata":{"labels":{"azure.workload.identity/use":"true"}}}"#),
            Remedy::new(Tool::Yaml, POD_LABEL),
        ],
        Code::NO_CLIENT_ID | Code::INVALID_CLIENT_ID | Code::UNKNOWN_APPLICATION => {
            annotate("client-id", "CLIENT_ID_OF_THE_IDENTITY")
        }
        Code::NO_TENANT_ID | Code::INVALID_TENANT_ID | Code::UNKNOWN_TENANT => {
            annotate("tenant-id", "TENANT_ID_OF_THE_IDENTITY")
        }
        Code::TOKEN_LIVES_TOO_LONG | Code::ASSERTION_LIVES_TOO_LONG => {
            annotate("service-account-token-expiration", "3600")
        }
        Code::INVALID_AUTHORITY_HOST | Code::UNKNOWN_LOGIN_HOST => set_env("AZURE_AUTHORITY_HOST-"),
        Code::TENANT_OF_ANOTHER_CLOUD => set_env("AZURE_AUTHORITY_HOST=LOGIN_HOST_OF_THE_TENANT"),
        Code::ANOTHER_CREDENTIAL_FIRST => set_env("AZURE_CLIENT_SECRET- AZURE_CLIENT_CERTIFICATE_PATH-"),
        Code::WORKLOAD_IDENTITY_EXCLUDED => set_env("AZURE_TOKEN_CREDENTIALS=WorkloadIdentityCredential"),
        Code::WRONG_CLIENT_SECRET | Code::EXPIRED_CLIENT_SECRET => set_env("AZURE_CLIENT_SECRET-"),
        Code::NOT_A_TOKEN | Code::TOKEN_OF_THE_API_SERVER => set_env("AZURE_FEDERATED_TOKEN_FILE-"),
        Code::UNREADABLE_TOKEN_FILE => vec![patch(r#"{"spec":{"securityContext":{"fsGroup":65532}}}"#)],
        Code::NO_TOKEN_FILE
        | Code::EMPTY_TOKEN_FILE
        | Code::TOKEN_FOR_IDENTITY_BINDING
        | Code::INCOMPLETE_IDENTITY_BINDING => vec![kubectl(format!("delete pod {pod}"))],
        _ => Vec::new(),
    }
}

/// Lets a service account use the identity of its binding: a `ClusterRole` for the identity, and its binding.
pub(crate) fn use_of_identity(client_id: &str, namespace: &str, service_account: &str) -> Remedy {
    let role = format!("use-{}", client_id.to_ascii_lowercase());
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    // `kubectl create clusterrole` refuses resources that the API server does not list.
    let grant =
        json!({ "apiGroups": [CLIENT_IDS], "resources": [client_id], "verbs": ["use-managed-identity"] });
    let cluster_role = json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": role }, "rules": [grant] });
    let binding = json!({
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": { "name": format!("{role}-{namespace}-{service_account}") },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": service_account }],
    });
    let list =
        format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n{cluster_role},\n{binding}\n]}}");
    let command = format!("echo {} | kubectl apply --filename -", shell(&list));
    Remedy::new(Tool::Kubectl, command)
}

pub(super) fn volume(audience: &str) -> Remedy {
    let text = format!(
        "volumes:\n  - name: azure-identity-token\n    projected:\n      sources:\n        - serviceAccountToken:\n            \
         audience: {audience}\n            expirationSeconds: 3600\n            path: azure-identity-token"
    );
    Remedy::new(Tool::Yaml, text)
}

pub(super) fn volume_mount() -> Remedy {
    Remedy::new(Tool::Yaml, VOLUME_MOUNT)
}

pub(super) fn egress() -> Remedy {
    Remedy::new(Tool::Yaml, EGRESS)
}

const POD_LABEL: &str =
    "spec:\n  template:\n    metadata:\n      labels:\n        azure.workload.identity/use: \"true\"";

/// A policy of its own would cut off everything else.
const EGRESS: &str = "# If a NetworkPolicy restricts the egress of this pod, add these rules to it:\negress:\n  - ports:\n      \
                      - {protocol: TCP, port: 443}\n      - {protocol: UDP, port: 53}\n      - {protocol: TCP, port: 53}";

const VOLUME_MOUNT: &str = "volumeMounts:\n  - name: azure-identity-token\n    \
    mountPath: /var/run/secrets/azure/tokens # the folder, without subPath\n    readOnly: true";

/// The API group of the identities. Source: AKS, "Identity bindings".
const CLIENT_IDS: &str = "cid.wi.aks.azure.com";
