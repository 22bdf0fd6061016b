use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::authority::Cloud;
use crate::code::{Code, Owner};
use crate::error::Error;
use crate::escape::Escaped;

/// A problem: its code, who can fix it, and the facts about it.
///
/// It contains no wording: `entra-workload doctor` prints the cause and the commands for a finding. As JSON, a finding
/// has the fields below under their names, and a fact that is `None` is left out. Texts from outside are
/// escaped, and no value can be a secret.
///
/// # Examples
///
/// ```
/// use entra_workload::Code;
/// use entra_workload::diagnose::{Finding, Property};
///
/// /// The subject that a federated credential must have.
/// fn missing_subject(finding: &Finding) -> Option<&str> {
///     let subject = finding.comparison(Property::Subject).filter(|_| finding.code == Code::SUBJECT_MISMATCH);
///     subject.map(|comparison| comparison.presented.as_str())
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The code, with its title and its section in "Troubleshooting".
    #[serde(serialize_with = "display")]
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// Who can fix it: usually, but not always, the owner of the code.
    #[serde(serialize_with = "owner")]
    pub owner: Owner,
    /// The AADSTS codes that Entra answered with, or that it would answer with if it were asked.
    pub aadsts: Vec<u32>,
    /// The code of the finding that causes this one.
    #[serde(serialize_with = "code", skip_serializing_if = "Option::is_none")]
    pub follows_from: Option<Code>,
    /// What was presented, next to what was expected.
    pub comparisons: Vec<Comparison>,
    /// The variable that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<&'static str>,
    /// The token file that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The host that failed, or that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The address that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The error that a credential returns for it. As JSON: `kind`, `message`, `status` and `oauth_error`.
    #[serde(serialize_with = "error", skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The HTTP status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The error code of the service in the response, such as `ForbiddenByRbac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_error: Option<String>,
    /// What is wrong with a value or a response that is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defect: Option<Defect>,
    /// How far the clock of this machine differs from that of the login host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<ClockSkew>,
    /// The federated credential that the token needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federated_credential: Option<FederatedCredential>,
    /// The resource that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// The identity that a default credential uses in place of workload identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<OtherIdentity>,
}

impl Finding {
    /// Returns the first comparison of a property.
    pub fn comparison(&self, property: Property) -> Option<&Comparison> {
        let mut comparisons = self.comparisons.iter();
        comparisons.find(|comparison| comparison.property == property)
    }

    pub(super) fn new(code: Code, severity: Severity) -> Self {
        Self {
            code,
            severity,
            owner: code.owner(),
            aadsts: Vec::new(),
            follows_from: None,
            comparisons: Vec::new(),
            variable: None,
            file: None,
            host: None,
            url: None,
            error: None,
            status: None,
            service_error: None,
            defect: None,
            clock_skew: None,
            federated_credential: None,
            resource: None,
            identity: None,
        }
    }

    /// The finding of an error. Errors without a code have the given one.
    pub(super) fn of_error(error: &Error, otherwise: Code) -> Self {
        Self {
            aadsts: error.aadsts_codes().to_vec(),
            error: Some(error.clone()),
            ..Self::new(error.code().unwrap_or(otherwise), Severity::Error)
        }
    }

    /// Adds the AADSTS codes with which Entra refuses for the reason `refusal`.
    pub(super) fn predicting(mut self, refusal: Code) -> Self {
        self.aadsts.extend(refusal.aadsts_codes());
        self
    }

    /// * `expected`: `None` if there is no single right value.
    pub(super) fn comparing(
        mut self,
        property: Property,
        presented: impl Into<String>,
        expected: Option<&str>,
    ) -> Self {
        self.comparisons.push(Comparison {
            property,
            presented: escaped(presented.into()),
            expected: expected.map(escaped),
        });
        self
    }

    pub(super) fn with_variable(mut self, name: &'static str) -> Self {
        self.variable = Some(name);
        self
    }

    pub(super) fn with_file(mut self, path: impl fmt::Display) -> Self {
        self.file = Some(escaped(path));
        self
    }

    pub(super) fn with_host(mut self, host: &str) -> Self {
        self.host = Some(escaped(host));
        self
    }

    pub(super) fn with_url(mut self, url: &str) -> Self {
        self.url = Some(escaped(url));
        self
    }

    pub(super) fn with_status(mut self, status: http::StatusCode) -> Self {
        self.status = Some(status.as_u16());
        self
    }

