#![expect(clippy::zero_prefixed_literal, reason = "a code has three digits")]

use std::fmt;

/// The code of a problem, such as `EW404`. [Troubleshooting] has a section for each: the cause, who can
/// fix it, and how.
///
/// The text of an [`Error`](crate::Error) that has a code ends with it. Codes do not change; a new release can
/// have more of them. `EW0xx` is about which identity is used, `EW1xx` about the pod, `EW2xx` about the
/// network, `EW3xx` about the issuer of the cluster, `EW4xx` about Entra and `EW5xx` about a resource.
///
/// [Troubleshooting]: https://docs.rs/entra-workload/latest/entra_workload/guide/troubleshooting/
///
/// # Examples
///
/// ```
/// use entra_workload::{Code, Environment, Owner, WorkloadIdentityCredential};
///
/// let pod = Environment::from_iter([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
/// let error = WorkloadIdentityCredential::builder().environment(pod).build().unwrap_err();
/// let code = error.code().unwrap();
/// assert_eq!(code, "EW101");
/// assert_eq!(code, Code::NO_WORKLOAD_IDENTITY);
/// assert_eq!(code.title(), "pod has no workload identity");
/// assert_eq!(code.owner(), Owner::Developer);
/// assert!(error.to_string().ends_with("(EW101)"));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(u16);

/// Who can fix a problem.
///
/// # Examples
///
/// ```
/// use entra_workload::{Code, Owner};
///
/// assert_eq!(Code::NO_ROLE.owner(), Owner::TenantAdmin);
/// assert_eq!(Owner::TenantAdmin.to_string(), "tenant administrator");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Owner {
    /// No action is needed: the problem is temporary.
    Nobody,
    /// The developer of the program and its manifests.
    Developer,
    /// The administrator of the cluster and its network.
    ClusterAdmin,
    /// The administrator of identities, roles and policies in Azure.
    TenantAdmin,
}

impl Code {
    /// Returns the address of the code in "Troubleshooting".
    pub fn url(self) -> String {
        format!("{PAGE}#{}", self.to_string().to_ascii_lowercase())
    }
}

/// One line per code: number, name, owner and title. The title names the object and its state, and is also
/// the documentation of the constant.
macro_rules! codes {
    ($($number:literal $name:ident, $owner:ident, $title:literal;)*) => {
        impl Code {
            $(
                #[doc = concat!("`EW", stringify!($number), "`: ", $title, ".")]
                pub const $name: Self = Self($number);
            )*

            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the problem in a few words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    _ => "",
                }
            }

            /// Returns who can usually fix the problem.
            pub const fn owner(self) -> Owner {
                match self {
                    $(Self::$name => Owner::$owner,)*
                    _ => Owner::Nobody,
                }
            }
        }
    };
}

