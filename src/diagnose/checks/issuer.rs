use std::net::{Ipv4Addr, Ipv6Addr};

use http::StatusCode;
use serde_json::Value;
use url::{Host, Url};

use super::Diagnosis;
use super::token_file::ServiceAccountToken;
use super::variables::Settings;
use crate::authority::is_loopback;
use crate::code::Code;
use crate::diagnose::finding::{Defect, Finding, Property, Severity};
use crate::diagnose::report::{Observation, Outcome, SkipReason, Step};

/// Reads the discovery document and the keys of the cluster, as Entra does to verify the token.
pub(in crate::diagnose) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    token: &ServiceAccountToken,
) -> Outcome {
    let issuer = token.issuer.as_str();
    // A cluster on this machine is for tests, and so is the Entra that knows it. In variables of others, it may lead the
    // doctor to the services of its own machine.
    let is_local = Url::parse(issuer).is_ok_and(|issuer| is_loopback(&issuer));
    let is_test = settings.is_emulated || is_local && !diagnosis.options.known_clouds_only;
    if !is_test && is_private(issuer) {
        return private_address(Property::Issuer, issuer);
    }
    let url = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let document = match read(diagnosis, &url).await {
        Ok(document) => document,
        Err(finding) => return unreadable(finding),
    };
    let text = |name| document.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("issuer") != issuer {
        let finding = Finding::new(Code::ISSUER_DIFFERS, Severity::Warning)
            .predicting(Code::ISSUER_KEYS_UNREACHABLE)
            .comparing(Property::Issuer, text("issuer"), Some(issuer));
        return Outcome::failed(Step::Issuer, finding);
    }
    let jwks_uri = text("jwks_uri");
    if !is_test && is_private(jwks_uri) {
        return private_address(Property::KeysUrl, jwks_uri);
    }
    let keys = match read(diagnosis, jwks_uri).await {
        Ok(keys) => keys,
        Err(finding) => return unreadable(finding),
    };
    let keys = keys.get("keys").and_then(Value::as_array);
    let keys: Vec<&str> = keys
        .into_iter()
        .flatten()
        .filter_map(|key| key.get("kid")?.as_str())
        .collect();
    match &token.key_id {
        Some(key_id) if !keys.contains(&key_id.as_str()) => {
            let finding = Finding::new(Code::UNPUBLISHED_KEY, Severity::Warning)
                .predicting(Code::SIGNATURE_MISMATCH)
                .predicting(Code::ISSUER_KEYS_UNREACHABLE)
                .comparing(Property::KeyId, key_id.as_str(), Some(&keys.join(" ")));
            Outcome::failed(Step::Issuer, finding)
        }
        _ => {
            let issuer = issuer.to_owned();
            Outcome::passed(Step::Issuer, Observation::PublishedKey { issuer })
        }
    }
}

/// A pod that does not reach the issuer proves nothing.
fn unreadable(finding: Finding) -> Outcome {
    if finding.severity > Severity::Info {
        return Outcome::failed(Step::Issuer, finding);
    }
    Outcome::skipped_because(Step::Issuer, SkipReason::NotReachableFromPod).and(Some(finding))
}

async fn read(diagnosis: &Diagnosis<'_>, url: &str) -> Result<Value, Finding> {
    let unreachable = |severity| Finding::new(Code::ISSUER_UNREACHABLE, severity).with_url(url);
    // Entra must reach the issuer; this pod need not.
    let response = diagnosis.get(url).await.map_err(|error| Finding {
        error: Some(error),
        ..unreachable(Severity::Info)
    })?;
    let status = response.status();
    let document = serde_json::from_slice(response.body()).ok();
    document.filter(|_| status == StatusCode::OK).ok_or_else(|| {
        unreachable(Severity::Warning)
            .with_status(status)
            .with_defect(Defect::NoDiscoveryDocument)
            .predicting(Code::ISSUER_KEYS_UNREACHABLE)
    })
}

/// * `property`: the issuer, or the address of the keys that its discovery document names.
fn private_address(property: Property, address: &str) -> Outcome {
    let finding = Finding::new(Code::PRIVATE_ISSUER, Severity::Warning)
        .predicting(Code::ISSUER_KEYS_UNREACHABLE)
        .comparing(property, address, None);
    Outcome::failed(Step::Issuer, finding)
}

/// Whether Entra cannot reach the issuer, whatever the network: another scheme, a name of the cluster, or a
/// private address.
fn is_private(issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else {
        return true;
    };
    let is_private_host = match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        }
        Some(Host::Ipv4(address)) => is_private_v4(address),
        Some(Host::Ipv6(address)) => {
            let is_private_v6 =
                address.is_unique_local() || address.is_unicast_link_local() || address.is_loopback();
            let translated = address.to_ipv4_mapped().or(translated_v4(address));
            is_private_v6 || address.is_unspecified() || translated.is_some_and(is_private_v4)
        }
        None => true,
    };
    url.scheme() != "https" || is_private_host
}

