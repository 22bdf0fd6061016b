use serde::Deserialize;
use serde_json::{Map, Value};

use super::error_response::ErrorResponse;

/// The parameter `claims` of a token request: a JSON object with the required claims. Only the claims below
/// have an effect.
#[derive(Default, Deserialize)]
pub(super) struct ClaimsRequest {
    access_token: Option<AccessTokenClaims>,
}

#[derive(Deserialize)]
struct AccessTokenClaims {
    xms_cc: Option<Capabilities>,
    nbf: Option<NotBefore>,
}

#[derive(Deserialize)]
struct Capabilities {
    values: Vec<String>,
}

/// The token must be issued at this time or later.
#[derive(Deserialize)]
struct NotBefore {
    /// In seconds since the Unix epoch.
    value: String,
    #[serde(default)]
    essential: bool,
}

impl ClaimsRequest {
    /// * `text`: the parameter, if there is one.
    /// * `now`: when the token is issued, in seconds since the Unix epoch.
    pub(super) fn parse(text: Option<&str>, now: u64) -> Result<Self, ErrorResponse> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        // A derived `Deserialize` accepts an array too.
        let claims: Self = serde_json::from_str::<Map<String, Value>>(text)
            .and_then(|claims| serde_json::from_value(Value::Object(claims)))
            .map_err(|_| malformed())?;
        let not_before = claims
            .access_token
            .as_ref()
            .and_then(|claims| claims.nbf.as_ref());
        if let Some(NotBefore { value, essential }) = not_before {
            let not_before: u64 = value.parse().map_err(|_| malformed())?;
            if *essential && not_before > now {
                return Err(malformed());
            }
        }
        Ok(claims)
    }

    /// Whether the client declares the capability to handle claims challenges.
    pub(super) fn handles_claims_challenges(&self) -> bool {
        let claims = self.access_token.as_ref();
        claims
            .and_then(|claims| claims.xms_cc.as_ref())
            .is_some_and(|capabilities| {
                let mut values = capabilities.values.iter();
                values.any(|value| value.eq_ignore_ascii_case("cp1"))
            })
    }
}

/// The code for it is not documented; this is the general one.
fn malformed() -> ErrorResponse {
    ErrorResponse::new(90_023, "The authentication service request is not valid.")
}
