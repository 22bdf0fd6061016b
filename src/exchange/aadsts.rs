use http::StatusCode;

use crate::assertion::jwt::Claims;
use crate::code::Code;
use crate::env::AZURE_KUBERNETES_SNI_NAME;
use crate::token::Secret;

/// What was sent to the server, for the message.
pub(super) struct Presented<'a> {
    pub(super) host: &'a str,
    /// Whether `host` is the token proxy of an AKS cluster.
    pub(super) has_token_proxy: bool,
    pub(super) tenant_id: &'a str,
    pub(super) client_id: &'a str,
    /// The client assertion or the client secret.
    pub(super) secret: &'a Secret,
}

/// Whether another token request may succeed without a change by a human: after an outage, or when a new federated
/// credential has propagated through Entra.
pub(super) fn is_retryable(codes: &[u32]) -> bool {
    has_kind(codes, Kind::Retryable) || is_outage(codes)
}

/// Whether a part of Entra is unavailable or timed out, whatever was sent.
pub(super) fn is_outage(codes: &[u32]) -> bool {
    has_kind(codes, Kind::Outage)
}

/// Whether the tenant sends too many requests, or the client repeats the same one.
pub(super) fn is_throttling(codes: &[u32]) -> bool {
    has_kind(codes, Kind::Throttling)
}

fn has_kind(codes: &[u32], kind: Kind) -> bool {
    let mut known = codes.iter().filter_map(|code| Aadsts::of(*code));
    known.any(|known| known.kind == kind)
}

/// Whether the assertion was sent outside its validity, and a newer one may be accepted.
pub(super) fn is_outdated_assertion(codes: &[u32]) -> bool {
    has_kind(codes, Kind::OutdatedAssertion)
}

impl Code {
    /// Returns the AADSTS numbers that Entra sends with a refusal for this reason, such as 700213 and
    /// 7002137 for [`SUBJECT_MISMATCH`](Self::SUBJECT_MISMATCH); nothing for a problem that Entra does not see.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::Code;
    ///
    /// assert!(Code::SUBJECT_MISMATCH.aadsts_codes().any(|number| number == 700_213));
    /// ```
    pub fn aadsts_codes(self) -> impl Iterator<Item = u32> {
        let known = AADSTS.iter().filter(move |known| known.section == self);
        known.flat_map(|known| known.numbers).copied()
    }
}

/// Returns the section of "Troubleshooting" about an AADSTS code, and its usual cause with what to do about it;
/// `None` for an unknown code.
pub(super) fn explain(code: u32, presented: &Presented<'_>) -> Option<(Code, String)> {
    let known = Aadsts::of(code)?;
    let sent = Sent::new(presented);
    let is_for_identity_binding = sent.audience == IDENTITY_BINDING_AUDIENCE;
    // With a certificate, the application signs its assertions itself.
    let is_self_signed = sent.issuer == presented.client_id;
    let (section, hint) = match known.section {
        Code::ISSUER_MISMATCH | Code::AUDIENCE_MISMATCH | Code::SUBJECT_MISMATCH
            if is_for_identity_binding && !presented.has_token_proxy =>
        {
            (Code::TOKEN_FOR_IDENTITY_BINDING, WITHOUT_TOKEN_PROXY)
        }
        Code::SIGNATURE_MISMATCH if is_self_signed => {
            (Code::UNREGISTERED_CERTIFICATE, known.hint_if_self_signed)
        }
        section if is_self_signed => (section, known.hint_if_self_signed),
        section => (section, known.hint),
    };
    Some((section, sent.fill(hint)))
}

/// AADSTS codes with one meaning.
struct Aadsts {
    numbers: &'static [u32],
    kind: Kind,
    /// The section of "Troubleshooting".
    section: Code,
    /// The usual cause and what to do about it. A name in braces stands for what was sent.
    hint: &'static str,
    /// The same for an assertion that the application signs itself, with a certificate.
    hint_if_self_signed: &'static str,
}

impl Aadsts {
    const fn new(numbers: &'static [u32], kind: Kind, section: Code, hint: &'static str) -> Self {
        Self {
            numbers,
            kind,
            section,
            hint,
            hint_if_self_signed: hint,
        }
    }

    const fn if_self_signed(mut self, hint: &'static str) -> Self {
        self.hint_if_self_signed = hint;
        self
    }

    fn of(code: u32) -> Option<&'static Self> {
        AADSTS.iter().find(|known| known.numbers.contains(&code))
    }
}

/// What a refusal means for the next token request.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Only a change by a human helps.
    Permanent,
    /// It can disappear without a change.
    Retryable,
    /// A newer assertion of the same source may be accepted at once.
    OutdatedAssertion,
    Outage,
    Throttling,
}