codes! {
    001 ANOTHER_IDENTITY, Developer, "default credential uses another identity";
    101 NO_WORKLOAD_IDENTITY, Developer, "pod has no workload identity";
    102 NOT_IN_A_POD, Developer, "process does not run in a pod with workload identity";
    103 NO_CLIENT_ID, Developer, "client ID is not set";
    104 NO_TENANT_ID, ClusterAdmin, "tenant ID is not set";
    105 INVALID_CLIENT_ID, Developer, "invalid client ID";
    106 INVALID_TENANT_ID, Developer, "invalid tenant ID";
    107 INVALID_AUTHORITY_HOST, Developer, "invalid authority host";
    108 INCOMPLETE_IDENTITY_BINDING, Developer, "incomplete identity binding";
    109 ANOTHER_CREDENTIAL_FIRST, Developer, "client secret or certificate takes precedence over workload identity";
    110 WORKLOAD_IDENTITY_EXCLUDED, Developer, "workload identity is excluded from the default credential";
    111 NO_TOKEN_FILE, Developer, "token file does not exist";
    112 UNREADABLE_TOKEN_FILE, Developer, "token file is not readable";
    113 EMPTY_TOKEN_FILE, Developer, "token file is empty";
    114 NOT_A_TOKEN, Developer, "token file does not contain a service-account token";
    115 EXPIRED_TOKEN, Developer, "service-account token is expired";
    116 EARLY_TOKEN, ClusterAdmin, "service-account token is not valid yet";
    117 TOKEN_OF_THE_API_SERVER, Developer, "service-account token is for the API server";
    118 TOKEN_LIVES_TOO_LONG, Developer, "service-account token lifetime exceeds 24 hours";
    119 WRONG_AUDIENCE, Developer, "unexpected audience of the service-account token";
    120 TOKEN_FOR_IDENTITY_BINDING, Developer, "service-account token is for an identity binding";
    121 VARIABLE_NOT_TEXT, Developer, "variable is not valid UTF-8";
    122 UNKNOWN_LOGIN_HOST, Developer, "login host does not belong to a known cloud";

    201 UNKNOWN_HOST, ClusterAdmin, "host name cannot be resolved";
    202 CONNECTION_REFUSED, ClusterAdmin, "connection refused";
    203 UNREACHABLE_HOST, ClusterAdmin, "host is unreachable";
    204 PROXY_FAILED, ClusterAdmin, "HTTP proxy failed";
    205 UNTRUSTED_CERTIFICATE, ClusterAdmin, "certificate is not trusted";
    206 CERTIFICATE_OF_ANOTHER_HOST, ClusterAdmin, "certificate is for another host";
    207 NO_ROOT_CERTIFICATES, Developer, "image has no root certificates";
    208 NO_RESPONSE, ClusterAdmin, "host does not respond";
    209 NOT_ENTRA, ClusterAdmin, "response is not from Entra";
    210 CLOCK_IS_WRONG, ClusterAdmin, "clock is wrong";
    211 TOKEN_PROXY_UNREACHABLE, ClusterAdmin, "token proxy is unreachable";
    212 TOKEN_PROXY_UNTRUSTED, ClusterAdmin, "token proxy certificate is not trusted";
    213 RESOLVER_SILENT, ClusterAdmin, "DNS query timed out";

    301 ISSUER_UNREACHABLE, ClusterAdmin, "issuer cannot be read";
    302 ISSUER_DIFFERS, ClusterAdmin, "discovery document names another issuer";
    303 UNPUBLISHED_KEY, ClusterAdmin, "issuer does not publish the key of the token";
    304 PRIVATE_ISSUER, ClusterAdmin, "issuer is not public";

    401 NO_FEDERATED_CREDENTIAL, TenantAdmin, "no federated credential matches the token";
    402 ISSUER_MISMATCH, TenantAdmin, "no federated credential has this issuer";
    403 AUDIENCE_MISMATCH, TenantAdmin, "no federated credential has this audience";
    404 SUBJECT_MISMATCH, TenantAdmin, "no federated credential has this subject";
    405 EXPRESSION_MISMATCH, TenantAdmin, "no claims-matching expression matches the token";
    406 ASSERTION_OUTSIDE_VALIDITY, Developer, "client assertion is expired or not yet valid";
    407 ASSERTION_LIVES_TOO_LONG, Developer, "client assertion lifetime exceeds 24 hours";
    408 SIGNATURE_MISMATCH, ClusterAdmin, "signature does not match the published keys";
    409 ISSUER_KEYS_UNREACHABLE, ClusterAdmin, "Entra cannot read the keys of the issuer";
    410 UNKNOWN_APPLICATION, Developer, "application does not exist in the tenant";
    411 UNKNOWN_TENANT, Developer, "tenant does not exist in this cloud";
    412 UNKNOWN_RESOURCE, Developer, "resource is unknown in the tenant";
    413 INVALID_SCOPE, Developer, "invalid scope";
    414 WRONG_CLIENT_SECRET, Developer, "client secret is wrong";
    415 EXPIRED_CLIENT_SECRET, TenantAdmin, "client secret is expired";
    416 DISABLED_APPLICATION, TenantAdmin, "application is disabled";
    417 ASSERTION_OF_ENTRA, Developer, "client assertion was issued by Entra";
    418 CHAINED_FEDERATION, Developer, "client assertion comes from a federated credential";
    419 ANOTHER_TENANT, TenantAdmin, "identity and application are in different tenants";
    420 FEDERATION_FORBIDDEN, TenantAdmin, "tenant policy forbids the federation";
    421 CONDITIONAL_ACCESS, TenantAdmin, "Conditional Access policy blocks the identity";
    422 OUTAGE, Nobody, "Entra is temporarily unavailable";
    423 THROTTLED, Developer, "Entra throttles the client";
    424 IDENTITY_BINDING_FORBIDDEN, ClusterAdmin, "service account may not use the identity";
    425 NOT_THE_TOKEN_PROXY, ClusterAdmin, "API server answered instead of the token proxy";
    426 REFUSED, TenantAdmin, "Entra refused the token request";
    427 UNREGISTERED_CERTIFICATE, TenantAdmin, "certificate is not registered with the application";
    428 SUBJECT_CASE_MISMATCH, TenantAdmin, "subject differs in upper and lower case";
    429 NO_EXPRESSIONS, TenantAdmin, "cloud does not support claims-matching expressions";
    430 TENANT_OF_ANOTHER_CLOUD, Developer, "tenant belongs to another cloud";
    431 NO_SERVICE_PRINCIPAL, TenantAdmin, "application has no service principal in the tenant";
    432 NOT_ASSIGNED, TenantAdmin, "application is not assigned to the resource";
    433 REVOKED_CERTIFICATE, TenantAdmin, "client certificate is revoked";
    434 EXPIRED_CERTIFICATE, TenantAdmin, "client certificate is expired or not yet valid";

    501 TOKEN_REJECTED, Developer, "service rejects the token";
    502 NO_ROLE, TenantAdmin, "identity has no data-plane role on the resource";
    503 FIREWALL, TenantAdmin, "resource firewall blocks the pod";
    504 NO_RESOURCE, Developer, "resource does not exist";
    505 RESOURCE_FAILED, ClusterAdmin, "resource request failed";
    506 NO_ACCESS_POLICY, TenantAdmin, "vault access policy does not allow the identity";
}

