use std::fmt;

/// The code of a problem, such as `EW404`. [Troubleshooting] has a section for each: the cause, who can
/// fix it, and how.
///
/// The text of an [`Error`](crate::Error) ends with its code. Codes do not change; a new release can
/// have more of them.
///
/// [Troubleshooting]: https://docs.rs/entra-workload/latest/entra_workload/guide/troubleshooting/index.html
///
/// # Examples
///
/// ```
/// use entra_workload::{Environment, WorkloadIdentityCredential};
///
/// let pod = Environment::from_iter([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
/// let error = WorkloadIdentityCredential::builder().environment(pod).build().unwrap_err();
/// assert_eq!(error.code().unwrap().to_string(), "EW101");
/// assert!(error.to_string().ends_with("(EW101)"));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(u16);

// EW0xx: which identity. EW1xx: the pod. EW2xx: the network. EW3xx: the issuer of the cluster. EW4xx:
// Entra. EW5xx: the resource. EW6xx to EW8xx are those of the command `entra-workload`.
// `diagnose/catalog.rs` describes them.
impl Code {
    pub(crate) const NO_WORKLOAD_IDENTITY: Self = Self(101);
    pub(crate) const NOT_IN_A_POD: Self = Self(102);
    pub(crate) const NO_CLIENT_ID: Self = Self(103);
    pub(crate) const NO_TENANT_ID: Self = Self(104);
    pub(crate) const INVALID_CLIENT_ID: Self = Self(105);
    pub(crate) const INVALID_TENANT_ID: Self = Self(106);
    pub(crate) const INVALID_AUTHORITY_HOST: Self = Self(107);
    pub(crate) const INCOMPLETE_IDENTITY_BINDING: Self = Self(108);
    pub(crate) const NO_TOKEN_FILE: Self = Self(111);
    pub(crate) const UNREADABLE_TOKEN_FILE: Self = Self(112);
    pub(crate) const EMPTY_TOKEN_FILE: Self = Self(113);
    pub(crate) const NOT_A_TOKEN: Self = Self(114);
    pub(crate) const EXPIRED_TOKEN: Self = Self(115);
    pub(crate) const EARLY_TOKEN: Self = Self(116);
    pub(crate) const TOKEN_OF_THE_API_SERVER: Self = Self(117);
    pub(crate) const WRONG_AUDIENCE: Self = Self(119);
    pub(crate) const TOKEN_FOR_IDENTITY_BINDING: Self = Self(120);
    pub(crate) const VARIABLE_NOT_TEXT: Self = Self(121);

    pub(crate) const UNKNOWN_HOST: Self = Self(201);
    pub(crate) const CONNECTION_REFUSED: Self = Self(202);
    pub(crate) const UNREACHABLE_HOST: Self = Self(203);
    pub(crate) const PROXY_FAILED: Self = Self(204);
    pub(crate) const UNTRUSTED_CERTIFICATE: Self = Self(205);
    pub(crate) const CERTIFICATE_OF_ANOTHER_HOST: Self = Self(206);
    pub(crate) const NO_ROOT_CERTIFICATES: Self = Self(207);
    pub(crate) const NO_RESPONSE: Self = Self(208);
    pub(crate) const NOT_ENTRA: Self = Self(209);
    pub(crate) const CLOCK_IS_WRONG: Self = Self(210);
    pub(crate) const TOKEN_PROXY_UNREACHABLE: Self = Self(211);
    pub(crate) const TOKEN_PROXY_UNTRUSTED: Self = Self(212);
    pub(crate) const RESOLVER_SILENT: Self = Self(213);