    pub(super) fn with_defect(mut self, defect: Defect) -> Self {
        self.defect = Some(defect);
        self
    }
}

/// How much a [`Finding`] matters. As JSON, it is the name in lower case.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Information, for example which identity answers.
    Info,
    /// It works, but not as intended, or not for long.
    Warning,
    /// No token, or no access.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What was presented, next to what was expected.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// What is compared.
    pub property: Property,
    /// The value that was presented.
    pub presented: String,
    /// The value that was expected; `None` if there is no single right value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// A property of a token, of its issuer, or of a request. As JSON, it is the name in snake case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Property {
    /// `aud` of the service-account token.
    Audience,
    /// The client ID of the identity.
    ClientId,
    /// `iss` of the service-account token.
    Issuer,
    /// `kid` of the service-account token. The expected value is all published ones, separated by spaces.
    KeyId,
    /// The address of the keys of the issuer.
    KeysUrl,
    /// The lifetime of the service-account token, in seconds.
    Lifetime,
    /// The scope of the token request.
    Scope,
    /// `sub` of the service-account token.
    Subject,
    /// The tenant ID.
    TenantId,
    /// The time of this machine, next to that of the login host, as HTTP dates.
    Time,
    /// The value of `AZURE_TOKEN_CREDENTIALS`.
    TokenCredentials,
}

/// What is wrong with a value or a response that is not shown. As JSON, it is the name in snake case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Defect {
    /// The value begins or ends with white space.
    WhiteSpace,
    /// The value is not a URL that can be used here.
    NotAUrl,
    /// The response is not JSON.
    NotJson,
    /// The response is JSON without the expected members.
    NoDiscoveryDocument,
}

/// The difference between the clock of this machine and that of the login host.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClockSkew {
    /// The difference, in whole seconds.
    pub seconds: u64,
    /// Whether this machine is ahead.
    pub is_ahead: bool,
}

impl ClockSkew {
    pub(super) fn new(skew: Duration, is_ahead: bool) -> Self {
        Self {
            seconds: skew.as_secs(),
            is_ahead,
        }
    }
}

/// The federated credential that a service-account token needs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "these are the parts of a federated credential"
)]
pub struct FederatedCredential {
    /// The client ID of the identity.
    pub client_id: String,
    /// `iss` of the token.
    pub issuer: String,
    /// `sub` of the token.
    pub subject: String,
    /// `aud` of the token.
    pub audience: String,
}

/// A resource that the token is for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Resource {
    /// The service.
    pub service: Service,
    /// Its URL, without user info, query and fragment.
    pub url: String,
}

impl Resource {
    pub(super) fn blob(url: &str) -> Self {
        Self {
            service: Service::Blob,
            url: without_secrets(url),
        }
    }

    /// The path does not matter: the secrets are listed.
    pub(super) fn vault(url: &str) -> Self {
        let url = without_secrets(url);
        let end = url
            .find("://")
            .and_then(|start| Some(start + 3 + url.get(start + 3..)?.find('/')?));
        Self {
            service: Service::KeyVault,
            url: end.and_then(|end| url.get(..end)).unwrap_or(&url).to_owned(),
        }
    }

    /// The scope of the service; `None` if that of this cloud is not known.
    pub(super) fn scope<'a>(&self, cloud: &'a Cloud) -> Option<&'a str> {
        match self.service {
            Service::Blob => cloud.storage_scope(),
            Service::KeyVault => cloud.key_vault_scope(),
        }
    }
}

/// A service of Azure. As JSON, it is the name in snake case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Service {
    /// Blob Storage.
    Blob,
    /// Key Vault.
    KeyVault,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blob => "Blob Storage",
            Self::KeyVault => "Key Vault",
        })
    }
}

/// The identity that a default credential uses where workload identity is not set up.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OtherIdentity {
    /// The credential, as in `AZURE_TOKEN_CREDENTIALS`.
    pub credential: &'static str,
    /// The client ID that its token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Whether it returned a token. If not, it stops the default credential: with this status, or with the error of the
    /// finding.
    pub has_token: bool,
    /// The HTTP status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The AADSTS code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aadsts: Option<u32>,
}

/// The text without characters that act on a terminal or a log, limited in length.
pub(super) fn escaped(text: impl fmt::Display) -> String {
    Escaped(text).to_string().chars().take(MAX_TEXT).collect()
}

