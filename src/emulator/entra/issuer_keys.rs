use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;

use super::refusal::Refusal;
use crate::emulator::jwt::{PublicKey, parse_key_set};
use crate::{HttpTransport, Transport as _};

/// The keys of the issuers that federated credentials name, fetched by OIDC discovery and kept.
pub(in crate::emulator) struct IssuerKeys {
    transport: HttpTransport,
    given: HashMap<String, Vec<PublicKey>>,
    fetched: Mutex<HashMap<String, Vec<PublicKey>>>,
}

impl IssuerKeys {
    /// * `given`: keys of issuers that are never asked.
    pub(in crate::emulator) fn new(transport: HttpTransport, given: HashMap<String, Vec<PublicKey>>) -> Self {
        Self {
            transport,
            given,
            fetched: Mutex::default(),
        }
    }

    /// The issuer's key of this id; it is asked again if no known key has it.
    pub(super) async fn find(&self, issuer: &str, kid: &str) -> Result<Option<PublicKey>, Refusal> {
        let with_id = |keys: &Vec<PublicKey>| keys.iter().find(|key| key.kid == kid).cloned();
        if let Some(keys) = self.given.get(issuer) {
            return Ok(with_id(keys));
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

    async fn fetch(&self, issuer: &str) -> Result<Vec<PublicKey>, Refusal> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document: Discovery = serde_json::from_slice(&self.get(&url).await?).map_err(|_| useless())?;
        if document.issuer != issuer || !document.jwks_uri.starts_with("https://") {
            return Err(useless());
        }
        parse_key_set(&self.get(&document.jwks_uri).await?).ok_or_else(useless)
    }

    async fn get(&self, url: &str) -> Result<Bytes, Refusal> {
        let request = Request::get(url).body(Bytes::new()).map_err(|_| useless())?;
        let response = tokio::time::timeout(TIMEOUT, self.transport.send(request)).await;
        let response = response.map_err(|_| silent())?.map_err(|_| silent())?;
        if response.status() != StatusCode::OK {
            return Err(useless());
        }
        Ok(response.into_body())
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

fn silent() -> Refusal {
    Refusal::new(90_061, REQUEST_FAILED)
}

fn useless() -> Refusal {
    Refusal::new(50_166, REQUEST_FAILED)
}

/// The text of both codes; Microsoft does not document what tells them apart.
const REQUEST_FAILED: &str = "Request to External OIDC endpoint failed.";

/// Less than a client's patience with a token request, so that it sees the code and not a time-out.
const TIMEOUT: Duration = Duration::from_secs(5);
