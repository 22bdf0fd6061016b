//! The host names of the public cloud, behind the proxy of the emulator.

use crate::support;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use serde_json::{Value, json};

use crate::support::projected_token;

#[tokio::test]
async fn discovery_names_the_host_it_was_asked_under() {
    let emulator = Emulator::start().await.unwrap();
    let tenant = emulator.entra().tenant_id();
    for host in ["login.microsoftonline.com", "login.windows.net"] {
        let url = format!("https://{host}/{tenant}/v2.0/.well-known/openid-configuration");
        let document = get(&client(&emulator), &url).await;
        assert_eq!(document["issuer"], json!(format!("https://{host}/{tenant}/v2.0")));
        let keys = get(&client(&emulator), document["jwks_uri"].as_str().unwrap()).await;
        assert_eq!(keys["keys"][0]["kid"], keys["keys"][0]["x5t"]);
        assert!(keys["keys"][0]["x5c"][0].as_str().unwrap().starts_with("MII"));
    }
    let url = format!(
        "{}{tenant}/v2.0/.well-known/openid-configuration",
        emulator.authority_host()
    );
    let document = get(&support::client(&emulator), &url).await;
    let issuer = format!("{}{tenant}/v2.0", emulator.authority_host());
    assert_eq!(document["issuer"], json!(issuer));
}

#[tokio::test]
async fn discovery_of_version_1_has_the_issuer_of_access_tokens() {
    let emulator = Emulator::start().await.unwrap();
    let tenant = emulator.entra().tenant_id();
    let url = format!("https://login.microsoftonline.com/{tenant}/.well-known/openid-configuration");
    let document = get(&client(&emulator), &url).await;
    assert_eq!(
        document["issuer"],
        json!(format!("https://sts.windows.net/{tenant}/"))
    );
    let keys = get(&client(&emulator), document["jwks_uri"].as_str().unwrap()).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn discovery_of_common_and_organizations_is_a_template() {
    let emulator = Emulator::start().await.unwrap();
    for tenant in ["common", "organizations"] {
        let url = format!("https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration");
        let document = get(&client(&emulator), &url).await;
        assert_eq!(
            document["issuer"],
            "https://login.microsoftonline.com/{tenantid}/v2.0"
        );
    }
}

#[tokio::test]
async fn discovery_of_an_unknown_tenant_is_an_invalid_tenant() {
    let emulator = Emulator::start().await.unwrap();
    let url = "https://login.microsoftonline.com/contoso.com/v2.0/.well-known/openid-configuration";
    let document = get(&client(&emulator), url).await;
    assert_eq!(document["error"], "invalid_tenant");
    assert_eq!(document["error_codes"], json!([90_002]));
}

#[tokio::test]
async fn instance_discovery_knows_the_cloud_and_itself() {
    let emulator = Emulator::start().await.unwrap();
    for host in [
        "login.microsoftonline.com",
        emulator
            .authority_host()
            .trim_start_matches("https://")
            .trim_end_matches('/'),
    ] {
        let url = format!(
            "https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint=https://{host}/t/oauth2/v2.0/authorize"
        );
        let document = get(&client(&emulator), &url).await;
        let aliases = document["metadata"][0]["aliases"].as_array().unwrap();
        assert!(aliases.contains(&json!(host)), "{document}");
    }
}

#[tokio::test]
async fn unknown_path_says_what_there_is() {
    let emulator = Emulator::start().await.unwrap();
    let document = get(
        &client(&emulator),
        "https://login.microsoftonline.com/a/oauth2/v2.0/devicecode",
    )
    .await;
    let text = document["error_description"].as_str().unwrap();
    assert!(text.contains("has no GET /a/oauth2/v2.0/devicecode"), "{text}");
    assert!(text.contains("/TENANT/oauth2/v2.0/token"), "{text}");
}

#[tokio::test]
async fn token_endpoint_of_version_1_takes_a_resource() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let response = token(
        &emulator,
        &pod,
        "oauth2/token",
        ("resource", "https://vault.azure.net"),
    )
    .await;
    assert_eq!(response["resource"], "https://vault.azure.net");
    assert_eq!(response["expires_in"], "3599");
    let token = response["access_token"].as_str().unwrap();
    let verifier = emulator.token_verifier();
    let caller = verifier.verify(token, &["https://vault.azure.net"]).unwrap();
    assert_eq!(caller.client_id(), pod.client_id());
}

