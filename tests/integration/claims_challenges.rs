//! Revoked tokens and claims challenges, with the official clients of Blob Storage and Key Vault.

use crate::support;
use std::sync::{Arc, Mutex};

use crate::support::identifiers::{BLOB, VAULT};
use crate::support::log::assert_no_secret;
use crate::support::transport::fake_endpoint;
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::credentials::TokenRequestOptions;
use azure_core::error::ErrorKind as SdkErrorKind;
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{
    AsyncRawResponse, Body, ClientMethodOptions, ClientOptions, Context, HttpClient, Method, Pipeline,
    Request, StatusCode, Transport, Url,
};
use azure_core::stream::BytesStream;
use azure_security_keyvault_secrets::models::SetSecretParameters;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use azure_storage_blob::{BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use bytes::Bytes;
use entra_workload::builder::WorkloadIdentityCredentialBuilder;
use entra_workload::integration::{ClaimsChallengePolicy, ForceTokenRefresh, TokenClaims, TokenTenantId};
use entra_workload::transport::HttpTransport;
use entra_workload::{ChainedTokenCredential, Environment, Error, ErrorKind, WorkloadIdentityCredential};
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use futures::AsyncReadExt as _;

struct Cloud {
    emulator: Emulator,
    pod: Pod,
    credential: Arc<WorkloadIdentityCredential>,
}

impl Cloud {
    async fn start() -> Self {
        Self::with(WorkloadIdentityCredentialBuilder::enable_cae).await
    }

    async fn with(
        options: impl FnOnce(WorkloadIdentityCredentialBuilder) -> WorkloadIdentityCredentialBuilder,
    ) -> Self {
        let emulator = Emulator::start().await.unwrap();
        let pod = emulator.pod("shop", "orders").unwrap();
        let roots = emulator.ca_certificate_pem().as_bytes();
        let builder = WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter(pod.variables()))
            .transport(HttpTransport::with_root_certificates(roots).unwrap());
        Self {
            credential: options(builder).build().unwrap(),
            emulator,
            pod,
        }
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(self.emulator.sdk_transport().unwrap()),
            per_call_policies: vec![Arc::new(ClaimsChallengePolicy::new(self.credential.clone()))],
            ..ClientOptions::default()
        }
    }

    fn secrets(&self) -> SecretClient {
        let options = SecretClientOptions {
            client_options: self.client_options(),
            verify_challenge_resource: Some(false),
            ..SecretClientOptions::default()
        };
        SecretClient::new(
            self.emulator.key_vault_url(),
            self.credential.clone(),
            Some(options),
        )
        .unwrap()
    }

    async fn container(&self) -> BlobContainerClient {
        let options = BlobServiceClientOptions {
            client_options: self.client_options(),
            ..BlobServiceClientOptions::default()
        };
        let account = Url::parse(self.emulator.blob_account_url()).unwrap();
        let service = BlobServiceClient::new(account, Some(self.credential.clone()), Some(options)).unwrap();
        let container = service.blob_container_client("reports");
        container.create(None).await.unwrap();
        container
    }

    async fn upload(container: &BlobContainerClient, content: &'static str) -> azure_core::Result<()> {
        let blob = container.blob_client("july.csv");
        blob.upload(bytes::Bytes::from_static(content.as_bytes()).into(), None)
            .await
            .map(drop)
    }

    fn revoke(&self) {
        self.emulator.entra().revoke_tokens(self.pod.client_id());
    }

    /// The statuses of the requests to an endpoint since the last call.
    fn statuses(&self, endpoint: Endpoint, seen: &mut usize) -> Vec<u16> {
        let requests = self.emulator.requests_to(endpoint);
        let new = requests[*seen..]
            .iter()
            .filter_map(entra_workload_emulator::RecordedRequest::status)
            .collect();
        *seen = requests.len();
        new
    }
}

/// A 401 with claims that are always the same.
fn claims_challenge() -> Fault {
    let reply = http::Response::builder().status(401).header(
        "www-authenticate",
        r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#,
    );
    Fault::reply(reply.body("".into()).unwrap())
}

/// Reads a stream to its end, as a transport without copies does.
#[derive(Debug)]
struct BodyReader;

#[async_trait]
impl Policy for BodyReader {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let mut content = Vec::new();
        if let Body::SeekableStream(stream) = request.body_mut() {
            stream.read_to_end(&mut content).await.unwrap();
        }
        let stream = request.body_mut().take();
        request.set_body(content);
        let response = next[0].send(ctx, request, &next[1..]).await;
        request.set_body(stream);
        response
    }
}

