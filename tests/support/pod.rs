//! A pod with workload identity: its token file and its environment.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_workload::Environment;
use entra_workload::clock::{Clock as _, SystemClock};

use super::identifiers::{CLIENT_ID, TENANT_ID};

/// A directory with the token file of a pod.
pub struct PodDirectory {
    directory: tempfile::TempDir,
}

impl PodDirectory {
    pub fn new() -> Self {
        let pod = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        pod.project(service_account_token("first", Duration::from_secs(3600)));
        pod
    }

    pub fn token_file(&self) -> PathBuf {
        self.directory.path().join("azure-identity-token")
    }

    /// Replaces the token file atomically, as the kubelet does.
    pub fn project(&self, content: impl AsRef<[u8]>) {
        let next = self.directory.path().join("..next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(&next, self.token_file()).unwrap();
    }

    pub fn environment(&self) -> Environment {
        environment(&self.token_file())
    }
}

/// Returns the environment that the webhook injects into a pod.
pub fn environment(token_file: &Path) -> Environment {
    Environment::from_iter([
        ("AZURE_CLIENT_ID".to_owned(), CLIENT_ID.into()),
        ("AZURE_TENANT_ID".to_owned(), TENANT_ID.into()),
        (
            "AZURE_AUTHORITY_HOST".to_owned(),
            "https://login.microsoftonline.com/".into(),
        ),
        (
            "AZURE_FEDERATED_TOKEN_FILE".to_owned(),
            token_file.as_os_str().to_owned(),
        ),
    ])
}

/// Returns a service-account token as the API server issues it, with a fake signature. It is valid
/// from now on for `lifetime`.
pub fn service_account_token(id: &str, lifetime: Duration) -> String {
    let now = SystemClock::new()
        .now()
        .system_time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let header = part(r#"{"alg":"RS256","kid":"key"}"#);
    let claims = part(&format!(
        r#"{{"aud":["api://AzureADTokenExchange"],"exp":{},"iat":{now},"iss":"https://issuer/","jti":"{id}","nbf":{now},"sub":"system:serviceaccount:ns:app"}}"#,
        now + lifetime.as_secs()
    ));
    format!("{header}.{claims}.{}", part("planted-signature"))
}