/// Resource Manager, Graph, databases, messaging, an account's own URL, the application itself.
#[tokio::test]
async fn resources_that_teams_ask_for_are_known() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let own = pod.client_id().to_owned();
    for resource in [
        "https://management.azure.com/",
        "https://graph.microsoft.com",
        "https://storage.azure.com",
        "https://devaccount.blob.core.windows.net",
        "https://managedhsm.azure.net",
        "https://servicebus.azure.net",
        "https://orders.servicebus.windows.net",
        "https://eventhubs.azure.net",
        "https://cosmos.azure.com",
        "https://database.windows.net/",
        "https://ossrdbms-aad.database.windows.net",
        "https://redis.azure.com",
        "https://azconfig.io",
        "https://containerregistry.azure.net",
        "https://appconfig.azure.com",
        "https://ai.azure.com",
        "https://batch.core.windows.net",
        "https://batch.core.windows.net/",
        "https://eventgrid.azure.net",
        "https://monitor.azure.com",
        "https://metrics.monitor.azure.com",
        &own,
        &format!("api://{own}"),
    ] {
        let scope = format!("{resource}/.default");
        let response = token(&emulator, &pod, "oauth2/v2.0/token", ("scope", &scope)).await;
        assert!(response["access_token"].is_string(), "{resource}: {response}");
    }
    let of_another_cloud = "https://vault.azure.cn/.default";
    let response = token(&emulator, &pod, "oauth2/v2.0/token", ("scope", of_another_cloud)).await;
    assert_eq!(response["error_codes"], json!([500_011]));
}

#[tokio::test]
async fn error_uri_has_the_login_host_that_was_asked() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let unknown = ("scope", "https://example.com/.default");
    let request = async || token(&emulator, &pod, "oauth2/v2.0/token", unknown).await;
    let uri = "https://login.microsoftonline.com/error?code=";
    assert_eq!(request().await["error_uri"], json!(format!("{uri}500011")));
    emulator.inject(Endpoint::Entra, Fault::status(503));
    assert_eq!(request().await["error_uri"], json!(format!("{uri}90033")));
}

#[tokio::test]
async fn each_vault_has_its_own_secrets_whose_names_ignore_case() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.set_secret(Some("shop"), "Db-Password", "planted");
    let scope = ("scope", "https://vault.azure.net/.default");
    let token = token(&emulator, &pod, "oauth2/v2.0/token", scope).await;
    let get = async |vault: &str| {
        let request = client(&emulator)
            .get(format!(
                "https://{vault}.vault.azure.net/secrets/DB-PASSWORD?api-version=7.6"
            ))
            .bearer_auth(token["access_token"].as_str().unwrap());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), json_of(response).await)
    };
    let (status, secret) = get("shop").await;
    assert_eq!((status, &secret["value"]), (200, &json!("planted")));
    let id = secret["id"].as_str().unwrap();
    assert!(
        id.starts_with("https://shop.vault.azure.net/secrets/Db-Password/"),
        "{id}"
    );
    assert_eq!(get("other").await.0, 404);
}

#[tokio::test]
async fn challenge_of_a_vault_names_the_real_login_host() {
    let emulator = Emulator::start().await.unwrap();
    let url = "https://shop.vault.azure.net/secrets/a?api-version=7.6";
    let response = client(&emulator).get(url).send().await.unwrap();
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    let expected = format!(
        "https://login.microsoftonline.com/{}",
        emulator.entra().tenant_id()
    );
    assert!(challenge.contains(&expected), "{challenge}");
}

#[tokio::test]
async fn account_behind_its_host_name_has_no_segment_in_the_path() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    emulator.put_blob(Some("shopdata"), "invoices", "1.txt", "42");
    let own_audience = ("scope", "https://shopdata.blob.core.windows.net/.default");
    let token = token(&emulator, &pod, "oauth2/v2.0/token", own_audience).await;
    let request = client(&emulator)
        .get("https://shopdata.blob.core.windows.net/invoices/1.txt")
        .header("x-ms-version", "2026-04-06")
        .bearer_auth(token["access_token"].as_str().unwrap());
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "42");
}

