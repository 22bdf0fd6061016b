use url::Url;

use super::Diagnosis;
use crate::authority::{Authority, Cloud, TenantId};
use crate::chain::DefaultAzureLink;
use crate::code::{Code, Owner};
use crate::credential::WorkloadIdentityCredential;
use crate::diagnose::finding::{Defect, Finding, Property, Severity, escaped};
use crate::diagnose::report::{Observation, Outcome, Step};
use crate::env::{AZURE_CLIENT_SECRET, AZURE_TOKEN_CREDENTIALS, Environment, External};
use crate::error::Error;
use crate::exchange::Exchange;

/// What the variables say, as far as they are valid.
pub(in crate::diagnose) struct Settings {
    pub(in crate::diagnose) cloud: Cloud,
    /// `None` without a valid authority host, and with a token proxy, which takes its place.
    pub(in crate::diagnose) login_host: Option<LoginHost>,
    /// Whether the login host is on this machine, as an emulator is.
    pub(in crate::diagnose) is_emulated: bool,
    pub(in crate::diagnose) has_token_proxy: bool,
    pub(in crate::diagnose) token_file: Option<External>,
    pub(in crate::diagnose) client_id: Option<External>,
}

pub(in crate::diagnose) struct LoginHost {
    pub(in crate::diagnose) authority: Authority,
    pub(in crate::diagnose) tenant_id: TenantId,
}

pub(in crate::diagnose) struct Variables {
    pub(in crate::diagnose) check: Outcome,
    pub(in crate::diagnose) settings: Settings,
}

pub(in crate::diagnose) fn check(diagnosis: &Diagnosis<'_>) -> Variables {
    let environment = diagnosis.environment;
    let variables = environment.workload_identity().ok();
    let token_proxy = environment.token_proxy().ok().and_then(|variables| variables.url);
    let has_token_proxy = token_proxy.is_some();
    let host = environment.authority_host().ok().flatten();
    let default = Cloud::Public.authority_host();
    let authority = Authority::parse(host.as_ref().map_or(default, External::expose)).ok();
    let cloud = authority.as_ref().and_then(Authority::cloud);
    let unknown_host = unknown_host(
        diagnosis,
        authority.as_ref(),
        token_proxy.as_ref().map(External::expose),
    );
    let is_refused = (unknown_host.as_ref()).is_some_and(|finding| finding.severity == Severity::Error);
    let tenant_id = variables
        .as_ref()
        .and_then(|variables| variables.tenant_id.as_ref());
    let tenant_id = tenant_id.and_then(|tenant_id| TenantId::parse(tenant_id.expose()).ok());
    let settings = Settings {
        cloud: cloud.unwrap_or_default(),
        // Variables of others may lead to the services of this machine.
        is_emulated: !is_refused && authority.as_ref().is_some_and(Authority::is_loopback),
        has_token_proxy,
        client_id: variables
            .as_ref()
            .and_then(|variables| variables.client_id.clone()),
        token_file: variables.and_then(|variables| variables.token_file),
        login_host: authority
            .zip(tenant_id)
            .filter(|(authority, tenant_id)| authority.check_path(tenant_id).is_ok())
            .filter(|_| !has_token_proxy && !is_refused)
            .map(|(authority, tenant_id)| LoginHost { authority, tenant_id }),
    };
    let check = match exchange(environment) {
        Ok(exchange) => Outcome::passed(
            Step::Variables,
            Observation::Client {
                client_id: escaped(&exchange.client_id),
                tenant_id: escaped(exchange.tenant_id.as_str()),
                host: escaped(exchange.responder()),
            },
        ),
        Err((error, others)) => others.iter().fold(
            Outcome::failed(Step::Variables, of_error(&error)),
            |outcome, error| outcome.and(Some(of_error(error))),
        ),
    };
    Variables {
        check: check
            .and(unknown_host)
            .and(other_credential(diagnosis))
            .and(selection(diagnosis))
            .and(proxy(diagnosis)),
        settings,
    }
}

/// Builds what requests the tokens. An invalid variable does not hide that another one is invalid, too: they are all
/// returned.
fn exchange(environment: &Environment) -> Result<Exchange, (Error, Vec<Error>)> {
    let mut errors = Vec::new();
    // In place of the variables that are known to be invalid.
    let [mut client_id, mut tenant_id, mut authority_host] = [""; 3];
    loop {
        let builder = WorkloadIdentityCredential::builder()
            .environment(environment.clone())
            .client_id(client_id)
            .tenant_id(tenant_id)
            .authority_host(authority_host);
        let error = match builder.exchange() {
            Err(error) => error,
            Ok(exchange) if errors.is_empty() => return Ok(exchange),
            Ok(_) => break,
        };
        let (option, valid) = match error.code() {
            Some(Code::NO_CLIENT_ID | Code::INVALID_CLIENT_ID) => (&mut client_id, VALID_ID),
            Some(Code::NO_TENANT_ID | Code::INVALID_TENANT_ID) => (&mut tenant_id, VALID_ID),
            Some(Code::INVALID_AUTHORITY_HOST) => (&mut authority_host, Cloud::Public.authority_host()),
            _ => {
                errors.push(error);
                break;
            }
        };
        errors.push(error);
        if std::mem::replace(option, valid) == valid {
            break;
        }
    }
    let others = errors.split_off(1);
    Err((errors.remove(0), others))
}

