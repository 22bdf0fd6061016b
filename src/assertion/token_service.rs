use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::jwt::Claims;
use crate::authority::is_loopback;
use crate::code::Code;
use crate::env::is_host;
use crate::error::{Error, ErrorKind};
use crate::escape::is_visible;
use crate::guid::is_guid;
use crate::token::Secret;
use crate::transport::{ATTEMPT_TIMEOUT, MAX_BODY, Transport, retry_after, wipe};

/// A service that issues JWTs over HTTP to the bearer of another token: that of a CI system, or the API
/// server of a cluster.
#[derive(Debug)]
pub(super) struct TokenService {
    /// Who answers, for messages.
    pub(super) name: String,
    /// Where the JWT is in the JSON of the answer (RFC 6901).
    pub(super) pointer: &'static str,
    /// Why the service refuses a request, and what to do about it.
    pub(super) hints: Vec<Hint>,
    pub(super) transport: Arc<dyn Transport>,
}

/// The usual cause of a refusal, for messages.
#[derive(Debug)]
pub(super) struct Hint {
    /// Empty for all.
    statuses: &'static [StatusCode],
    text: String,
}

impl Hint {
    pub(super) fn new(statuses: &'static [StatusCode], text: impl Into<String>) -> Self {
        Self {
            statuses,
            text: text.into(),
        }
    }

    fn is_for(&self, status: StatusCode) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&status)
    }
}

impl TokenService {
    /// Sends a request and returns the JWT in its answer.
    ///
    /// # Errors
    ///
    /// * `Transport` if there is no answer.
    /// * `Rejected` for any status but 200, with the status.
    /// * `Protocol` for a redirect, a page and an answer without a JWT.
    pub(super) async fn fetch(&self, request: Request<Bytes>) -> Result<Secret, Error> {
        let sent = tokio::time::timeout(ATTEMPT_TIMEOUT, self.transport.send(request));
        let response = sent.await.unwrap_or_else(|_| {
            let message = format!("{} did not respond in time", self.name);
            Err(Error::transport(message).with_code(Code::NO_RESPONSE))
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.read(response).map_err(|error| {
            let error = error.with_retry_after(retry_after::number(&headers));
            with_id(error.with_status(status), &headers)
        })
    }

    fn read(&self, response: Response<Bytes>) -> Result<Secret, Error> {
        let Self { name, .. } = self;
        let status = response.status();
        let number = status.as_u16();
        let hint = self.hints.iter().find(|hint| hint.is_for(status));
        let hint = hint.map_or("", |hint| &hint.text);
        let is_page = is_page(response.body());
        if status.is_redirection() {
            return Err(Error::protocol(format!(
                "{name} returned status {number}, a redirect to a sign-in page; {hint}"
            )));
        }
        if status.is_success() && is_page {
            return Err(Error::protocol(format!(
                "{name} returned status {number} with a sign-in page in place of a token; {hint}"
            )));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("{name} throttled the request (status {number}); retry later"),
            ));
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("{name} is temporarily unavailable (status {number}); retry later"),
            ));
        }
        if !status.is_success() {
            return Err(Error::new(
                ErrorKind::Rejected,
                format!("{name} refused the request (status {number}); {hint}"),
            ));
        }
        let body = response.into_body();
        if body.len() > MAX_BODY {
            return Err(Error::protocol(format!("{name} returned more than 256 KiB")));
        }
        let jwt = token(&body, self.pointer);
        wipe(body);
        let jwt = jwt.ok_or_else(|| {
            Error::protocol(format!("{name} returned no token; check for a proxy in between"))
        })?;
        Claims::read(&jwt).map_err(|reason| {
            Error::protocol(format!("{name} returned a token that is not a JWT: {reason}"))
        })?;
        Ok(Secret::from(jwt.as_str()))
    }
}