    pub(crate) const NO_FEDERATED_CREDENTIAL: Self = Self(401);
    pub(crate) const ISSUER_MISMATCH: Self = Self(402);
    pub(crate) const AUDIENCE_MISMATCH: Self = Self(403);
    pub(crate) const SUBJECT_MISMATCH: Self = Self(404);
    pub(crate) const EXPRESSION_MISMATCH: Self = Self(405);
    pub(crate) const ASSERTION_OUTSIDE_VALIDITY: Self = Self(406);
    pub(crate) const ASSERTION_LIVES_TOO_LONG: Self = Self(407);
    pub(crate) const SIGNATURE_MISMATCH: Self = Self(408);
    pub(crate) const ISSUER_KEYS_UNREACHABLE: Self = Self(409);
    pub(crate) const UNKNOWN_APPLICATION: Self = Self(410);
    pub(crate) const UNKNOWN_TENANT: Self = Self(411);
    pub(crate) const UNKNOWN_RESOURCE: Self = Self(412);
    pub(crate) const INVALID_SCOPE: Self = Self(413);
    pub(crate) const WRONG_CLIENT_SECRET: Self = Self(414);
    pub(crate) const EXPIRED_CLIENT_SECRET: Self = Self(415);
    pub(crate) const DISABLED_APPLICATION: Self = Self(416);
    pub(crate) const ASSERTION_OF_ENTRA: Self = Self(417);
    pub(crate) const CHAINED_FEDERATION: Self = Self(418);
    pub(crate) const ANOTHER_TENANT: Self = Self(419);
    pub(crate) const FEDERATION_FORBIDDEN: Self = Self(420);
    pub(crate) const CONDITIONAL_ACCESS: Self = Self(421);
    pub(crate) const OUTAGE: Self = Self(422);
    pub(crate) const THROTTLED: Self = Self(423);
    pub(crate) const IDENTITY_BINDING_FORBIDDEN: Self = Self(424);
    pub(crate) const NOT_THE_TOKEN_PROXY: Self = Self(425);
    pub(crate) const REFUSED: Self = Self(426);
    pub(crate) const UNREGISTERED_CERTIFICATE: Self = Self(427);
    pub(crate) const SUBJECT_CASE_MISMATCH: Self = Self(428);
    pub(crate) const NO_EXPRESSIONS: Self = Self(429);
    pub(crate) const TENANT_OF_ANOTHER_CLOUD: Self = Self(430);
    pub(crate) const NO_SERVICE_PRINCIPAL: Self = Self(431);
    pub(crate) const NOT_ASSIGNED: Self = Self(432);
    pub(crate) const REVOKED_CERTIFICATE: Self = Self(433);
    pub(crate) const EXPIRED_CERTIFICATE: Self = Self(434);

    /// The page of the code.
    pub fn url(self) -> String {
        format!("{PAGE}#{}", self.to_string().to_ascii_lowercase())
    }
}

/// What only a diagnosis finds.
#[cfg(feature = "diagnose")]
impl Code {
    pub(crate) const ANOTHER_IDENTITY: Self = Self(1);
    pub(crate) const ANOTHER_CREDENTIAL_FIRST: Self = Self(109);
    pub(crate) const WORKLOAD_IDENTITY_EXCLUDED: Self = Self(110);
    pub(crate) const TOKEN_LIVES_TOO_LONG: Self = Self(118);
    pub(crate) const UNKNOWN_LOGIN_HOST: Self = Self(122);
    pub(crate) const ISSUER_UNREACHABLE: Self = Self(301);
    pub(crate) const ISSUER_DIFFERS: Self = Self(302);
    pub(crate) const UNPUBLISHED_KEY: Self = Self(303);
    pub(crate) const PRIVATE_ISSUER: Self = Self(304);
    pub(crate) const TOKEN_REJECTED: Self = Self(501);
    pub(crate) const NO_ROLE: Self = Self(502);
    pub(crate) const FIREWALL: Self = Self(503);
    pub(crate) const NO_RESOURCE: Self = Self(504);
    pub(crate) const RESOURCE_FAILED: Self = Self(505);
    pub(crate) const NO_ACCESS_POLICY: Self = Self(506);
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

const PAGE: &str = "https://docs.rs/entra-workload/latest/entra_workload/guide/troubleshooting/index.html";
