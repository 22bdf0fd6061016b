use serde_json::{Map, Value, json};

use crate::error::Error;

/// Returns the `claims` of a token request: those that the caller wants, and the capability of continuous
/// access evaluation (`cp1`), which lets services challenge the token.
///
/// Source: Microsoft identity platform, "Claims challenges, claims requests and client capabilities".
pub(super) fn merged(requested: Option<&str>, is_cae_enabled: bool) -> Result<Option<String>, Error> {
    let Some(requested) = requested else {
        return Ok(is_cae_enabled.then(|| CP1.to_owned()));
    };
    let invalid = || {
        Error::configuration(
            "the claims of the token request are not a JSON object; pass the decoded text of the challenge",
        )
    };
    let mut claims: Map<String, Value> = serde_json::from_str(requested).map_err(|_| invalid())?;
    if !is_cae_enabled {
        return Ok(Some(requested.to_owned()));
    }
    let access_token = claims.entry("access_token").or_insert_with(|| json!({}));
    if access_token.is_null() {
        *access_token = json!({});
    }
    let access_token = access_token.as_object_mut().ok_or_else(invalid)?;
    access_token.insert("xms_cc".to_owned(), json!({ "values": ["CP1"] }));
    Ok(Some(Value::Object(claims).to_string()))
}

const CP1: &str = r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn capability_is_added_to_the_requested_claims() {
        let nbf = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
        for (requested, is_cae_enabled, claims) in [
            (None, false, None),
            (None, true, Some(CP1)),
            (Some(nbf), false, Some(nbf)),
            (
                Some(nbf),
                true,
                Some(
                    r#"{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}}}"#,
                ),
            ),
            (Some("{}"), true, Some(CP1)),
            (Some(r#"{"access_token":null}"#), true, Some(CP1)),
        ] {
            assert_eq!(merged(requested, is_cae_enabled).unwrap().as_deref(), claims);
        }
    }

    #[test]
    fn claims_that_are_no_json_object_are_rejected_without_their_text() {
        for requested in [
            "planted",
            "[]",
            "eyJwbGFudGVkIjoxfQ==",
            r#"{"access_token":"planted"}"#,
        ] {
            let error = merged(Some(requested), true).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!format!("{error} {error:?}").contains("planted"));
        }
    }
}
