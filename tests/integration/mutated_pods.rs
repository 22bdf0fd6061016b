//! Pods that nobody would think of: the diagnosis neither panics nor shows a part of a token.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_workload::diagnose::{DiagnoseOptions, diagnose};
use entra_workload::transport::Transport;
use entra_workload::{Environment, Error};

use crate::support::identifiers::NO_METADATA_SERVICE;
use crate::support::pod::service_account_token;

#[tokio::test(start_paused = true)]
async fn ten_thousand_mutated_pods_cause_no_panic_and_show_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = service_account_token("planted-signature", Duration::from_secs(3600));
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let login_host = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut causes = std::collections::BTreeSet::new();
    for _ in 0..10_000 {
        fs::write(&file, random.mutate(token.as_bytes())).unwrap();
        let mut environment = vec![
            ("AZURE_AUTHORITY_HOST", login_host.clone().into_bytes()),
            (
                "AZURE_CLIENT_ID",
                b"7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10".to_vec(),
            ),
            (
                "AZURE_TENANT_ID",
                b"33e01921-4d64-4f8c-a055-5bdaffd5e33d".to_vec(),
            ),
            ("AZURE_CLIENT_SECRET", b"planted-secret".to_vec()),
        ];
        let which = random.below(environment.len());
        // The authority host stays: a mutated one would be looked up for real.
        if which > 0 {
            environment[which].1 = random.mutate(&environment[which].1.clone());
        }
        let mut environment: Vec<(String, String)> = environment
            .into_iter()
            .map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(&value).into_owned()))
            .collect();
        environment.push((
            "AZURE_FEDERATED_TOKEN_FILE".to_owned(),
            file.display().to_string(),
        ));
        environment.remove(random.below(environment.len() * 4).min(environment.len() - 1));
        let (name, value) = NO_METADATA_SERVICE;
        environment.push((name.to_owned(), value.to_owned()));
        let responses = Responses(Mutex::new(Random(random.next())));
        let options = DiagnoseOptions::new()
            .transport(responses)
            .timeout(Duration::from_secs(1));
        let report = diagnose(&environment.into_iter().collect::<Environment>(), &options).await;
        let shown = format!("{report:?}{}", serde_json::to_string(&report.findings).unwrap());
        for secret in [signature.as_str(), "planted-signature", "planted-secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        causes.extend(report.cause().map(|finding| finding.code.to_string()));
    }
    // The mutations reach different checks.
    assert!(causes.len() > 1, "{causes:?}");
}

/// Answers each request with a mutated document of Entra or of an issuer.
#[derive(Debug)]
struct Responses(Mutex<Random>);

#[async_trait]
impl Transport for Responses {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let mut random = self.0.lock().unwrap();
        let document = match request.uri().path() {
            path if path.ends_with("/token") => DOCUMENTS[random.below(2)],
            path if path.ends_with("/openid-configuration") => DOCUMENTS[2],
            _ => DOCUMENTS[3],
        };
        let status = [200, 200, 200, 400, 401, 429, 500, 302][random.below(8)];
        Ok(http::Response::builder()
            .status(status)
            .header("date", ["", "Wed, 25 Nov 2026 12:00:00 GMT"][random.below(2)])
            .body(random.mutate(document.as_bytes()).into())
            .unwrap())
    }
}

const DOCUMENTS: [&str; 4] = [
    r#"{"token_type":"Bearer","expires_in":3599,"access_token":"eyJhbGciOiJSUzI1NiJ9.e30.planted-signature"}"#,
    r#"{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:shop:orders'.","error_codes":[700213]}"#,
    r#"{"issuer":"https://127.0.0.1:1/","jwks_uri":"https://127.0.0.1:1/keys"}"#,
    r#"{"keys":[{"kty":"RSA","kid":"1","use":"sig","alg":"RS256","n":"AQAB","e":"AQAB"}]}"#,
];

/// Xorshift: the same inputs in each run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Changes nothing, or a few places.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, b"\"'{}[].=-_\n\0\xc3\xff"[self.below(14)]),
                2 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                _ => {
                    let part = bytes[at..(at + 40).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    }
}
