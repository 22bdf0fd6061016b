use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Diagnosis;
use super::finding::{Evidence, Finding, Severity};
use super::report::{self, Step};
use super::variables::Settings;
use crate::assertion::{AssertionRequest, ClientAssertion, ProjectedTokenFile, jwt};
use crate::authority::Cloud;
use crate::code::Code;
use crate::env::External;
use crate::escape::Escaped;

/// A usable service-account token, without its signature.
pub(super) struct ServiceAccountToken {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    pub(super) key_id: Option<String>,
}

pub(super) struct Outcome {
    pub(super) check: report::Outcome,
    pub(super) token: Option<ServiceAccountToken>,
}

impl Outcome {
    pub(super) fn skipped() -> Self {
        Self {
            check: report::Outcome::skipped(Step::TokenFile),
            token: None,
        }
    }
}

/// Reads the file as a credential does, and compares the claims with what Entra will want.
///
/// * `skew`: that of a clock that is wrong.
pub(super) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    path: &External,
    skew: Option<Duration>,
) -> Outcome {
    let clock = Arc::clone(&diagnosis.options.clock);
    let now = clock.now().system_time;
    let file = ProjectedTokenFile::with_clock(path.clone(), clock)
        .with_file_reader(diagnosis.environment.file_reader());
    let request = AssertionRequest::new("", &http::Uri::default(), "");
    let secret = match file.assertion(request).await {
        Ok(secret) => secret,
        Err(error) => {
            let mut finding = Finding::of_error(&error, Code::UNREADABLE_TOKEN_FILE);
            if matches!(finding.code, Code::EXPIRED_TOKEN | Code::EARLY_TOKEN) {
                finding = finding.predicting(700_024);
                finding.follows_from = skew.map(|_| Code::CLOCK_IS_WRONG);
            }
            let finding =
                finding.with_evidence("token file", path.to_string(), "a valid service-account token");
            return Outcome {
                check: report::Outcome::failed(Step::TokenFile, finding),
                token: None,
            };
        }
    };
    let jwt::Decoded { header, claims } = jwt::Decoded::read(secret.expose()).unwrap_or_default();
    let text = |object: &Map<String, Value>, name| {
        let value = object.get(name).and_then(Value::as_str).unwrap_or_default();
        Escaped(value).to_string()
    };
    let audience = match claims.get("aud") {
        Some(Value::Array(audiences)) => {
            let audiences: Vec<&str> = audiences.iter().filter_map(Value::as_str).collect();
            audiences.join(" ")
        }
        _ => text(&claims, "aud"),
    };
    let token = ServiceAccountToken {
        issuer: text(&claims, "iss"),
        subject: text(&claims, "sub"),
        audience: Escaped(audience).to_string(),
        key_id: Some(text(&header, "kid")).filter(|key_id| !key_id.is_empty()),
    };
    let time = |name| claims.get(name).and_then(Value::as_f64);
    let lifetime = time("exp").zip(time("iat")).map(|(end, start)| end - start);
    let left = time("exp").map(|end| {
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        (end - now.as_secs_f64()) / 60.0
    });
    let detail = format!(
        "{}{}",
        token.subject,
        left.map(|left| format!(", expires in {left:.0} min"))
            .unwrap_or_default()
    );
    let secret = secret.expose();
    let is_for_api_server = jwt::is_for_api_server(secret);
    let mut check = report::Outcome::passed(Step::TokenFile, detail)
        .and(audience_problem(settings, &token.audience, is_for_api_server))
        .and(lifetime_problem(lifetime));
    let evidence = check.findings.iter().find_map(|finding| finding.evidence.first());
    if let Some(Evidence {
        what,
        presented,
        wanted,
    }) = evidence
    {
        check.detail = Some(format!("{what} is {presented}, expected {wanted}"));
    }
    Outcome {
        check,
        // No credential sends a key to the cluster.
        token: Some(token).filter(|_| !is_for_api_server),
    }
}

/// Which audience is right, the federated credential decides alone: it must have the same one. So another one than
/// usual is a warning, which Entra's answer confirms or refutes.
fn audience_problem(settings: &Settings, audience: &str, is_for_api_server: bool) -> Option<Finding> {
    // The webhook has the first one in every cloud.
    let usual = if settings.has_token_proxy {
        [IDENTITY_BINDING_AUDIENCE; 2]
    } else {
        [
            Cloud::Public.token_exchange_audience(),
            settings.cloud.token_exchange_audience(),
        ]
    };
    let is_usual = audience.split(' ').any(|audience| usual.contains(&audience));
    let (code, severity, cause) = if is_for_api_server {
        (
            Code::TOKEN_OF_THE_API_SERVER,
            Severity::Error,
            "the token is for the API server of the cluster, not for Entra",
        )
    } else if is_usual {
        return None;
    } else if settings.has_token_proxy {
        (
            Code::WRONG_AUDIENCE,
            Severity::Error,
            "the token is not for the token proxy of an AKS identity binding",
        )
    } else if audience == IDENTITY_BINDING_AUDIENCE {
        (
            Code::TOKEN_FOR_IDENTITY_BINDING,
            Severity::Error,
            "the token is for an AKS identity binding, and this pod has no variables of the token proxy",
        )
    } else {
        (
            Code::WRONG_AUDIENCE,
            Severity::Warning,
            "the token has another audience than the webhook requests, which a federated credential must have, too",
        )
    };
    let finding = Finding::new(code, severity, cause).predicting(700_212);
    Some(finding.with_evidence("audience", audience, usual[0]))
}

fn lifetime_problem(lifetime: Option<f64>) -> Option<Finding> {
    let lifetime = lifetime.filter(|lifetime| *lifetime > LONGEST_LIFETIME)?;
    let finding = Finding::new(
        Code::TOKEN_LIVES_TOO_LONG,
        Severity::Error,
        "the token is valid for longer than Entra accepts",
    );
    let finding = finding.predicting(70_023);
    Some(finding.with_evidence("lifetime", format!("{lifetime:.0} s"), "at most 86400 s"))
}

/// Source: AKS, "Identity bindings concepts".
const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// A day and the hour that Entra tolerates: "lifetime must be <= 1.01:00:00".
const LONGEST_LIFETIME: f64 = 90_000.0;