fn of_error(error: &Error) -> Finding {
    Finding::of_error(error, Code::VARIABLE_NOT_TEXT)
}

/// A login host that belongs to no cloud of Microsoft, or a token proxy that is not the API server.
///
/// With the option `known_clouds_only`, it must not receive a token. Otherwise a login host on this machine is no problem:
/// it is an emulator.
fn unknown_host(
    diagnosis: &Diagnosis<'_>,
    authority: Option<&Authority>,
    token_proxy: Option<&str>,
) -> Option<Finding> {
    let known_clouds_only = diagnosis.options.known_clouds_only;
    let token_proxy = token_proxy.and_then(|url| {
        let url = Url::parse(url).ok()?;
        // Without user info, which can be a secret.
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str()?);
        let is_api_server = TOKEN_PROXIES.contains(&host.as_str());
        Some((host, is_api_server || !known_clouds_only))
    });
    let login_host = authority.map(|authority| {
        let is_emulator = authority.is_loopback() && !known_clouds_only;
        (
            authority.host().to_owned(),
            authority.cloud().is_some() || is_emulator,
        )
    });
    // Other credentials of the chain reach the login host without the token proxy.
    let hosts = [token_proxy, login_host];
    let used = if known_clouds_only { 2 } else { 1 };
    let is_allowed = |allowed: &String, host: &String| {
        let allowed = Authority::parse(allowed).or_else(|_| Authority::parse(&format!("https://{allowed}")));
        allowed.is_ok_and(|allowed| allowed.host() == *host)
    };
    let (host, _) = hosts.into_iter().flatten().take(used).find(|(host, is_known)| {
        let mut allowed = diagnosis.options.allowed_authority_hosts.iter();
        !is_known && !allowed.any(|allowed| is_allowed(allowed, host))
    })?;
    let severity = if known_clouds_only {
        Severity::Error
    } else {
        Severity::Warning
    };
    Some(Finding::new(Code::UNKNOWN_LOGIN_HOST, severity).with_host(&host))
}

/// A secret or a certificate takes precedence over workload identity in a default credential.
fn other_credential(diagnosis: &Diagnosis<'_>) -> Option<Finding> {
    let environment = diagnosis.environment;
    let certificate = environment.client_certificate().ok()?.path.is_some();
    let secret = environment.client_secret().ok()?.is_some();
    let variable = if secret {
        AZURE_CLIENT_SECRET
    } else {
        "AZURE_CLIENT_CERTIFICATE_PATH"
    };
    let has_token_file = environment.workload_identity().ok()?.token_file.is_some();
    let selected = environment.token_credentials().ok()?;
    if selected.is_some_and(|selected| {
        selected
            .expose()
            .eq_ignore_ascii_case("WorkloadIdentityCredential")
    }) {
        return None;
    }
    ((certificate || secret) && has_token_file)
        .then(|| Finding::new(Code::ANOTHER_CREDENTIAL_FIRST, Severity::Warning).with_variable(variable))
}

/// A proxy that no client can use, so that each of them tries without it, or fails. Its value can hold a password. Other
/// SDKs know SOCKS.
fn proxy(diagnosis: &Diagnosis<'_>) -> Option<Finding> {
    let (variable, value) = diagnosis.environment.https_proxy()?;
    let value = value.expose();
    let scheme = if value.contains("://") { "" } else { "http://" };
    let url = Url::parse(&format!("{scheme}{}", value.trim()));
    let is_known = |url: &Url| PROXY_SCHEMES.contains(&url.scheme()) && url.has_host();
    let defect = if value.trim() != value {
        Defect::WhiteSpace
    } else if url.is_ok_and(|url| is_known(&url)) {
        return None;
    } else {
        Defect::NotAUrl
    };
    let finding = Finding::new(Code::PROXY_FAILED, Severity::Warning);
    Some(Finding {
        owner: Owner::Developer,
        ..finding.with_variable(variable).with_defect(defect)
    })
}