#[tokio::test]
async fn revoked_token_costs_a_blob_upload_one_token_and_one_retry() {
    let cloud = Cloud::start().await;
    let container = cloud.container().await;
    let (mut blob, mut entra) = (0, 0);
    cloud.statuses(Endpoint::Blob, &mut blob);
    cloud.statuses(Endpoint::Entra, &mut entra);
    cloud.revoke();

    Cloud::upload(&container, "july").await.unwrap();
    assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [401, 201]);
    assert_eq!(cloud.statuses(Endpoint::Entra, &mut entra), [200]);
    let request = cloud.emulator.requests_to(Endpoint::Entra).pop().unwrap();
    let claims = request.form("claims").unwrap();
    assert!(
        claims.contains(r#""nbf":{"#) && claims.contains(r#""xms_cc":{"values":["CP1"]}"#),
        "{claims}"
    );

    // The new token serves everybody from now on.
    Cloud::upload(&container, "august").await.unwrap();
    cloud
        .credential
        .token(&["https://storage.azure.com/.default"])
        .await
        .unwrap();
    assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [201]);
    assert_eq!(cloud.statuses(Endpoint::Entra, &mut entra), [0u16; 0]);
    let downloaded = container.blob_client("july.csv").download(None).await.unwrap();
    let content = downloaded.body.collect().await.unwrap();
    assert_eq!(content, "august");
}

#[tokio::test]
async fn revoked_token_costs_a_secret_one_token_and_one_retry() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secrets();
    let (mut vault, mut entra) = (0, 0);
    let set = |value: &str| {
        let parameters = SetSecretParameters {
            value: Some(value.to_owned()),
            ..SetSecretParameters::default()
        };
        parameters.try_into().unwrap()
    };
    secrets.set_secret("a", set("one"), None).await.unwrap();
    assert_eq!(cloud.statuses(Endpoint::KeyVault, &mut vault), [401, 200]);
    cloud.statuses(Endpoint::Entra, &mut entra);
    cloud.revoke();

    secrets.set_secret("a", set("two"), None).await.unwrap();
    assert_eq!(cloud.statuses(Endpoint::KeyVault, &mut vault), [401, 200]);
    assert_eq!(cloud.statuses(Endpoint::Entra, &mut entra), [200]);
    let secret = secrets.get_secret("a", None).await.unwrap().into_model().unwrap();
    assert_eq!(secret.value.as_deref(), Some("two"));
}

#[tokio::test]
async fn first_request_of_a_vault_client_meets_both_challenges() {
    let cloud = Cloud::start().await;
    cloud.credential.token(&[VAULT]).await.unwrap();
    cloud.revoke();
    let error = cloud.secrets().get_secret("none", None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(StatusCode::NotFound), "{error}");
    let mut vault = 0;
    assert_eq!(cloud.statuses(Endpoint::KeyVault, &mut vault), [401, 401, 404]);
}

#[tokio::test]
async fn service_that_keeps_refusing_is_asked_twice() {
    let cloud = Cloud::start().await;
    let container = cloud.container().await;
    let mut blob = 0;
    cloud.statuses(Endpoint::Blob, &mut blob);
    cloud
        .emulator
        .inject(Endpoint::Blob, claims_challenge().until_cleared());
    let error = Cloud::upload(&container, "july").await.unwrap_err();
    assert_eq!(error.http_status(), Some(StatusCode::Unauthorized));
    assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [401, 401]);
}