/// What was sent, as hints show it.
struct Sent<'a> {
    host: &'a str,
    client_id: &'a str,
    issuer: String,
    subject: String,
    audience: String,
}

impl<'a> Sent<'a> {
    fn new(presented: &Presented<'a>) -> Self {
        let claims = Claims::read(presented.secret.expose()).unwrap_or_default();
        Self {
            host: presented.host,
            client_id: presented.client_id,
            issuer: claims.issuer.unwrap_or_default(),
            subject: claims.subject.unwrap_or_default(),
            audience: claims.audiences.join(" "),
        }
    }

    /// Replaces the names in braces.
    fn fill(&self, hint: &str) -> String {
        let mut filled = String::with_capacity(2 * hint.len());
        for part in hint.split_inclusive('}') {
            let (text, name) = part.split_once('{').unwrap_or((part, ""));
            let value = match name {
                "issuer}" => format!("{:?}", self.issuer),
                "subject}" => format!("{:?}", self.subject),
                "audience}" => format!("{:?}", self.audience),
                "client}" => self.client_id.to_owned(),
                "host}" => self.host.to_owned(),
                _ => String::new(),
            };
            filled.push_str(text);
            filled.push_str(&value);
        }
        filled
    }
}

/// Returns why the API server of a cluster, or the token proxy behind its address, refused a request,
/// and what to do about it.
///
/// * `message`: that of the server's `Status`. The API server writes the verb that a user lacks into it.
pub(super) fn cluster_hint(status: StatusCode, message: &str, presented: &Presented<'_>) -> (Code, String) {
    let claims = Claims::read(presented.secret.expose()).unwrap_or_default();
    let subject = claims.subject.unwrap_or_default();
    let client_id = presented.client_id;
    let audience = claims.audiences.join(" ");
    if status == StatusCode::FORBIDDEN && message.contains(USE_MANAGED_IDENTITY) {
        let hint = format!(
            "the service account {subject:?} may not use this identity; bind a ClusterRole to it with \
             apiGroups [cid.wi.aks.azure.com], resources [{client_id}] and verbs [{USE_MANAGED_IDENTITY}]"
        );
        return (Code::IDENTITY_BINDING_FORBIDDEN, hint);
    }
    if audience != IDENTITY_BINDING_AUDIENCE {
        let hint = format!(
            "the token's audience is {audience:?} and must be \"{IDENTITY_BINDING_AUDIENCE}\"; add the pod annotation \
             azure.workload.identity/use-identity-binding: \"true\" and recreate the pod"
        );
        return (Code::WRONG_AUDIENCE, hint);
    }
    let hint = format!(
        "that is the answer of the API server; check {AZURE_KUBERNETES_SNI_NAME}, and that the identity has a binding \
         for this cluster"
    );
    (Code::NOT_THE_TOKEN_PROXY, hint)
}

/// Whether a client assertion is meant for the cluster's token proxy.
pub(super) fn is_for_identity_binding(assertion: &Secret) -> bool {
    Claims::read(assertion.expose()).is_ok_and(|claims| claims.audiences == [IDENTITY_BINDING_AUDIENCE])
}

/// The audience of service-account tokens in pods with an AKS identity binding. Source: AKS,
/// "Identity bindings concepts".
const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// The verb that a service account needs for a managed identity. Source: AKS, "Set up identity bindings".
const USE_MANAGED_IDENTITY: &str = "use-managed-identity";

const WITHOUT_TOKEN_PROXY: &str = "the token is for an AKS identity binding, so only the cluster's token proxy accepts it, \
    and AZURE_KUBERNETES_TOKEN_PROXY is not set; recreate the pod, or remove its annotation \
    azure.workload.identity/use-identity-binding";

const NO_FEDERATED_CREDENTIAL: &str = "no federated credential of this client matches the token; add one with issuer \
    {issuer}, subject {subject} and audience {audience}, and wait a few minutes if it is new";

const OUTSIDE_VALIDITY: &str = "the assertion is expired or not yet valid; check this machine's clock, and that the token \
    file is a projected volume mounted without subPath";

const SELF_SIGNED_OUTSIDE_VALIDITY: &str =
    "the assertion is expired or not yet valid; check this machine's clock";

const UNREACHABLE_KEYS: &str =
    "Entra could not fetch the keys of {issuer}; its discovery document must be reachable from the internet";

