use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Diagnosis;
use super::variables::Settings;
use crate::assertion::{AssertionRequest, ClientAssertion, ProjectedTokenFile, jwt};
use crate::authority::Cloud;
use crate::blocking::Shared;
use crate::bounded_file::FileReader;
use crate::code::Code;
use crate::diagnose::finding::{Finding, Property, Severity, escaped};
use crate::diagnose::report::{self, Observation, Pod, Step};
use crate::env::External;

/// A usable service-account token, without its signature.
pub(in crate::diagnose) struct ServiceAccountToken {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    pub(super) key_id: Option<String>,
}

pub(in crate::diagnose) struct Outcome {
    pub(in crate::diagnose) check: report::Outcome,
    pub(in crate::diagnose) token: Option<ServiceAccountToken>,
}

impl Outcome {
    pub(in crate::diagnose) fn skipped() -> Self {
        Self {
            check: report::Outcome::skipped(Step::TokenFile),
            token: None,
        }
    }
}

/// Reads the file as a credential does, and compares the claims with what Entra will want.
///
/// * `clock_is_wrong`: whether the clock explains that the token is not valid now.
pub(in crate::diagnose) async fn check(
    diagnosis: &Diagnosis<'_>,
    settings: &Settings,
    path: &External,
    clock_is_wrong: bool,
) -> Outcome {
    let clock = Arc::clone(&diagnosis.options.clock);
    let now = clock.now().system_time;
    let file = ProjectedTokenFile::with_clock(path.clone(), clock)
        .with_file_reader(diagnosis.environment.file_reader());
    let request = AssertionRequest::new("", &http::Uri::default(), "");
    let secret = match file.assertion(request).await {
        Ok(secret) => secret,
        Err(error) => {
            let mut finding = Finding::of_error(&error, Code::UNREADABLE_TOKEN_FILE).with_file(path);
            if matches!(finding.code, Code::EXPIRED_TOKEN | Code::EARLY_TOKEN) {
                finding = finding.predicting(Code::ASSERTION_OUTSIDE_VALIDITY);
                finding.follows_from = clock_is_wrong.then_some(Code::CLOCK_IS_WRONG);
            }
            return Outcome {
                check: report::Outcome::failed(Step::TokenFile, finding),
                token: None,
            };
        }
    };
    let jwt::Decoded { header, claims } = jwt::Decoded::read(secret.expose()).unwrap_or_default();
    let text = |object: &Map<String, Value>, name| {
        let value = object.get(name).and_then(Value::as_str).unwrap_or_default();
        escaped(value)
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
        audience: escaped(audience),
        key_id: Some(text(&header, "kid")).filter(|key_id| !key_id.is_empty()),
    };
    let time = |name| claims.get(name).and_then(Value::as_f64);
    let lifetime = time("exp").zip(time("iat")).map(|(end, start)| end - start);
    let expires_in_minutes = time("exp").map(|end| {
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
        let minutes = ((end - now.as_secs_f64()) / 60.0).round() as i64;
        minutes
    });
    let observation = Observation::ServiceAccountToken {
        subject: token.subject.clone(),
        expires_in_minutes,
    };
    let is_for_api_server = jwt::is_for_api_server(secret.expose());
    let check = report::Outcome::passed(Step::TokenFile, observation)
        .and(audience_problem(settings, &token.audience, is_for_api_server))
        .and(lifetime_problem(lifetime))
        .compared();
    Outcome {
        check,
        // No credential sends a key to the cluster.
        token: Some(token).filter(|_| !is_for_api_server),
    }
}

/// Returns the names of the pod: those of the first file that holds a service-account token.
pub(in crate::diagnose) async fn pod(diagnosis: &Diagnosis<'_>, settings: &Settings) -> Pod {
    let token_file = settings.token_file.iter().map(|file| file.as_path().to_owned());
    let files: Vec<PathBuf> = token_file
        .chain([diagnosis.options.api_token_file.clone()])
        .collect();
    let file_reader = diagnosis.environment.file_reader();
    let reading = Shared::default();
    let claims = reading.read(move || files.iter().find_map(|file| claims(file, &file_reader)));
    let claims = claims.await.ok().flatten();
    let client_id = settings.client_id.as_ref();
    Pod {
        client_id: client_id
            .filter(|id| id.is_well_formed())
            .map(ToString::to_string),
        ..claims.map(|claims| named(&claims)).unwrap_or_default()
    }
}

fn claims(file: &Path, file_reader: &FileReader) -> Option<Map<String, Value>> {
    let bytes = file_reader.read(file, MAX_FILE).ok()?;
    let jwt = std::str::from_utf8(&bytes).ok()?.trim();
    Some(jwt::Decoded::read(jwt).ok()?.claims)
}

fn named(claims: &Map<String, Value>) -> Pod {
    let name = claims
        .get("kubernetes.io")
        .and_then(|value| value.get("pod")?.get("name")?.as_str());
    // system:serviceaccount:NAMESPACE:NAME
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
    let subject = subject.strip_prefix("system:serviceaccount:").unwrap_or_default();
    let (namespace, service_account) = subject.split_once(':').unwrap_or_default();
    let checked = |name: &str| is_name(name).then(|| name.to_owned());
    Pod {
        namespace: checked(namespace),
        service_account: checked(service_account),
        name: name.and_then(checked),
        client_id: None,
    }
}

/// Whether the text can be the name of an object.
fn is_name(text: &str) -> bool {
    let fits = (1..=253).contains(&text.len());
    fits && text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
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
    let (code, severity) = if is_for_api_server {
        (Code::TOKEN_OF_THE_API_SERVER, Severity::Error)
    } else if is_usual {
        return None;
    } else if settings.has_token_proxy {
        (Code::WRONG_AUDIENCE, Severity::Error)
    } else if audience == IDENTITY_BINDING_AUDIENCE {
        (Code::TOKEN_FOR_IDENTITY_BINDING, Severity::Error)
    } else {
        (Code::WRONG_AUDIENCE, Severity::Warning)
    };
    let finding = Finding::new(code, severity).predicting(Code::AUDIENCE_MISMATCH);
    Some(finding.comparing(Property::Audience, audience, Some(usual[0])))
}

fn lifetime_problem(lifetime: Option<f64>) -> Option<Finding> {
    let lifetime = lifetime.filter(|lifetime| *lifetime > LONGEST_LIFETIME)?;
    let finding = Finding::new(Code::TOKEN_LIVES_TOO_LONG, Severity::Error);
    let finding = finding.predicting(Code::ASSERTION_LIVES_TOO_LONG);
    Some(finding.comparing(Property::Lifetime, format!("{lifetime:.0}"), Some("86400")))
}

/// Source: AKS, "Identity bindings concepts".
const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// A day and the hour that Entra tolerates: "lifetime must be <= 1.01:00:00".
const LONGEST_LIFETIME: f64 = 90_000.0;

/// More than any service-account token has.
const MAX_FILE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_read_are_unknown() {
        let claims = serde_json::json!({
            "sub": "system:serviceaccount:$(reboot):a;b",
            "kubernetes.io": {"pod": {"name": "'"}},
        });
        assert_eq!(named(claims.as_object().unwrap()), Pod::default());
        let claims = serde_json::json!({
            "sub": "system:serviceaccount:shop:orders",
            "kubernetes.io": {"pod": {"name": "orders-0"}},
        });
        let pod = named(claims.as_object().unwrap());
        let names = [pod.namespace, pod.service_account, pod.name].map(Option::unwrap);
        assert_eq!(names, ["shop", "orders", "orders-0"]);
    }
}