#[tokio::test]
async fn token_that_is_rejected_with_the_same_claims_again_is_replaced_again() {
    let cloud = Cloud::start().await;
    let container = cloud.container().await;
    let mut blob = 0;
    cloud.statuses(Endpoint::Blob, &mut blob);
    for _ in 0..2 {
        cloud.emulator.inject(Endpoint::Blob, claims_challenge());
        Cloud::upload(&container, "july").await.unwrap();
        assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [401, 201]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_calls_with_a_revoked_token_succeed_and_share_a_new_one() {
    let cloud = Cloud::start().await;
    let container = cloud.container().await;
    let mut entra = 0;
    cloud.statuses(Endpoint::Entra, &mut entra);
    cloud.revoke();
    let uploads = (0..64).map(|number| {
        let blob = container.blob_client(&format!("blob-{number}"));
        tokio::spawn(async move {
            blob.upload(bytes::Bytes::from_static(b"july").into(), None)
                .await
                .map(drop)
        })
    });
    for upload in futures::future::join_all(uploads).await {
        upload.unwrap().unwrap();
    }
    // One with the claims; and one without, for a call that starts between the 401 and the new token.
    let requests = cloud.statuses(Endpoint::Entra, &mut entra).len();
    assert!((1..=2).contains(&requests), "{requests}");
}

#[tokio::test]
async fn stream_that_was_read_is_sent_from_its_start() {
    let cloud = Cloud::start().await;
    let container = cloud.container().await;
    let credential: Arc<dyn TokenCredential> = cloud.credential.clone();
    let bearer: Arc<dyn Policy> = Arc::new(BearerTokenAuthorizationPolicy::new(credential, [BLOB]));
    let options = ClientOptions {
        per_try_policies: vec![Arc::new(BodyReader)],
        ..cloud.client_options()
    };
    let pipeline = Pipeline::new(None, None, options, Vec::new(), vec![bearer], None);
    let url = format!("{}/reports/july.csv", cloud.emulator.blob_account_url());
    let mut request = Request::new(Url::parse(&url).unwrap(), Method::Put);
    request.insert_header("x-ms-version", "2026-04-06");
    request.insert_header("x-ms-blob-type", "BlockBlob");
    let content = vec![7_u8; 300_000];
    request.set_body(Body::SeekableStream(Box::new(BytesStream::new(content.clone()))));
    cloud.credential.token(&[BLOB]).await.unwrap();
    cloud.revoke();
    let response = pipeline.send(&Context::new(), &mut request, None).await.unwrap();
    assert_eq!(response.status(), StatusCode::Created);
    let downloaded = container.blob_client("july.csv").download(None).await.unwrap();
    assert_eq!(downloaded.body.collect().await.unwrap(), content);
}

/// Returns its tokens one after another.
#[derive(Debug)]
struct TokensInTurn(Mutex<Vec<&'static str>>);

#[async_trait]
impl TokenCredential for TokensInTurn {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<azure_core::credentials::AccessToken> {
        let token = self.0.lock().unwrap().remove(0);
        let expires_on = azure_core::time::OffsetDateTime::now_utc() + azure_core::time::Duration::hours(1);
        Ok(azure_core::credentials::AccessToken::new(token, expires_on))
    }
}

/// Rejects a token with a claims challenge, and records the lengths of the bodies of accepted requests.
#[derive(Debug)]
struct RejectsToken(&'static str, Mutex<Vec<usize>>);

#[async_trait]
impl HttpClient for RejectsToken {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut headers = Headers::new();
        let token = request.headers().get_str(&AUTHORIZATION)?;
        if token == format!("Bearer {}", self.0) {
            headers.insert("www-authenticate", r#"Bearer claims="e30=""#);
            let status = StatusCode::Unauthorized;
            return Ok(AsyncRawResponse::from_bytes(status, headers, ""));
        }
        let length = Bytes::from(request.body()).len();
        self.1.lock().unwrap().push(length);
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, headers, ""))
    }
}

#[tokio::test]
async fn stream_is_sent_from_its_start_after_the_rejected_token_was_held_back() {
    let tokens = TokensInTurn(Mutex::new(vec!["planted-1", "planted-1", "planted-2"]));
    let service = Arc::new(RejectsToken("planted-1", Mutex::default()));
    let bearer = BearerTokenAuthorizationPolicy::new(Arc::new(tokens), [BLOB]);
    let credential = Cloud::start().await.credential;
    let options = ClientOptions {
        transport: Some(Transport::new(service.clone())),
        per_call_policies: vec![Arc::new(ClaimsChallengePolicy::new(credential))],
        per_try_policies: vec![Arc::new(BodyReader)],
        ..ClientOptions::default()
    };
    let pipeline = Pipeline::new(None, None, options, Vec::new(), vec![Arc::new(bearer)], None);
    let mut request = Request::new(Url::parse("https://orders.example.com").unwrap(), Method::Put);
    let content = vec![7_u8; 1000];
    request.set_body(Body::SeekableStream(Box::new(BytesStream::new(content))));
    pipeline.send(&Context::new(), &mut request, None).await.unwrap();
    assert_eq!(*service.1.lock().unwrap(), [1000]);
}

#[tokio::test]
async fn malformed_claims_are_an_error_with_the_status_and_the_reason() {
    let cloud = Cloud::start().await;
    let (container, secrets) = (cloud.container().await, cloud.secrets());
    // The client of the vault knows its scope after its first request.
    secrets.get_secret("none", None).await.unwrap_err();
    let malformed = || {
        let reply = http::Response::builder().status(401).header(
            "www-authenticate",
            r#"Bearer error="insufficient_claims", claims="%%%""#,
        );
        Fault::reply(reply.body("body".into()).unwrap())
    };
    cloud.emulator.inject(Endpoint::Blob, malformed());
    cloud.emulator.inject(Endpoint::KeyVault, malformed());
    for error in [
        Cloud::upload(&container, "july").await.unwrap_err(),
        secrets.get_secret("none", None).await.unwrap_err(),
    ] {
        assert_no_secret(&error);
        let SdkErrorKind::HttpResponse {
            status, raw_response, ..
        } = error.kind()
        else {
            panic!("{error:?}");
        };
        assert_eq!(*status, StatusCode::Unauthorized);
        assert_eq!(&raw_response.as_ref().unwrap().body()[..], b"body");
        let cause = Error::find_in(&error).expect("an error of this crate");
        assert_eq!(cause.kind(), ErrorKind::Protocol, "{error}");
    }
    // The tokens were dropped.
    Cloud::upload(&container, "july").await.unwrap();
    let error = secrets.get_secret("none", None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(StatusCode::NotFound), "{error}");
}

#[tokio::test]
async fn token_without_the_capability_is_dropped_after_a_401() {
    let cloud = Cloud::with(|builder| builder).await;
    let container = cloud.container().await;
    let (mut blob, mut entra) = (0, 0);
    cloud.statuses(Endpoint::Blob, &mut blob);
    cloud.statuses(Endpoint::Entra, &mut entra);
    cloud.emulator.inject(Endpoint::Blob, Fault::status(401));
    Cloud::upload(&container, "july").await.unwrap_err();
    assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [401]);
    Cloud::upload(&container, "july").await.unwrap();
    assert_eq!(cloud.statuses(Endpoint::Blob, &mut blob), [201]);
    assert_eq!(cloud.statuses(Endpoint::Entra, &mut entra), [200]);

    // The brake: another 401 within 30 s leads to no other token.
    cloud
        .emulator
        .inject(Endpoint::Blob, Fault::status(401).until_cleared());
    for _ in 0..3 {
        Cloud::upload(&container, "july").await.unwrap_err();
    }
    assert_eq!(cloud.statuses(Endpoint::Entra, &mut entra), [0u16; 0]);
}

#[tokio::test]
async fn malformed_claims_are_refused_before_a_request() {
    let cloud = Cloud::start().await;
    let context = Context::new().with_value(TokenClaims::new("planted"));
    let options = TokenRequestOptions {
        method_options: ClientMethodOptions { context },
    };
    let error = cloud
        .credential
        .get_token(&[VAULT], Some(options))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("are not a JSON object"), "{error}");
    assert!(cloud.emulator.requests_to(Endpoint::Entra).is_empty());
}

