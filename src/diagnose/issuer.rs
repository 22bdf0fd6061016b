use http::StatusCode;
use serde_json::Value;
use url::{Host, Url};

use super::Diagnosis;
use super::finding::{Finding, Severity};
use super::report::{Outcome, Step};
use super::token_file::ServiceAccountToken;
use super::variables::Settings;
use crate::authority::is_loopback;
use crate::code::Code;
use crate::exchange::codes_of;

/// Reads the discovery document and the keys of the cluster, as Entra does to verify the token.
pub(super) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    token: &ServiceAccountToken,
) -> Outcome {
    let issuer = token.issuer.as_str();
    if !settings.is_emulated && is_private(issuer) {
        return private_address("issuer", issuer);
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
        let finding = Finding::new(
            Code::ISSUER_DIFFERS,
            Severity::Warning,
            "the discovery document of the issuer names another issuer",
        );
        let finding = unreachable_keys().fold(finding, Finding::predicting);
        let finding = finding.with_evidence("issuer", text("issuer"), issuer);
        return Outcome::failed(Step::Issuer, finding);
    }
    let jwks_uri = text("jwks_uri");
    if !settings.is_emulated && is_private(jwks_uri) {
        return private_address("keys", jwks_uri);
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
            let finding = Finding::new(
                Code::UNPUBLISHED_KEY,
                Severity::Warning,
                "the token is signed with a key that the issuer does not publish",
            )
            .predicting(700_027)
            .predicting(7_000_272);
            let finding = finding.with_evidence("kid", key_id.as_str(), keys.join(" "));
            Outcome::failed(Step::Issuer, finding)
        }
        _ => Outcome::passed(Step::Issuer, format!("{issuer} publishes the key of the token")),
    }
}

/// A pod that does not reach the issuer proves nothing.
fn unreadable(finding: Finding) -> Outcome {
    if finding.severity > Severity::Info {
        return Outcome::failed(Step::Issuer, finding);
    }
    let reason = "not reachable from this pod (Entra reads it, not the pod)";
    Outcome::skipped_because(Step::Issuer, reason).and(Some(finding))
}

async fn read(diagnosis: &Diagnosis<'_>, url: &str) -> Result<Value, Finding> {
    let unreachable = |severity, cause: String| Finding::new(Code::ISSUER_UNREACHABLE, severity, cause);
    // Entra must reach the issuer; this pod need not.
    let response = diagnosis.get(url).await.map_err(|error| {
        let cause = format!("{url} cannot be read from here: {error}");
        unreachable(Severity::Info, cause)
    })?;
    let status = response.status();
    let document = serde_json::from_slice(response.body()).ok();
    document.filter(|_| status == StatusCode::OK).ok_or_else(|| {
        let cause = format!(
            "{url} returns status {} and not the document that Entra needs",
            status.as_u16()
        );
        unreachable_keys().fold(unreachable(Severity::Warning, cause), Finding::predicting)
    })
}

/// * `what`: `issuer`, or `keys` for the address that its discovery document names.
fn private_address(what: &'static str, address: &str) -> Outcome {
    let cause = match what {
        "issuer" => "the issuer of the token is not a public https address, so Entra cannot read its keys",
        _ => "the keys of the issuer have no public https address, so Entra cannot read them",
    };
    let finding = Finding::new(Code::PRIVATE_ISSUER, Severity::Warning, cause);
    let finding = unreachable_keys().fold(finding, Finding::predicting);
    let finding = finding.with_evidence(what, address, "https://…, reachable from the internet");
    Outcome::failed(Step::Issuer, finding)
}

/// Whether Entra cannot reach the issuer, whatever the network: another scheme, a name of the cluster, or a
/// private address.
fn is_private(issuer: &str) -> bool {
    let Ok(url) = Url::parse(issuer) else {
        return true;
    };
    // A cluster on this machine is for tests, and so is the Entra that knows it.
    if is_loopback(&url) {
        return false;
    }
    let is_private_host = match url.host() {
        Some(Host::Domain(name)) => {
            !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        }
        Some(Host::Ipv4(address)) => address.is_private() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_unique_local(),
        None => true,
    };
    url.scheme() != "https" || is_private_host
}

const PRIVATE_SUFFIXES: [&str; 5] = [".svc", ".local", ".internal", ".svc.cluster.local", ".localhost"];

/// What Entra says when it cannot read the keys.
fn unreachable_keys() -> impl Iterator<Item = u32> {
    codes_of(Code::ISSUER_KEYS_UNREACHABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_that_entra_cannot_reach_are_private() {
        for issuer in [
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "kubernetes/serviceaccount",
            "http://issuer.example.com",
            "https://10.0.0.1:6443",
        ] {
            assert!(is_private(issuer), "{issuer}");
        }
        for issuer in [
            "https://westeurope.oic.prod-aks.azure.com/00000000-0000-0000-0000-000000000000/",
            "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF",
            "https://20.0.0.1/issuer",
            "https://127.0.0.1:8443",
        ] {
            assert!(!is_private(issuer), "{issuer}");
        }
    }
}
