use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::Clock;
use super::jwt::{PublicKey, SigningKey};

/// A running job of a CI system: its environment variables, and an application with a federated
/// credential for it.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use entra_workload_emulator::Emulator;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let emulator = Emulator::start().await?;
/// let job = emulator.github_job("contoso/orders", "repo:contoso/orders:ref:refs/heads/main")?;
/// let mut program = Command::new("./my-program");
/// program.envs(job.variables().iter().cloned()).env("SSL_CERT_FILE", emulator.ca_certificate_file());
/// job.finish(); // the variables no longer give tokens
/// # Ok(()) }
/// ```
pub struct CiJob {
    pub(super) client_id: String,
    pub(super) tenant_id: String,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) request_token: String,
    pub(super) jobs: Arc<Jobs>,
}

impl CiJob {
    /// The client ID of the application, a GUID in lower case.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The tenant ID, a GUID in lower case.
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// The names and values of the environment variables of the job, which are those that the CI system
    /// sets, and `AZURE_AUTHORITY_HOST`. One of them authorizes requests for tokens.
    pub fn variables(&self) -> &[(&'static str, String)] {
        &self.variables
    }

    /// Ends the job: its request token becomes invalid.
    pub fn finish(&self) {
        self.jobs.running().remove(&self.request_token);
    }
}

impl std::fmt::Debug for CiJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CiJob")
            .field("client_id", &self.client_id)
            .field("tenant_id", &self.tenant_id)
            .finish_non_exhaustive()
    }
}

/// The running jobs of a CI system, by their request token, and the key that signs their tokens.
pub(super) struct Jobs {
    issuer: String,
    clock: Clock,
    key: Mutex<Option<Arc<SigningKey>>>,
    running: Mutex<HashMap<String, RunningJob>>,
}

/// What the tokens of a job say.
#[derive(Clone)]
pub(super) struct RunningJob {
    pub(super) path: String,
    pub(super) subject: String,
    pub(super) owner: String,
    /// Of Azure Pipelines.
    pub(super) service_connection_id: String,
}

impl Jobs {
    pub(super) fn new(issuer: impl Into<String>, clock: Clock) -> Self {
        Self {
            issuer: issuer.into(),
            clock,
            key: Mutex::default(),
            running: Mutex::default(),
        }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Starts a job and returns its request token.
    pub(super) fn start(&self, job: RunningJob) -> String {
        // Of the length of a real one, which is a JWT of the CI system.
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(300).collect();
        self.running().insert(token.clone(), job);
        token
    }

    /// Returns the job of an `Authorization` header, whose scheme is case-insensitive.
    pub(super) fn authorized<B>(&self, request: &http::Request<B>) -> Option<RunningJob> {
        let header = request
            .headers()
            .get(http::header::AUTHORIZATION)?
            .to_str()
            .ok()?;
        let (scheme, token) = header.split_once(' ')?;
        let job = self.running().get(token).cloned();
        job.filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }

    /// The key that verifies the tokens. Generated at the first call.
    pub(super) fn public_key(&self) -> io::Result<PublicKey> {
        Ok(self.key()?.public().clone())
    }

    /// Signs a token with these claims besides the usual ones.
    pub(super) fn sign(&self, subject: &str, audience: &str, more: &[(&str, &str)]) -> io::Result<String> {
        let key = self.key()?;
        let now = super::time::unix_seconds(self.clock.now());
        let mut claims = json!({
            "iss": self.issuer,
            "sub": subject,
            // A string, where Kubernetes has a list.
            "aud": audience,
            "jti": Uuid::new_v4().to_string(),
            "iat": now,
            "nbf": now.saturating_sub(CLOCK_SKEW),
            "exp": now + LIFETIME,
        });
        if let Value::Object(claims) = &mut claims {
            claims.extend(
                more.iter()
                    .map(|(name, value)| ((*name).to_owned(), json!(value))),
            );
        }
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": key.public().kid });
        Ok(key.sign(&header, &claims))
    }

    fn key(&self) -> io::Result<Arc<SigningKey>> {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*key {
            return Ok(Arc::clone(key));
        }
        let new = Arc::new(SigningKey::generate()?);
        Ok(Arc::clone(key.insert(new)))
    }

    pub(super) fn running(&self) -> MutexGuard<'_, HashMap<String, RunningJob>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lifetime of a token, in seconds. Source: tokens in public logs of GitHub Actions.
const LIFETIME: u64 = 300;

/// How long before its issue a token is valid, in seconds. Source: as above.
const CLOCK_SKEW: u64 = 300;
