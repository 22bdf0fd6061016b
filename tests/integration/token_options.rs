//! The tenant and the claims of token requests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::transport::Transport;
use entra_workload::{ClientSecretCredential, Environment, Error, ErrorKind, TokenRequest};
use http::{Request, Response};

const SCOPES: [&str; 1] = ["https://vault.azure.net/.default"];
const NBF: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;

#[tokio::test]
async fn capability_is_requested_if_it_is_enabled_and_not_otherwise() {
    let entra = Entra::default();
    credential(&entra, false).token(&SCOPES).await.unwrap();
    assert_eq!(entra.take(), [sent("fabrikam.com", None)]);
    credential(&entra, true).token(&SCOPES).await.unwrap();
    let claims = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
    assert_eq!(entra.take(), [sent("fabrikam.com", Some(claims))]);
}

#[tokio::test]
async fn claims_of_a_request_are_merged_with_the_capability() {
    let entra = Entra::default();
    let request = TokenRequest::new(&SCOPES).claims(NBF);
    credential(&entra, false).token_for(&request).await.unwrap();
    assert_eq!(entra.take(), [sent("fabrikam.com", Some(NBF))]);

    credential(&entra, true).token_for(&request).await.unwrap();
    let [(_, claims)] = &entra.take()[..] else {
        unreachable!("one request");
    };
    let claims: serde_json::Value = serde_json::from_str(claims.as_ref().unwrap()).unwrap();
    let expected = r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}}}"#;
    assert_eq!(
        claims,
        serde_json::from_str::<serde_json::Value>(expected).unwrap()
    );

    let undecoded = TokenRequest::new(&SCOPES).claims("e30=");
    let error = credential(&entra, true).token_for(&undecoded).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(entra.take().is_empty());
}

#[tokio::test]
async fn tenant_of_a_request_is_ignored_if_multitenant_auth_is_disabled() {
    for (value, tenant_id) in [
        ("1", "fabrikam.com"),
        ("true", "fabrikam.com"),
        ("TRUE", "fabrikam.com"),
        ("", "contoso.com"),
        ("0", "contoso.com"),
        ("false", "contoso.com"),
    ] {
        let entra = Entra::default();
        let environment = Environment::from_iter([("AZURE_IDENTITY_DISABLE_MULTITENANTAUTH", value)]);
        let credential = builder(&entra).environment(environment).build().unwrap();
        let request = TokenRequest::new(&SCOPES).tenant_id("contoso.com");
        credential.token_for(&request).await.unwrap();
        assert_eq!(entra.take(), [sent(tenant_id, None)], "{value:?}");
    }
}

#[cfg(feature = "default-credential")]
#[tokio::test]
async fn default_credential_passes_the_capability_and_the_tenants_to_its_links() {
    use entra_workload::DefaultAzureCredential;

    for (tenants, tenant_id) in [("*", "contoso.com"), ("a.com;contoso.com", "contoso.com")] {
        let entra = Entra::default();
        let credential = DefaultAzureCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9"),
                ("AZURE_TENANT_ID", "fabrikam.com"),
                ("AZURE_CLIENT_ID", CLIENT_ID),
                ("AZURE_CLIENT_SECRET", "planted-secret"),
                ("AZURE_ADDITIONALLY_ALLOWED_TENANTS", tenants),
            ]))
            .transport(entra.clone())
            .enable_cae()
            .build()
            .unwrap();
        let request = TokenRequest::new(&SCOPES).tenant_id("contoso.com");
        credential.token_for(&request).await.unwrap();
        let claims = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;
        assert_eq!(entra.take(), [sent(tenant_id, Some(claims))], "{tenants}");
    }
}

fn builder(entra: &Entra) -> entra_workload::builder::ClientSecretCredentialBuilder {
    ClientSecretCredential::builder()
        .environment(Environment::default())
        .tenant_id("fabrikam.com")
        .client_id(CLIENT_ID)
        .client_secret("planted-secret")
        .additionally_allowed_tenants(["contoso.com"])
        .transport(entra.clone())
}

fn credential(entra: &Entra, enable_cae: bool) -> Arc<ClientSecretCredential> {
    let builder = builder(entra);
    let builder = if enable_cae { builder.enable_cae() } else { builder };
    builder.build().unwrap()
}

/// A tenant and claims.
type Sent = (String, Option<String>);

fn sent(tenant_id: &str, claims: Option<&str>) -> Sent {
    (tenant_id.to_owned(), claims.map(str::to_owned))
}

/// Grants another token to every request.
#[derive(Clone, Debug, Default)]
struct Entra(Arc<Mutex<(usize, Vec<Sent>)>>);

impl Entra {
    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

#[async_trait]
impl Transport for Entra {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let mut form: BTreeMap<String, String> =
            url::form_urlencoded::parse(request.body()).into_owned().collect();
        let tenant_id = request.uri().path().split('/').nth(1).unwrap();
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        state.1.push((tenant_id.to_owned(), form.remove("claims")));
        let number = state.0;
        let body =
            format!(r#"{{"access_token":"planted-token-{number}","expires_in":3600,"token_type":"Bearer"}}"#);
        Ok(Response::new(body.into()))
    }
}

const CLIENT_ID: &str = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