impl PartialEq<str> for Code {
    fn eq(&self, text: &str) -> bool {
        let digits = text.strip_prefix("EW").filter(|digits| digits.len() == 3);
        digits.is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() == Ok(self.0)
        })
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

impl PartialEq<Code> for str {
    fn eq(&self, code: &Code) -> bool {
        code == self
    }
}

impl PartialEq<Code> for &str {
    fn eq(&self, code: &Code) -> bool {
        code == *self
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EW{:03}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "no action needed (temporary)",
            Self::Developer => "developer",
            Self::ClusterAdmin => "cluster administrator",
            Self::TenantAdmin => "tenant administrator",
        })
    }
}

/// docs.rs redirects a folder to its `index.html`, `latest` to the newest release, and keeps the fragment. The page
/// is the only one whose anchors are the codes, so its address stays the same when it moves within `docs/`.
const PAGE: &str = "https://docs.rs/entra-workload/latest/entra_workload/guide/troubleshooting/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order_and_have_short_titles() {
        assert!(Code::ALL.is_sorted_by(|one, next| one < next));
        for code in Code::ALL {
            let title = code.title();
            assert!(
                (1..=70).contains(&title.len()) && !title.ends_with('.'),
                "{code}: {title}"
            );
        }
    }

    #[test]
    fn code_equals_exactly_its_own_text() {
        assert_eq!(Code::ANOTHER_IDENTITY, "EW001");
        assert_eq!("EW001", Code::ANOTHER_IDENTITY);
        for text in ["", "EW1", "EW01", "ew001", "EW0001", "EW+01", "EW404", "EW001 "] {
            assert_ne!(Code::ANOTHER_IDENTITY, text);
        }
        for code in Code::ALL {
            assert_eq!(*code, *code.to_string());
            assert!(
                Code::ALL
                    .iter()
                    .filter(|other| **other == *code.to_string())
                    .eq([code])
            );
        }
    }
}
