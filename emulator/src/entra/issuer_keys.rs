use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode};
use serde::Deserialize;

use super::error_response::ErrorResponse;
use crate::http_client;
use crate::jwt::{PublicKey, parse_key_set};

/// The keys of token issuers, fetched by OIDC discovery and cached.
pub(crate) struct IssuerKeys {
    client: reqwest::Client,
    given: RwLock<HashMap<String, Vec<PublicKey>>>,
    fetched: Mutex<HashMap<String, Vec<PublicKey>>>,
}

impl IssuerKeys {
    /// * `roots`: the trusted root certificates, in PEM.
    /// * `given`: issuers with known keys, which are not fetched.
    pub(crate) fn new(roots: &[u8], given: HashMap<String, Vec<PublicKey>>) -> io::Result<Self> {
        let client = http_client::builder(roots)?
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(0)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            client,
            given: RwLock::new(given),
            fetched: Mutex::default(),
        })
    }

    /// Gives the keys of an issuer, so that they are not fetched.
    pub(super) fn give(&self, issuer: &str, keys: Vec<PublicKey>) {
        let mut given = self.given.write().unwrap_or_else(PoisonError::into_inner);
        given.insert(issuer.to_owned(), keys);
    }

    /// Forgets the fetched keys. Given ones stay.
    pub(super) fn forget_fetched(&self) {
        self.fetched().clear();
    }

    /// Returns the key with this ID. Fetches the keys if the ID is not cached.
    pub(super) async fn find(&self, issuer: &str, kid: &str) -> Result<Option<PublicKey>, ErrorResponse> {
        let with_id = |keys: &Vec<PublicKey>| keys.iter().find(|key| key.kid == kid).cloned();
        let given = self
            .given
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(issuer)
            .map(with_id);
        if let Some(key) = given {
            return Ok(key);
        }
        let known = self.fetched().get(issuer).and_then(with_id);
        if known.is_some() {
            return Ok(known);
        }
        let keys = self.fetch(issuer).await?;
        let found = with_id(&keys);
        self.fetched().insert(issuer.to_owned(), keys);
        Ok(found)
    }

    async fn fetch(&self, issuer: &str) -> Result<Vec<PublicKey>, ErrorResponse> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document: Discovery =
            serde_json::from_slice(&self.get(&url).await?).map_err(|_| invalid_issuer_response())?;
        if document.issuer != issuer || !document.jwks_uri.starts_with("https://") {
            return Err(invalid_issuer_response());
        }
        parse_key_set(&self.get(&document.jwks_uri).await?).ok_or_else(invalid_issuer_response)
    }

    async fn get(&self, url: &str) -> Result<Bytes, ErrorResponse> {
        let request = Request::get(url)
            .body(Bytes::new())
            .map_err(|_| invalid_issuer_response())?;
        let request = reqwest::Request::try_from(request).map_err(|_| issuer_unreachable())?;
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|_| issuer_unreachable())?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| issuer_unreachable())? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(issuer_unreachable());
            }
            body.extend_from_slice(&chunk);
        }
        if response.status() != StatusCode::OK {
            return Err(invalid_issuer_response());
        }
        Ok(body.freeze())
    }

    fn fetched(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<PublicKey>>> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

fn issuer_unreachable() -> ErrorResponse {
    ErrorResponse::new(90_061, REQUEST_FAILED)
}

fn invalid_issuer_response() -> ErrorResponse {
    ErrorResponse::new(50_166, REQUEST_FAILED)
}

/// The text of both codes. Microsoft does not document their difference.
const REQUEST_FAILED: &str = "Request to External OIDC endpoint failed.";

/// Shorter than the timeout of a token request, so that clients see the error code.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Far above the key set of a cluster, a few kilobytes; bounds the memory of a faulty issuer.
const MAX_BODY: usize = 256 * 1024;