#[tokio::test]
async fn context_can_force_a_refresh_of_a_chain_that_walks_every_time() {
    let cloud = Cloud::start().await;
    let chain = ChainedTokenCredential::builder()
        .then("pod", cloud.credential.clone())
        .walk_every_time()
        .build()
        .unwrap();
    let first = chain.get_token(&[VAULT], None).await.unwrap();
    let context = Context::new().with_value(ForceTokenRefresh);
    let options = TokenRequestOptions {
        method_options: ClientMethodOptions { context },
    };
    let forced = chain.get_token(&[VAULT], Some(options)).await.unwrap();
    assert_ne!(first.token.secret(), forced.token.secret());
}

#[tokio::test]
async fn context_can_force_a_refresh_and_name_a_tenant() {
    let cloud = Cloud::start().await;
    let get = |context| {
        let options = TokenRequestOptions {
            method_options: ClientMethodOptions { context },
        };
        cloud.credential.get_token(&[VAULT], Some(options))
    };
    let first = get(Context::new()).await.unwrap();
    let same = get(Context::new()).await.unwrap();
    assert_eq!(first.token.secret(), same.token.secret());
    let forced = get(Context::new().with_value(ForceTokenRefresh)).await.unwrap();
    assert_ne!(first.token.secret(), forced.token.secret());
    let error = get(Context::new().with_value(TokenTenantId::new("fabrikam.com")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("fabrikam.com"), "{error}");
}

/// A vault of the tenant `fabrikam.com`, which takes any token that contains `fabrikam`.
#[derive(Debug)]
struct OtherTenantsVault(Mutex<Vec<Option<String>>>);

#[async_trait]
impl HttpClient for OtherTenantsVault {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let token = request
            .headers()
            .get_optional_str(&AUTHORIZATION)
            .map(str::to_owned);
        self.0.lock().unwrap().push(token.clone());
        let mut headers = Headers::new();
        if token.is_some_and(|token| token.contains("fabrikam")) {
            headers.insert("content-type", "application/json");
            return Ok(AsyncRawResponse::from_bytes(
                StatusCode::Ok,
                headers,
                r#"{"value":"x"}"#,
            ));
        }
        headers.insert(
            "www-authenticate",
            r#"Bearer authorization="https://login.microsoftonline.com/fabrikam.com", resource="https://vault.azure.net""#,
        );
        Ok(AsyncRawResponse::from_bytes(
            StatusCode::Unauthorized,
            headers,
            "",
        ))
    }
}

