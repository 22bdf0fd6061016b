use http::StatusCode;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::exchange::ServerText;
use crate::token::Secret;

/// The reason of a managed identity endpoint for a response without a token, redacted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{description}")]
pub(super) struct Reason {
    /// The OAuth error. Only the metadata service sends one.
    code: Option<String>,
    description: String,
}

impl Reason {
    /// Reads a body: JSON with `error` and `error_description` from the metadata service, JSON with
    /// `message` from App Service, or any text.
    ///
    /// * `secret`: what was sent; a text that contains a part of it is dropped.
    pub(super) fn read(body: &[u8], secret: &Secret) -> Self {
        let redact = |text: &str| ServerText::new(text, secret).map(|text| text.to_string());
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |name| json.get(name).and_then(Value::as_str);
        let text = String::from_utf8_lossy(body);
        let description = member("error_description").or(member("message"));
        let is_code = |code: &String| code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        Self {
            code: member("error").and_then(redact).filter(is_code),
            description: redact(description.unwrap_or(&text)).unwrap_or_default(),
        }
    }

    /// Returns whether the requested identity is not assigned to the machine.
    pub(super) fn is_identity_not_found(&self) -> bool {
        let is_start = |text: &&str| self.description.starts_with(text);
        IDENTITY_NOT_FOUND.iter().any(is_start)
    }

    /// Returns whether the proxy of Docker Desktop has responded: it cannot reach the address.
    pub(super) fn is_unreachable(&self) -> bool {
        self.description.contains("unreachable")
    }

    /// Converts the reason of a response with status 400 into an error.
    pub(super) fn rejected(&self) -> Error {
        let aadsts = self.aadsts_code();
        let code = self.code.as_ref().map(|code| format!(" with {code}"));
        let number = aadsts.map(|number| format!(", AADSTS{number}"));
        let hint = if self.description.starts_with(SEVERAL_IDENTITIES) {
            "; this machine has several user-assigned identities, so set the ID of one"
        } else if self.code.as_deref() == Some("invalid_resource") {
            "; check the scope's spelling, and that the tenant has a service principal for its resource"
        } else {
            ""
        };
        let message = format!(
            "the managed identity endpoint rejected the request{}{} (status 400){hint}",
            code.unwrap_or_default(),
            number.unwrap_or_default(),
        );
        let codes: Vec<u32> = aadsts.into_iter().collect();
        let error = Error::new(ErrorKind::Rejected, message).with_aadsts_codes(codes);
        let error = match &self.code {
            Some(code) => error.with_oauth_error(code),
            None => error,
        };
        self.explain(error, StatusCode::BAD_REQUEST)
    }

    /// Adds the status, and the reason as the source.
    pub(super) fn explain(&self, error: Error, status: StatusCode) -> Error {
        let source = (!self.description.is_empty()).then(|| self.clone());
        error.with_status(status).with_optional_source(source)
    }

    fn aadsts_code(&self) -> Option<u32> {
        let text = self.description.strip_prefix("AADSTS")?;
        text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

/// The descriptions of the metadata service and of App Service. Source: public reports, such as
/// issues 37278 of Azure/azure-sdk-for-net and 2148 of Azure-Samples/azure-search-openai-demo.
const IDENTITY_NOT_FOUND: [&str; 3] = [
    "Identity not found",
    "No Managed Identity found",
    "No User Assigned or Delegated Managed Identity found",
];

/// Source: public reports, such as issue 1410 of Azure/AKS.
const SEVERAL_IDENTITIES: &str = "Multiple user assigned identities exist";