/// Builds a request with a bearer token.
///
/// * `origin`: what the URL and the bearer token come from, for messages.
pub(super) fn request(
    method: Method,
    url: &Url,
    bearer: &Secret,
    origin: [&str; 2],
    accept: &'static str,
    body: Bytes,
) -> Result<Request<Bytes>, Error> {
    let [url_origin, bearer_origin] = origin;
    let mut authorization = HeaderValue::try_from(format!("Bearer {}", bearer.expose())).map_err(|_| {
        Error::configuration(format!(
            "{bearer_origin} contains a line break or another control character"
        ))
    })?;
    authorization.set_sensitive(true);
    let request = Request::builder()
        .method(method)
        .uri(url.as_str())
        .header(AUTHORIZATION, authorization)
        .header(ACCEPT, HeaderValue::from_static(accept))
        .header(
            USER_AGENT,
            HeaderValue::from_static(concat!("entra-workload/", env!("CARGO_PKG_VERSION"))),
        );
    let request = if body.is_empty() {
        request
    } else {
        request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    };
    request
        .body(body)
        .map_err(|error| Error::configuration(format!("{url_origin} is not a URL")).with_source(error))
}

/// Parses the URL of a token service: `https`, or `http` on loopback.
///
/// * `origin`: what it comes from, for messages.
pub(super) fn parse_url(text: &str, origin: &str) -> Result<Url, Error> {
    let text = text.trim();
    if !is_visible(text) {
        return Err(Error::configuration(format!(
            "{origin} contains white space, or a control or invisible character"
        )));
    }
    // The error shows nothing of the URL: a query can contain a secret.
    let url = Url::parse(text).map_err(|_| Error::configuration(format!("{origin} is not a URL")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::configuration(format!(
            "{origin} must not contain a user name or a password"
        )));
    }
    if !url.host_str().is_some_and(is_host) {
        return Err(Error::configuration(format!(
            "{origin} is not a URL with a host name"
        )));
    }
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(Error::configuration(format!(
            "{origin} must start with https://, because the request contains a token"
        )));
    }
    Ok(url)
}

fn token(body: &[u8], pointer: &str) -> Option<Zeroizing<String>> {
    let mut json: Value = serde_json::from_slice(body).ok()?;
    match json.pointer_mut(pointer)?.take() {
        Value::String(token) => Some(Zeroizing::new(token.trim().to_owned())),
        _ => None,
    }
}

/// Whether a body is a page for a person.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Adds the ID that the support of Azure DevOps asks for.
fn with_id(error: Error, headers: &HeaderMap) -> Error {
    let id = headers.get(ACTIVITY_ID).and_then(|id| id.to_str().ok());
    // Anything else could be a part of a token.
    match id.filter(|id| is_guid(id)) {
        Some(id) => error.with_correlation_id(id),
        None => error,
    }
}