/// Every AADSTS code that this crate knows. The numbers may change, so they only add a bounded retry or a hint.
///
/// Entra has two numbers for an issuer, an audience and a subject that no federated credential has; which one it
/// answers with depends on the application.
///
/// Sources: Microsoft's list of AADSTS error codes; "Workload identity federation considerations", section
/// "Propagation delay"; public reports, such as microsoft/Agents#202 (7002137), Azure/login#515 (7002138),
/// apache/arrow-rs-object-store#36 (900382); microsoft-identity-web, `Constants.CertificateErrorCodes`.
const AADSTS: &[Aadsts] = &[
    Aadsts::new(
        &[50_033, 90_006, 90_012, 90_024, 90_033, 90_090],
        Kind::Outage,
        Code::OUTAGE,
        "",
    ),
    Aadsts::new(&[50_196, 90_055], Kind::Throttling, Code::THROTTLED, ""),
    Aadsts::new(
        &[70_021],
        Kind::Retryable,
        Code::NO_FEDERATED_CREDENTIAL,
        NO_FEDERATED_CREDENTIAL,
    ),
    Aadsts::new(
        &[70_025, 700_025],
        Kind::Permanent,
        Code::NO_FEDERATED_CREDENTIAL,
        NO_FEDERATED_CREDENTIAL,
    ),
    Aadsts::new(
        &[700_211, 7_002_111],
        Kind::Retryable,
        Code::ISSUER_MISMATCH,
        "no federated credential of this client has the token's issuer, {issuer}; it must match exactly, including a \
         trailing slash, and a change takes a few minutes to propagate",
    ),
    Aadsts::new(
        &[700_212, 7_002_121],
        Kind::Retryable,
        Code::AUDIENCE_MISMATCH,
        "no federated credential of this client has the token's audience, {audience}; change the audience of the \
         credential, or that of the token",
    ),
    Aadsts::new(
        &[700_213, 7_002_137],
        Kind::Retryable,
        Code::SUBJECT_MISMATCH,
        "no federated credential of this client has the token's subject, {subject}; it must match exactly (namespace and \
         service account), and a change takes a few minutes to propagate",
    ),
    Aadsts::new(
        &[7_002_138],
        Kind::Permanent,
        Code::SUBJECT_CASE_MISMATCH,
        "only upper and lower case differ between the token's subject, {subject}, and that of a federated credential; \
         give the credential exactly this subject",
    ),
    Aadsts::new(
        &[7_002_131],
        Kind::Retryable,
        Code::EXPRESSION_MISMATCH,
        "no federated credential of this client has the token's subject, {subject}, and none has an expression that \
         matches the token; correct the subject or the claimsMatchingExpression",
    ),
    Aadsts::new(
        &[700_239],
        Kind::Permanent,
        Code::NO_EXPRESSIONS,
        "this cloud has no claims-matching expressions; use a federated credential with the subject {subject}",
    ),
    Aadsts::new(
        &[700_024],
        Kind::OutdatedAssertion,
        Code::ASSERTION_OUTSIDE_VALIDITY,
        OUTSIDE_VALIDITY,
    )
    .if_self_signed(SELF_SIGNED_OUTSIDE_VALIDITY),
    Aadsts::new(
        &[500_133],
        Kind::Permanent,
        Code::ASSERTION_OUTSIDE_VALIDITY,
        OUTSIDE_VALIDITY,
    )
    .if_self_signed(SELF_SIGNED_OUTSIDE_VALIDITY),
    Aadsts::new(
        &[70_023, 700_232],
        Kind::Permanent,
        Code::ASSERTION_LIVES_TOO_LONG,
        "the assertion is valid for longer than a day; use the token file that the webhook mounts, with at most 86400 s",
    ),
    Aadsts::new(
        &[700_027],
        Kind::Retryable,
        Code::SIGNATURE_MISMATCH,
        "the assertion's signature does not match the keys that {issuer} publishes; after a rotation of the cluster's \
         signing keys this resolves within minutes",
    )
    .if_self_signed(
        "the certificate is not registered with this application or has expired; upload it under \"Certificates & \
         secrets\", and wait a few minutes if it is new",
    ),
    Aadsts::new(
        &[7_000_274],
        Kind::Permanent,
        Code::SIGNATURE_MISMATCH,
        "the assertion's signature does not match the key of the same ID that {issuer} publishes; publish the keys of \
         this cluster",
    )
    .if_self_signed(
        "the private key is not that of the certificate that is registered with this application; compare it with \
         `az ad app credential list --id {client} --cert`",
    ),
    Aadsts::new(
        &[90_061, 50_166],
        Kind::Retryable,
        Code::ISSUER_KEYS_UNREACHABLE,
        UNREACHABLE_KEYS,
    ),
    Aadsts::new(
        &[7_000_272],
        Kind::Permanent,
        Code::ISSUER_KEYS_UNREACHABLE,
        UNREACHABLE_KEYS,
    ),
    Aadsts::new(
        &[700_016],
        Kind::Permanent,
        Code::UNKNOWN_APPLICATION,
        "the application does not exist in this tenant; check the client ID (.client_id(..) or AZURE_CLIENT_ID) and the \
         tenant ID (of the request, .tenant_id(..) or AZURE_TENANT_ID), and whether the managed identity was deleted and \
         recreated",
    ),
    Aadsts::new(
        &[7_000_229],
        Kind::Permanent,
        Code::NO_SERVICE_PRINCIPAL,
        "the application has no service principal in this tenant; create it with `az ad sp create --id {client}`",
    ),
    Aadsts::new(
        &[90_002, 900_023],
        Kind::Permanent,
        Code::UNKNOWN_TENANT,
        "the tenant does not exist in this cloud; check the tenant ID (of the request, .tenant_id(..) or AZURE_TENANT_ID) \
         and the authority host (.authority_host(..) or AZURE_AUTHORITY_HOST)",
    ),
    Aadsts::new(
        &[900_382],
        Kind::Permanent,
        Code::TENANT_OF_ANOTHER_CLOUD,
        "the tenant belongs to another cloud than {host}; set the authority host (.authority_host(..) or \
         AZURE_AUTHORITY_HOST) to the login host of its cloud",
    ),
    Aadsts::new(
        &[500_011],
        Kind::Permanent,
        Code::UNKNOWN_RESOURCE,
        "the resource of the scope is unknown in this tenant; check the scope's spelling, and whether the resource has a \
         service principal in the tenant",
    ),
    Aadsts::new(
        &[70_011, 1_002_012],
        Kind::Permanent,
        Code::INVALID_SCOPE,
        "a scope must be a resource followed by /.default",
    ),
    Aadsts::new(
        &[700_226],
        Kind::Permanent,
        Code::ASSERTION_OF_ENTRA,
        "of the tokens of Entra, only those of a user-assigned managed identity are accepted as an assertion, not those \
         of an application",
    ),
    Aadsts::new(
        &[700_222],
        Kind::Permanent,
        Code::ASSERTION_OF_ENTRA,
        "an assertion issued by Entra is not accepted; use the cluster's service-account token",
    ),
    Aadsts::new(
        &[700_231],
        Kind::Permanent,
        Code::CHAINED_FEDERATION,
        "the assertion was itself obtained with a federated credential, which Entra does not accept; use the \
         service-account token of the cluster directly, or the managed identity of the machine",
    ),
    Aadsts::new(
        &[700_236],
        Kind::Permanent,
        Code::ANOTHER_TENANT,
        "the managed identity and the application must be registered in the same tenant",
    ),
    Aadsts::new(
        &[700_223, 700_238, 7_002_381],
        Kind::Permanent,
        Code::FEDERATION_FORBIDDEN,
        "a policy of the tenant forbids this federation; ask its administrator",
    ),
    Aadsts::new(
        &[7_000_112],
        Kind::Permanent,
        Code::DISABLED_APPLICATION,
        "the application is disabled; ask the tenant's administrator",
    ),
    Aadsts::new(
        &[53_003],
        Kind::Permanent,
        Code::CONDITIONAL_ACCESS,
        "a policy forbids this workload to access the resource; ask the tenant's administrator",
    ),
    Aadsts::new(
        &[501_051, 50_105],
        Kind::Permanent,
        Code::NOT_ASSIGNED,
        "the resource requires an assignment and {client} has none; assign an app role of the resource to its service \
         principal",
    ),
    Aadsts::new(
        &[7_000_215],
        Kind::Permanent,
        Code::WRONG_CLIENT_SECRET,
        "the client secret is wrong; use its value, not its ID",
    ),
    Aadsts::new(
        &[7_000_222],
        Kind::Permanent,
        Code::EXPIRED_CLIENT_SECRET,
        "the client secret has expired",
    ),
    Aadsts::new(
        &[7_000_214, 7_000_277],
        Kind::Permanent,
        Code::REVOKED_CERTIFICATE,
        "the certificate is revoked; use another one, and register it with `az ad app credential reset --id {client} \
         --cert @CERTIFICATE.pem --append`",
    ),
    Aadsts::new(
        &[1_000_502],
        Kind::Permanent,
        Code::EXPIRED_CERTIFICATE,
        "the certificate is expired or not yet valid; use another one, and register it with `az ad app credential reset \
         --id {client} --cert @CERTIFICATE.pem --append`",
    ),
];