pub(super) fn display<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn code<S: Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => serializer.collect_str(code),
        None => serializer.serialize_none(),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn owner<S: Serializer>(owner: &Owner, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match owner {
        Owner::Nobody => "nobody",
        Owner::Developer => "developer",
        Owner::ClusterAdmin => "cluster_admin",
        Owner::TenantAdmin => "tenant_admin",
    })
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn error<S: Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Facts<'a> {
        kind: String,
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oauth_error: Option<&'a str>,
    }
    let facts = error.as_ref().map(|error| Facts {
        kind: format!("{:?}", error.kind()).to_ascii_lowercase(),
        message: error.message(),
        status: error.status().map(|status| status.as_u16()),
        oauth_error: error.oauth_error(),
    });
    facts.serialize(serializer)
}

/// The URL is shown, and a query can be a shared access signature.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return escaped(url);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    escaped(format!("{scheme}://{host}{path}"))
}

/// In characters. What a stranger's issuer publishes can have hundreds of kilobytes.
const MAX_TEXT: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_an_issuer_do_not_reach_a_finding() {
        let text = "\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}";
        let finding = Finding::new(Code::UNPUBLISHED_KEY, Severity::Warning)
            .comparing(Property::KeyId, text, Some(text))
            .with_file(text)
            .with_host(text)
            .with_url(text);
        let comparison = &finding.comparisons[0];
        for shown in [
            Some(&comparison.presented),
            comparison.expected.as_ref(),
            finding.file.as_ref(),
            finding.host.as_ref(),
            finding.url.as_ref(),
            Some(&Resource::blob(text).url),
        ] {
            assert_eq!(
                shown.unwrap(),
                r"\u{1b}]52;c;eA==\u{7}\r\n::stop-commands::x\u{202e}"
            );
        }
    }

    #[test]
    fn shown_url_has_neither_user_nor_signature() {
        for (url, shown) in [
            (
                "https://a.blob.core.windows.net/c/b?sig=x#y",
                "https://a.blob.core.windows.net/c/b",
            ),
            ("https://user:pw@v.vault.azure.net", "https://v.vault.azure.net"),
            ("https://v.vault.azure.net/a@b", "https://v.vault.azure.net/a@b"),
            ("account?sig=x", "account"),
        ] {
            assert_eq!(Resource::blob(url).url, shown);
        }
        assert_eq!(
            Resource::vault("https://v.vault.azure.net/secrets/a").url,
            "https://v.vault.azure.net"
        );
    }

    #[test]
    fn text_of_a_stranger_is_limited_in_length() {
        let long = "\u{202e}".repeat(100_000);
        let finding = Finding::new(Code::UNPUBLISHED_KEY, Severity::Warning);
        let finding = finding.comparing(Property::KeyId, &*long, Some(&*long));
        let comparison = &finding.comparisons[0];
        let lengths = [Some(&comparison.presented), comparison.expected.as_ref()];
        assert_eq!(lengths.map(|text| text.unwrap().len()), [MAX_TEXT; 2]);
    }

    /// What a program that publishes a report relies on.
    #[test]
    fn json_of_a_finding_has_stable_fields_and_no_wording() {
        let error = Error::transport("no route").with_code(Code::UNREACHABLE_HOST);
        let mut finding = Finding::of_error(&error, Code::REFUSED)
            .comparing(Property::KeyId, "a", Some("b c"))
            .with_variable("AZURE_CLIENT_ID")
            .with_host("login")
            .with_status(http::StatusCode::FORBIDDEN)
            .with_defect(Defect::NotAUrl)
            .predicting(Code::SUBJECT_MISMATCH);
        finding.resource = Some(Resource::vault("https://v.vault.azure.net"));
        finding.clock_skew = Some(ClockSkew::new(Duration::from_millis(61_900), true));
        assert_eq!(
            serde_json::to_value(&finding).unwrap(),
            serde_json::json!({
                "code": "EW203",
                "severity": "error",
                "owner": "cluster_admin",
                "aadsts": [700_213, 7_002_137],
                "comparisons": [{"property": "key_id", "presented": "a", "expected": "b c"}],
                "variable": "AZURE_CLIENT_ID",
                "host": "login",
                "error": {"kind": "transport", "message": "no route"},
                "status": 403,
                "defect": "not_a_url",
                "clock_skew": {"seconds": 61, "is_ahead": true},
                "resource": {"service": "key_vault", "url": "https://v.vault.azure.net"},
            })
        );
    }
}