/// Whether `AZURE_TOKEN_CREDENTIALS` leaves workload identity out of a default credential.
fn selection(diagnosis: &Diagnosis<'_>) -> Option<Finding> {
    let selected = diagnosis.environment.token_credentials().ok()??;
    if let Err(error) = DefaultAzureLink::selected_by(Some(&selected)) {
        return Some(Finding::of_error(&error, Code::WORKLOAD_IDENTITY_EXCLUDED));
    }
    let includes = ["prod", "WorkloadIdentityCredential"];
    let is_included = includes
        .iter()
        .any(|value| value.eq_ignore_ascii_case(selected.expose()));
    (!is_included).then(|| {
        Finding::new(Code::WORKLOAD_IDENTITY_EXCLUDED, Severity::Warning)
            .with_variable(AZURE_TOKEN_CREDENTIALS)
            .comparing(Property::TokenCredentials, selected.to_string(), None)
    })
}

/// The API server, by the names that every pod knows it by. Source: AKS, "Identity bindings".
const TOKEN_PROXIES: [&str; 2] = ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// A client and a tenant that are not requested.
const VALID_ID: &str = "00000000-0000-0000-0000-000000000000";

/// Source: `hyper-util`, `client::proxy::matcher`.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::env::Environment;
    use crate::transport::HttpTransport;

    fn findings(variables: &[(&str, &str)]) -> Vec<(Code, Severity, Owner)> {
        let pod = [
            ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
            ("AZURE_TENANT_ID", "4d4cf8a9-1d4c-4b5e-8a5e-0d2c8c1b7a11"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ];
        let variables = pod.iter().chain(variables).map(|&(name, value)| (name, value));
        let environment: Environment = variables.collect();
        let diagnosis = Diagnosis {
            environment: &environment,
            options: &crate::diagnose::DiagnoseOptions::new(),
            transport: Arc::new(HttpTransport::new()),
        };
        let variables = check(&diagnosis);
        let findings = variables.check.findings().iter();
        findings
            .map(|finding| (finding.code, finding.severity, finding.owner))
            .collect()
    }

    #[test]
    fn login_host_on_this_machine_is_an_emulator_unless_it_is_refused() {
        let host = "https://127.0.0.1:8443";
        let own = crate::diagnose::DiagnoseOptions::new();
        let of_others = own.clone().known_clouds_only(true);
        let allowed = of_others.clone().allow_authority_host(host);
        for (options, is_emulated) in [(own, true), (of_others, false), (allowed, true)] {
            let diagnosis = Diagnosis {
                environment: &Environment::from_iter([("AZURE_AUTHORITY_HOST", host)]),
                options: &options,
                transport: Arc::new(HttpTransport::new()),
            };
            assert_eq!(check(&diagnosis).settings.is_emulated, is_emulated, "{options:?}");
        }
    }

    #[test]
    fn secret_is_no_problem_if_workload_identity_is_selected() {
        let secret = ("AZURE_CLIENT_SECRET", "planted");
        let warning = (
            Code::ANOTHER_CREDENTIAL_FIRST,
            Severity::Warning,
            Owner::Developer,
        );
        assert_eq!(findings(&[secret]), [warning]);
        assert_eq!(
            findings(&[secret, ("AZURE_TOKEN_CREDENTIALS", "prod")]),
            [warning]
        );
        let selected = ("AZURE_TOKEN_CREDENTIALS", "workloadidentitycredential");
        assert_eq!(findings(&[secret, selected]), []);
    }

    #[test]
    fn login_host_of_no_known_cloud_is_a_warning_except_on_this_machine() {
        let warning = (Code::UNKNOWN_LOGIN_HOST, Severity::Warning, Owner::Developer);
        for host in [
            "https://login.microsoftonline.com.evil.test",
            "https://20.190.160.1",
            "https://proxy.contoso.com/entra/",
        ] {
            assert_eq!(findings(&[("AZURE_AUTHORITY_HOST", host)]), [warning], "{host}");
        }
        for host in [
            "https://login.windows.net",
            "https://login.sovcloud-identity.fr/",
            "http://127.0.0.1:8080",
            "https://localhost:8443",
        ] {
            assert_eq!(findings(&[("AZURE_AUTHORITY_HOST", host)]), [], "{host}");
        }
    }

    #[test]
    fn selection_that_no_default_credential_knows_is_an_error() {
        let error = (
            Code::WORKLOAD_IDENTITY_EXCLUDED,
            Severity::Error,
            Owner::Developer,
        );
        assert_eq!(findings(&[("AZURE_TOKEN_CREDENTIALS", "production")]), [error]);
    }

    #[test]
    fn proxy_that_no_client_can_use_is_a_warning() {
        let warning = (Code::PROXY_FAILED, Severity::Warning, Owner::Developer);
        for value in [
            "http://proxy:3128\n",
            " http://proxy",
            "not a url",
            "socks9://proxy",
        ] {
            assert_eq!(findings(&[("HTTPS_PROXY", value)]), [warning], "{value:?}");
        }
        for value in [
            "http://proxy:3128",
            "https://user:pw@proxy",
            "proxy:3128",
            "socks5h://proxy",
            "",
        ] {
            assert_eq!(findings(&[("HTTPS_PROXY", value)]), [], "{value:?}");
        }
    }
}