/// The end-to-end ID of a request to Azure DevOps.
const ACTIVITY_ID: HeaderName = HeaderName::from_static("x-vss-e2eid");

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    // {"alg":"RS256"} . {} . signature
    const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl";

    fn read(status: u16, body: &str) -> Result<Secret, Error> {
        let service = TokenService {
            name: "the service".into(),
            pointer: "/status/token",
            hints: vec![Hint::new(&[], "ask")],
            transport: Arc::new(crate::transport::HttpTransport::new()),
        };
        let response = Response::builder().status(status);
        service.read(response.body(Bytes::from(body.to_owned())).unwrap())
    }

    /// Never answers.
    #[derive(Debug)]
    struct Silence;

    #[async_trait::async_trait]
    impl Transport for Silence {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Error> {
            std::future::pending().await
        }
    }

    /// Answers with this status and a pause.
    #[derive(Debug)]
    struct Throttling;

    #[async_trait::async_trait]
    impl Transport for Throttling {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Error> {
            let response = Response::builder().status(429).header("retry-after", "60");
            Ok(response.body(Bytes::new()).unwrap())
        }
    }

    async fn fetch(transport: impl Transport) -> Error {
        let service = TokenService {
            name: "the service".into(),
            pointer: "/value",
            hints: Vec::new(),
            transport: Arc::new(transport),
        };
        let request = Request::get("https://service.example/").body(Bytes::new());
        service.fetch(request.unwrap()).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_transient_error_of_the_transport() {
        let error = fetch(Silence).await;
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert!(error.is_transient(), "{error}");
    }

    #[tokio::test]
    async fn pause_that_the_service_asks_for_is_kept() {
        assert_eq!(
            fetch(Throttling).await.retry_after(),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn activity_id_is_shown_if_it_is_a_guid() {
        let id = |value: &'static str| {
            let headers = HeaderMap::from_iter([(ACTIVITY_ID, HeaderValue::from_static(value))]);
            let error = with_id(Error::assertion("refused"), &headers);
            error.correlation_id().map(str::to_owned)
        };
        let guid = "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10";
        assert_eq!(id(guid).as_deref(), Some(guid));
        assert_eq!(id("7a5ff21b4f5b4f5b9e3e2c0b5a1d9a107a5f"), None);
        assert_eq!(id("------------------------------------"), None);
    }

    #[test]
    fn token_is_read_from_its_place_in_the_json() {
        for body in [
            format!(r#"{{"status":{{"token":"{JWT}"}},"x":1}}"#),
            format!(
                r#"{{"status":{{"token":"\u0065{}\n"}}}}"#,
                JWT.trim_start_matches('e')
            ),
        ] {
            assert_eq!(read(200, &body).unwrap().expose(), JWT);
            assert_eq!(read(201, &body).unwrap().expose(), JWT);
        }
    }

    #[test]
    fn answer_without_a_token_is_an_error_without_any_of_its_text() {
        for (status, body, kind, message) in [
            (302, "", ErrorKind::Protocol, "a redirect to a sign-in page; ask"),
            (
                203,
                " <html>planted",
                ErrorKind::Protocol,
                "with a sign-in page in place of a token; ask",
            ),
            (
                401,
                "<html>planted",
                ErrorKind::Rejected,
                "refused the request (status 401); ask",
            ),
            (
                404,
                r#"{"message":"planted"}"#,
                ErrorKind::Rejected,
                "refused the request (status 404); ask",
            ),
            (
                429,
                "planted",
                ErrorKind::Rejected,
                "throttled the request (status 429)",
            ),
            (
                503,
                "<html>planted",
                ErrorKind::Rejected,
                "temporarily unavailable (status 503)",
            ),
            (200, "planted", ErrorKind::Protocol, "returned no token"),
            (
                200,
                r#"{"value":"planted"}"#,
                ErrorKind::Protocol,
                "returned no token",
            ),
            (
                200,
                r#"{"status":{"token":7}}"#,
                ErrorKind::Protocol,
                "returned no token",
            ),
            (
                200,
                r#"{"status":{"token":"planted"}}"#,
                ErrorKind::Protocol,
                "not a JWT: it has 1 parts",
            ),
            (
                200,
                r#"{"status":{"token":""}}"#,
                ErrorKind::Protocol,
                "not a JWT: it has 1 parts",
            ),
        ] {
            let error = read(status, body).unwrap_err();
            assert_eq!(error.kind(), kind, "{status} {body}: {error}");
            assert!(error.to_string().contains(message), "{status} {body}: {error}");
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
    }

    #[test]
    fn url_of_a_service_must_be_https_or_on_loopback() {
        for url in [
            "https://a/b?c=d",
            " https://a ",
            "http://127.0.0.1:7/x",
            "http://localhost",
        ] {
            assert!(parse_url(url, "VARIABLE").is_ok(), "{url}");
        }
        for (url, reason) in [
            ("", "VARIABLE is not a URL"),
            ("planted", "VARIABLE is not a URL"),
            ("http://example.com/?planted", "VARIABLE must start with https://"),
            ("ftp://a", "VARIABLE must start with https://"),
            (
                "https://user:planted@a",
                "VARIABLE must not contain a user name or a password",
            ),
            (
                "https://planted@a",
                "VARIABLE must not contain a user name or a password",
            ),
            (
                "https://planted8Q~secret",
                "VARIABLE is not a URL with a host name",
            ),
            ("https://a\n.planted", "VARIABLE contains white space"),
        ] {
            let error = parse_url(url, "VARIABLE").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().starts_with(reason), "{error}");
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
    }
}