/// Returns the address that NAT64 translates this one to, by the prefix `64:ff9b::/96` (RFC 6052).
fn translated_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
    let is_own = address.is_loopback() || address.is_unspecified();
    address.is_private() || address.is_link_local() || is_shared || is_own
}

const PRIVATE_SUFFIXES: [&str; 5] = [".svc", ".local", ".internal", ".svc.cluster.local", ".localhost"];

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::authority::Cloud;
    use crate::diagnose::DiagnoseOptions;
    use crate::env::Environment;
    use crate::error::Error;
    use crate::transport::Transport;

    /// Answers with a discovery document, and keeps the URLs of the requests.
    #[derive(Debug)]
    struct Discovery {
        document: String,
        requested: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Transport for Discovery {
        async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
            self.requested.lock().unwrap().push(request.uri().to_string());
            Ok(http::Response::new(self.document.clone().into()))
        }
    }

    /// Returns the code of the finding, and the URLs that were read.
    async fn check_issuer(
        issuer: &str,
        jwks_uri: &str,
        options: &DiagnoseOptions,
    ) -> (Option<Code>, Vec<String>) {
        let discovery = Arc::new(Discovery {
            document: serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string(),
            requested: Mutex::default(),
        });
        let diagnosis = Diagnosis {
            environment: &Environment::default(),
            options,
            transport: discovery.clone(),
        };
        let settings = Settings {
            cloud: Cloud::Public,
            login_host: None,
            is_emulated: false,
            has_token_proxy: false,
            token_file: None,
            client_id: None,
        };
        let token = ServiceAccountToken {
            issuer: issuer.to_owned(),
            subject: String::new(),
            audience: String::new(),
            key_id: None,
        };
        let outcome = check(&diagnosis, &settings, &token).await;
        let requested = discovery.requested.lock().unwrap().clone();
        (outcome.findings().first().map(|finding| finding.code), requested)
    }

    #[tokio::test]
    async fn keys_at_a_private_address_are_reported_and_not_read() {
        let (issuer, options) = ("https://issuer.example.com", DiagnoseOptions::new());
        let document = format!("{issuer}/.well-known/openid-configuration");
        for jwks_uri in ["https://10.0.0.1/keys", "http://127.0.0.1:8001/keys", ""] {
            let checked = check_issuer(issuer, jwks_uri, &options).await;
            assert_eq!(
                checked,
                (Some(Code::PRIVATE_ISSUER), vec![document.clone()]),
                "{jwks_uri}"
            );
        }
        let keys = "https://keys.example.com/";
        let checked = check_issuer(issuer, keys, &options).await;
        assert_eq!(checked, (None, vec![document, keys.to_owned()]));
    }

    #[tokio::test]
    async fn issuer_on_this_machine_is_read_only_if_the_variables_are_the_own() {
        let (issuer, options) = ("http://127.0.0.1:8001", DiagnoseOptions::new());
        let (code, requested) = check_issuer(issuer, issuer, &options).await;
        assert_eq!((code, requested.len()), (None, 2));
        let of_others = options.known_clouds_only(true);
        let checked = check_issuer(issuer, issuer, &of_others).await;
        assert_eq!(checked, (Some(Code::PRIVATE_ISSUER), vec![]));
    }

    #[test]
    fn issuers_that_entra_cannot_reach_are_private() {
        for issuer in [
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "kubernetes/serviceaccount",
            "http://issuer.example.com",
            "https://10.0.0.1:6443",
            "https://kubernetes.default.svc.",
            "https://127.0.0.1:8443",
            "https://localhost:8443",
            "https://0.0.0.0",
            "https://100.64.0.1",
            "https://169.254.169.254",
            "https://[::1]",
            "https://[::ffff:10.0.0.1]",
            "https://[64:ff9b::10.0.0.1]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://[fe80::1]",
            "https://[fd00::1]",
        ] {
            assert!(is_private(issuer), "{issuer}");
        }
        for issuer in [
            "https://westeurope.oic.prod-aks.azure.com/00000000-0000-0000-0000-000000000000/",
            "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF",
            "https://20.0.0.1/issuer",
            "https://100.128.0.1",
            "https://[2603:1030::1]",
            "https://[64:ff9b::20.0.0.1]",
        ] {
            assert!(!is_private(issuer), "{issuer}");
        }
    }
}
