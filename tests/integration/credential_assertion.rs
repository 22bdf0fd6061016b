//! A managed identity as the federated credential of an application, through the emulator's metadata
//! service and its Entra.

use std::sync::Arc;

use crate::support::identifiers::CLIENT_ID;
use crate::support::log::{assert_no_secret, watch_for_secrets};
use entra_workload::assertion::CredentialAssertion;
use entra_workload::builder::{ClientAssertionCredentialBuilder, ManagedIdentityId};
use entra_workload::transport::HttpTransport;
use entra_workload::{
    ClientAssertionCredential, ClientSecretCredential, Cloud, Credential, Environment, Error, ErrorKind,
    ManagedIdentityCredential, WorkloadIdentityCredential,
};
use entra_workload_emulator::{Emulator, Endpoint, FederatedCredential, ManagedIdentity};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];

/// A machine with a managed identity, which is the federated credential of an application.
struct Machine {
    emulator: Emulator,
    identity: ManagedIdentity,
}

impl Machine {
    async fn start() -> Self {
        watch_for_secrets();
        let emulator = Emulator::start().await.unwrap();
        let identity = ManagedIdentity::named("orders");
        emulator.assign_identity(identity.clone());
        let machine = Self { emulator, identity };
        machine.trust(&machine.identity.object_id);
        machine
    }

    /// Lets the tokens of a principal of Entra be assertions of the application.
    fn trust(&self, object_id: &str) {
        let tenant_id = self.emulator.entra().tenant_id();
        let credential = FederatedCredential {
            issuer: format!("https://login.microsoftonline.com/{tenant_id}/v2.0"),
            subject: object_id.to_owned(),
            audience: "api://AzureADTokenExchange".to_owned(),
        };
        self.emulator
            .entra()
            .register_federated_credential(CLIENT_ID, credential);
    }

    fn identity(&self) -> Arc<ManagedIdentityCredential> {
        ManagedIdentityCredential::builder()
            .id(ManagedIdentityId::ClientId(self.identity.client_id.clone()))
            .environment(Environment::from_iter([(
                "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                self.emulator.imds_url(),
            )]))
            .build()
            .unwrap()
    }

    fn transport(&self) -> HttpTransport {
        HttpTransport::with_root_certificates(self.emulator.ca_certificate_pem().as_bytes()).unwrap()
    }

    fn application(&self) -> ClientAssertionCredentialBuilder {
        ClientAssertionCredential::builder()
            .environment(Environment::default())
            .tenant_id(self.emulator.entra().tenant_id())
            .client_id(CLIENT_ID)
            .authority_host(self.emulator.authority_host())
            .transport(self.transport())
    }

    async fn failure(&self, assertion: CredentialAssertion) -> Error {
        let credential = self.application().assertion(assertion).build().unwrap();
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert_no_secret(&error);
        error
    }

    /// Trusts the principal of `credential`, as the `oid` of its token names it.
    async fn trust_principal(&self, credential: &dyn Credential) {
        use base64::Engine as _;

        let token = credential
            .token(&["api://AzureADTokenExchange/.default"])
            .await
            .unwrap();
        let payload = token.secret().split('.').nth(1).unwrap();
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(payload)
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        self.trust(claims.get("oid").and_then(serde_json::Value::as_str).unwrap());
    }
}

#[tokio::test]
async fn managed_identity_is_the_federated_credential_of_an_application() {
    let machine = Machine::start().await;
    let assertion = CredentialAssertion::new(machine.identity());
    let credential = machine.application().assertion(assertion).build().unwrap();
    for scope in [
        "https://vault.azure.net/.default",
        "https://storage.azure.com/.default",
    ] {
        credential.token(&[scope]).await.unwrap();
    }
    // The token of the identity is cached by its credential.
    let requests = machine.emulator.requests_to(Endpoint::Imds);
    assert_eq!(requests.len(), 1);
    let query = requests[0].query().unwrap();
    assert!(
        query.contains("resource=api%3A%2F%2FAzureADTokenExchange&"),
        "{query}"
    );
}

#[tokio::test]
async fn resource_of_the_identity_token_follows_the_cloud() {
    let machine = Machine::start().await;
    for (cloud, audience) in [
        (Cloud::UsGovernment, "api%3A%2F%2FAzureADTokenExchangeUSGov"),
        (Cloud::China, "api%3A%2F%2FAzureADTokenExchangeChina"),
    ] {
        let assertion = CredentialAssertion::new(machine.identity());
        let credential = machine
            .application()
            .cloud(cloud)
            .assertion(assertion)
            .build()
            .unwrap();
        // The emulator is a public cloud.
        let error = credential.token(&SCOPES).await.unwrap_err();
        assert_eq!(error.aadsts_codes(), [500_011], "{error}");
        let requests = machine.emulator.requests_to(Endpoint::Imds);
        let query = requests.last().unwrap().query().unwrap();
        assert!(query.contains(audience), "{query}");
    }
}

#[tokio::test]
async fn token_that_was_obtained_with_a_federated_credential_is_refused_with_a_hint() {
    let machine = Machine::start().await;
    let pod = machine.emulator.pod("shop", "orders").unwrap();
    let workload = WorkloadIdentityCredential::builder()
        .environment(Environment::from_iter(pod.variables()))
        .transport(machine.transport())
        .build()
        .unwrap();
    machine.trust_principal(&*workload).await;
    let error = machine.failure(CredentialAssertion::new(workload)).await;
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(error.aadsts_codes(), [700_231]);
    assert!(
        error
            .to_string()
            .contains("was itself obtained with a federated credential"),
        "{error}"
    );
}

#[tokio::test]
async fn token_of_an_application_is_refused_with_a_hint() {
    let machine = Machine::start().await;
    let other = "0a8ff2d6-6f2a-4a0c-9c1d-3c9f4f4f2a77";
    machine
        .emulator
        .entra()
        .set_client_secret(other, "planted-client-secret");
    let application = ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id(machine.emulator.entra().tenant_id())
        .client_id(other)
        .client_secret("planted-client-secret")
        .authority_host(machine.emulator.authority_host())
        .transport(machine.transport())
        .build()
        .unwrap();
    machine.trust_principal(&*application).await;
    let error = machine.failure(CredentialAssertion::new(application)).await;
    assert_eq!(error.aadsts_codes(), [700_226]);
    assert!(
        error.to_string().contains("not those of an application"),
        "{error}"
    );
}

#[tokio::test]
async fn error_of_the_other_credential_is_that_of_the_application() {
    let machine = Machine::start().await;
    let missing = ManagedIdentityCredential::builder()
        .id(ManagedIdentityId::ClientId(CLIENT_ID.to_owned()))
        .environment(Environment::from_iter([(
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            machine.emulator.imds_url(),
        )]))
        .build()
        .unwrap();
    let error = machine.failure(CredentialAssertion::new(missing)).await;
    assert!(
        error.to_string().contains("is not assigned to this machine"),
        "{error}"
    );
    assert!(machine.emulator.requests_to(Endpoint::Entra).is_empty());
}
