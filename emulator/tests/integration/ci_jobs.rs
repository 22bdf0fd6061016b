//! The token services of GitHub Actions and Azure Pipelines.

use bytes::Bytes;
use entra_workload_emulator::{CiJob, Emulator, Endpoint, Fault};
use http::header::LOCATION;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::support::token_request::TokenRequest;
use crate::support::{parts, send};

const SUBJECT: &str = "repo:contoso/orders:ref:refs/heads/main";
const AUDIENCE: &str = "api://AzureADTokenExchange";

fn github_job(emulator: &Emulator) -> CiJob {
    emulator.github_job("contoso/orders", SUBJECT).unwrap()
}

fn pipelines_job(emulator: &Emulator) -> CiJob {
    emulator.pipelines_job("contoso", "azure").unwrap()
}

fn variable<'a>(job: &'a CiJob, name: &str) -> &'a str {
    let mut variables = job.variables().iter();
    &variables.find(|(variable, _)| *variable == name).unwrap().1
}

/// A request that the token service accepts.
fn valid(job: &CiJob) -> Request<Bytes> {
    let is_github = job
        .variables()
        .iter()
        .any(|(name, _)| *name == "ACTIONS_ID_TOKEN_REQUEST_URL");
    let (method, url, token) = if is_github {
        (
            Method::GET,
            format!(
                "{}&audience={AUDIENCE}",
                variable(job, "ACTIONS_ID_TOKEN_REQUEST_URL")
            ),
            variable(job, "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        )
    } else {
        (
            Method::POST,
            format!(
                "{}?api-version=7.1&serviceConnectionId={}",
                variable(job, "SYSTEM_OIDCREQUESTURI"),
                variable(job, "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")
            ),
            variable(job, "SYSTEM_ACCESSTOKEN"),
        )
    };
    Request::builder()
        .method(method)
        .uri(url)
        .header("authorization", format!("bearer {token}"))
        .header("content-type", "application/json")
        .header("x-tfs-fedauthredirect", "Suppress")
        .body(Bytes::new())
        .unwrap()
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// Sends a changed request and returns the status.
async fn status(emulator: &Emulator, job: &CiJob, change: impl FnOnce(&mut Request<Bytes>)) -> u16 {
    let mut request = valid(job);
    change(&mut request);
    send(emulator, request).await.status().as_u16()
}

fn set_url(request: &mut Request<Bytes>, change: impl FnOnce(String) -> String) {
    *request.uri_mut() = change(request.uri().to_string()).parse().unwrap();
}

async fn exchange(emulator: &Emulator, job: &CiJob, assertion: &str) -> u16 {
    let pod = emulator.pod("shop", "orders").unwrap();
    let request = TokenRequest::new(&pod)
        .with("client_id", job.client_id())
        .with("client_assertion", assertion);
    request.send(emulator).await.status
}

#[tokio::test]
async fn token_of_a_github_job_is_accepted_by_entra() {
    let emulator = Emulator::start().await.unwrap();
    let job = github_job(&emulator);
    let response = send(&emulator, valid(&job)).await;
    let body = json(&response);
    assert_eq!(response.status(), 200, "{body}");
    let (_, claims) = parts(body["value"].as_str().unwrap());
    assert_eq!(claims["iss"], "https://token.actions.githubusercontent.com");
    assert_eq!(claims["sub"], SUBJECT);
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(
        exchange(&emulator, &job, body["value"].as_str().unwrap()).await,
        200
    );
}

#[tokio::test]
async fn token_of_a_pipelines_job_is_accepted_by_entra() {
    let emulator = Emulator::start().await.unwrap();
    let job = pipelines_job(&emulator);
    let response = send(&emulator, valid(&job)).await;
    let body = json(&response);
    assert_eq!(response.status(), 200, "{body}");
    let (_, claims) = parts(body["oidcToken"].as_str().unwrap());
    assert_eq!(claims["sub"], "sc://contoso/orders/azure");
    assert_eq!(claims["aud"], AUDIENCE);
    assert!(response.headers().contains_key("x-vss-e2eid"));
    assert_eq!(
        exchange(&emulator, &job, body["oidcToken"].as_str().unwrap()).await,
        200
    );
}

#[tokio::test]
async fn github_token_without_an_audience_is_for_the_owner() {
    let emulator = Emulator::start().await.unwrap();
    let job = github_job(&emulator);
    let mut request = valid(&job);
    set_url(&mut request, |url| {
        url.replace(&format!("&audience={AUDIENCE}"), "")
    });
    let body = json(&send(&emulator, request).await);
    let token = body["value"].as_str().unwrap();
    assert_eq!(parts(token).1["aud"], "https://github.com/contoso");
    assert_eq!(exchange(&emulator, &job, token).await, 401);
}

#[tokio::test]
async fn github_refuses_requests_that_are_not_as_documented() {
    let emulator = Emulator::start().await.unwrap();
    let job = github_job(&emulator);
    // A second query, as code that concatenates text appends it.
    let appended = |request: &mut Request<Bytes>| set_url(request, |url| url.replace('&', "?"));
    assert_eq!(status(&emulator, &job, appended).await, 400);
    let twice = |request: &mut Request<Bytes>| set_url(request, |url| url + "&audience=other");
    assert_eq!(status(&emulator, &job, twice).await, 400);
    let posted = |request: &mut Request<Bytes>| *request.method_mut() = Method::POST;
    assert_eq!(status(&emulator, &job, posted).await, 405);
    let elsewhere = |request: &mut Request<Bytes>| set_url(request, |url| url.replace("/idtoken", "/other"));
    assert_eq!(status(&emulator, &job, elsewhere).await, 404);
    let anonymous = |request: &mut Request<Bytes>| drop(request.headers_mut().remove("authorization"));
    assert_eq!(status(&emulator, &job, anonymous).await, 401);
}

#[tokio::test]
async fn pipelines_refuses_requests_that_are_not_as_documented() {
    let emulator = Emulator::start().await.unwrap();
    let job = pipelines_job(&emulator);
    let got = |request: &mut Request<Bytes>| *request.method_mut() = Method::GET;
    assert_eq!(status(&emulator, &job, got).await, 405);
    let old = |request: &mut Request<Bytes>| set_url(request, |url| url.replace("7.1", "6.0"));
    assert_eq!(status(&emulator, &job, old).await, 400);
    let text = |request: &mut Request<Bytes>| {
        let text = "text/plain".parse().unwrap();
        request.headers_mut().insert("content-type", text);
    };
    assert_eq!(status(&emulator, &job, text).await, 415);
    let list = |request: &mut Request<Bytes>| *request.body_mut() = Bytes::from_static(b"[]");
    assert_eq!(status(&emulator, &job, list).await, 400);
    let other = |request: &mut Request<Bytes>| set_url(request, |url| url + "0");
    assert_eq!(status(&emulator, &job, other).await, 404);
    let anonymous = |request: &mut Request<Bytes>| drop(request.headers_mut().remove("authorization"));
    assert_eq!(status(&emulator, &job, anonymous).await, 401);
}

#[tokio::test]
async fn pipelines_redirects_to_the_sign_in_page_unless_suppressed() {
    let emulator = Emulator::start().await.unwrap();
    let job = pipelines_job(&emulator);
    let mut request = valid(&job);
    request.headers_mut().remove("authorization");
    request.headers_mut().remove("x-tfs-fedauthredirect");
    // The client follows no redirect, as the services of the tests need none.
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(emulator.ca_certificate_pem().as_bytes()).unwrap()])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let response = client.execute(request.try_into().unwrap()).await.unwrap();
    assert_eq!(response.status(), 302);
    let page = response.headers().get(LOCATION).unwrap().to_str().unwrap();
    assert!(page.contains("/_signin"), "{page}");
}

#[tokio::test]
async fn request_token_is_valid_for_its_own_running_job_only() {
    let emulator = Emulator::start().await.unwrap();
    for (job, other) in [
        (github_job(&emulator), github_job(&emulator)),
        (pipelines_job(&emulator), pipelines_job(&emulator)),
    ] {
        let stolen = |request: &mut Request<Bytes>| {
            let authorization = valid(&other).headers().get("authorization").unwrap().clone();
            request.headers_mut().insert("authorization", authorization);
        };
        assert_eq!(status(&emulator, &job, stolen).await, 404);
        assert_eq!(status(&emulator, &job, |_| ()).await, 200);
        job.finish();
        assert_eq!(status(&emulator, &job, |_| ()).await, 401);
        assert_eq!(status(&emulator, &other, |_| ()).await, 200);
    }
}

#[tokio::test]
async fn faults_apply_to_the_token_services() {
    let emulator = Emulator::start().await.unwrap();
    for (job, endpoint) in [
        (github_job(&emulator), Endpoint::GitHubActions),
        (pipelines_job(&emulator), Endpoint::AzurePipelines),
    ] {
        emulator.inject(endpoint, Fault::status(503));
        assert_eq!(status(&emulator, &job, |_| ()).await, 503);
        assert_eq!(status(&emulator, &job, |_| ()).await, 200);
        assert_eq!(emulator.requests_to(endpoint).len(), 2);
    }
}