/// Returns the result of reading a secret, and the number of requests to the vault.
async fn other_tenants_secret(
    vault_url: &str,
    allowed: bool,
    configure: impl FnOnce(ClaimsChallengePolicy) -> ClaimsChallengePolicy,
) -> (azure_core::Result<()>, usize) {
    let pod = support::pod::PodDirectory::new();
    let (transport, mut endpoint) = fake_endpoint();
    let credential = WorkloadIdentityCredential::builder()
        .environment(pod.environment())
        .additionally_allowed_tenants(allowed.then_some("fabrikam.com"))
        .transport(transport)
        .build()
        .unwrap();
    let vault = Arc::new(OtherTenantsVault(Mutex::default()));
    let policy = configure(ClaimsChallengePolicy::new(credential.clone()));
    let options = SecretClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(vault.clone())),
            per_call_policies: vec![Arc::new(policy)],
            ..ClientOptions::default()
        },
        // So that the policy alone decides.
        verify_challenge_resource: Some(false),
        ..SecretClientOptions::default()
    };
    let client = SecretClient::new(vault_url, credential, Some(options)).unwrap();
    let entra = tokio::spawn(async move {
        loop {
            let request = endpoint.request().await;
            let tenant = request.uri.contains("fabrikam.com");
            request.grant(if tenant { "planted-fabrikam" } else { "planted-own" }, 3600);
        }
    });
    let result = client.get_secret("a", None).await.map(drop);
    entra.abort();
    let requests = vault.0.lock().unwrap().len();
    (result, requests)
}

#[tokio::test]
async fn tenant_of_a_vault_is_discovered_from_its_challenge() {
    let (result, requests) =
        other_tenants_secret(VAULT_URL, true, ClaimsChallengePolicy::discover_tenant).await;
    result.map_err(|error| format!("{error:?}")).unwrap();
    assert_eq!(requests, 2, "the challenge, and the answer");

    let (result, _) = other_tenants_secret(VAULT_URL, false, ClaimsChallengePolicy::discover_tenant).await;
    let error = result.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    let has_fix =
        |cause: &String| cause.contains("fabrikam.com") && cause.contains("additionally_allowed_tenants");
    assert!(causes.iter().any(has_fix), "{causes:?}");

    let (result, _) = other_tenants_secret(VAULT_URL, true, |policy| policy).await;
    assert_eq!(result.unwrap_err().http_status(), Some(StatusCode::Unauthorized));
}

#[tokio::test]
async fn tenant_is_ignored_if_the_host_is_not_part_of_the_resource() {
    for vault_url in ["https://orders.example.com", "https://orders-vault.azure.net"] {
        let discovers = ClaimsChallengePolicy::discover_tenant;
        let (result, _) = other_tenants_secret(vault_url, true, discovers).await;
        let status = result.unwrap_err().http_status();
        assert_eq!(status, Some(StatusCode::Unauthorized), "{vault_url}");

        let trusts = ClaimsChallengePolicy::discover_tenant_from_any_host;
        let (result, _) = other_tenants_secret(vault_url, true, trusts).await;
        assert!(result.is_ok(), "{vault_url}: {result:?}");
    }
}

const VAULT_URL: &str = "https://orders.vault.azure.net";