#[tokio::test]
async fn other_hosts_are_refused_unless_they_are_allowed_and_the_client_has_the_password() {
    let target = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    let connect = async |emulator: &Emulator, user_info: Option<&str>| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(proxy(emulator).0).await.unwrap();
        let authorization = user_info.map(|user_info| {
            let credentials = STANDARD.encode(user_info);
            format!("proxy-authorization: basic {credentials}\r\n")
        });
        let authorization = authorization.unwrap_or_default();
        let request = format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = vec![0; 300];
        let length = stream.read(&mut response).await.unwrap();
        String::from_utf8_lossy(&response[..length]).into_owned()
    };
    let closed = connect(&Emulator::start().await.unwrap(), None).await;
    assert!(closed.starts_with("HTTP/1.1 403 "), "{closed}");
    assert!(closed.contains("127.0.0.1 is not emulated"), "{closed}");
    let open = Emulator::builder().allow_external_hosts().start().await.unwrap();
    let user_info = proxy(&open).1.unwrap();
    let mut short = user_info.clone();
    short.pop();
    for wrong in [None, Some(""), Some("emulator:"), Some(short.as_str())] {
        let answer = connect(&open, wrong).await;
        assert!(answer.starts_with("HTTP/1.1 407 "), "{wrong:?}: {answer}");
        assert!(answer.contains("proxy-authenticate: Basic realm="), "{answer}");
    }
    let answer = connect(&open, Some(&user_info)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Its own hosts need no password.
    let discovery = "https://login.microsoftonline.com/common/.well-known/openid-configuration";
    let port = proxy(&open).0;
    let client = client_through(&open, &format!("http://{port}"));
    assert_eq!(client.get(discovery).send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn external_hosts_are_reached_through_the_proxy_of_the_machine() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Emulator::builder().allow_external_hosts();
    let address = upstream.local_addr().unwrap().to_string();
    let emulator = builder.upstream_proxy(address).start().await.unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut head = vec![0; 300];
        let length = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let (address, user_info) = proxy(&emulator);
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let credentials = STANDARD.encode(user_info.unwrap());
    let request = format!(
        "CONNECT example.com:8443 HTTP/1.1\r\nhost: example.com\r\nproxy-authorization: Basic {credentials}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(
        response.starts_with("HTTP/1.1 200 ") && response.ends_with("hello"),
        "{response}"
    );
    assert!(
        asked
            .await
            .unwrap()
            .starts_with("CONNECT example.com:8443 HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn faults_behind_a_host_name_have_the_codes_of_a_blob() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let scope = ("scope", "https://storage.azure.com/.default");
    let token = token(&emulator, &pod, "oauth2/v2.0/token", scope).await;
    for (method, status, code) in [("GET", 404, "BlobNotFound"), ("PUT", 409, "BlobAlreadyExists")] {
        emulator.inject(
            entra_workload_emulator::Endpoint::Blob,
            entra_workload_emulator::Fault::status(status),
        );
        let url = "https://devaccount.blob.core.windows.net/invoices/1.txt";
        let request = client(&emulator)
            .request(method.parse().unwrap(), url)
            .header("x-ms-version", "2026-04-06")
            .bearer_auth(token["access_token"].as_str().unwrap());
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-ms-error-code"], code);
    }
}

#[tokio::test]
async fn plain_requests_to_the_proxy_are_refused() {
    let emulator = Emulator::start().await.unwrap();
    let response = reqwest::get(emulator.proxy_url()).await.unwrap();
    assert_eq!(response.status().as_u16(), 405);
}

/// Requests a token through the proxy.
async fn token(emulator: &Emulator, pod: &Pod, endpoint: &str, what: (&str, &str)) -> Value {
    let url = format!("https://login.microsoftonline.com/{}/{endpoint}", pod.tenant_id());
    let assertion = projected_token(pod);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", pod.client_id()),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion.as_str()),
        what,
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let request = client(emulator)
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    json_of(request.send().await.unwrap()).await
}

async fn get(client: &reqwest::Client, url: &str) -> Value {
    json_of(client.get(url).send().await.unwrap()).await
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Returns `host:port` of the proxy, and the user and password of its URL.
fn proxy(emulator: &Emulator) -> (String, Option<String>) {
    let url = emulator.proxy_url().strip_prefix("http://").unwrap();
    match url.split_once('@') {
        Some((user_info, address)) => (address.to_owned(), Some(user_info.to_owned())),
        None => (url.to_owned(), None),
    }
}

/// A client that trusts the CA and uses the proxy, as a program with `HTTPS_PROXY` does.
fn client(emulator: &Emulator) -> reqwest::Client {
    client_through(emulator, emulator.proxy_url())
}

fn client_through(emulator: &Emulator, proxy: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(emulator.ca_certificate_pem().as_bytes()).unwrap();
    let proxy = reqwest::Proxy::https(proxy).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).proxy(proxy);
    client.build().unwrap()
}
