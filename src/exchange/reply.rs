use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value};

use super::refusal::{Problem, Refusal};
use super::{Grant, MAX_LIFETIME};
use crate::clock::Moment;
use crate::transport::{MAX_BODY, retry_after, wipe};

/// Parses a reply of the token endpoint: a token, or the reason why there is none.
///
/// Any input is accepted. Numbers may be JSON numbers or strings, unknown members are ignored, and
/// the status is kept if the body is not JSON.
pub(super) fn grant(reply: Response<Bytes>, requested_at: Moment) -> Result<Grant, Box<Refusal>> {
    let (head, body) = reply.into_parts();
    let refuse = |problem| {
        Box::new(Refusal {
            status: head.status,
            problem,
            retry_after: retry_after::parse(&head.headers, requested_at.system_time),
            trace_id: header(&head.headers, "x-ms-request-id"),
            correlation_id: None,
        })
    };
    if body.len() > MAX_BODY {
        return Err(refuse(Problem::TooLong));
    }
    let parsed = serde_json::from_slice::<Map<String, Value>>(&body);
    wipe(body);
    let Ok(mut members) = parsed else {
        let problem = if head.status.is_redirection() {
            Problem::Redirect
        } else {
            Problem::NotJson
        };
        return Err(refuse(problem));
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(error) = text("error").filter(|error| !error.is_empty()) {
        let description = text("error_description").unwrap_or_default();
        let codes = codes(members.get("error_codes"), &description);
        let mut refusal = refuse(Problem::Refused {
            error,
            codes,
            description,
        });
        refusal.trace_id = text("trace_id").or(refusal.trace_id);
        refusal.correlation_id = text("correlation_id");
        return Err(refusal);
    }
    if head.status != StatusCode::OK {
        return Err(refuse(match text("kind").as_deref() {
            Some("Status") => Problem::KubernetesStatus(text("message").unwrap_or_default()),
            _ => Problem::NoError,
        }));
    }
    if text("token_type").is_some_and(|token_type| !token_type.eq_ignore_ascii_case("bearer")) {
        return Err(refuse(Problem::NotBearer));
    }
    let Some(lifetime) = members
        .get("expires_in")
        .and_then(seconds)
        .filter(|lifetime| !lifetime.is_zero())
    else {
        return Err(refuse(Problem::NoLifetime));
    };
    let lifetime = lifetime.min(MAX_LIFETIME);
    let refresh_in = members
        .get("refresh_in")
        .and_then(seconds)
        .filter(|refresh_in| *refresh_in < lifetime);
    let Some(Value::String(secret)) = members.remove("access_token") else {
        return Err(refuse(Problem::NoToken));
    };
    // Other characters are not allowed in a bearer header (RFC 6750, section 2.1), so a later
    // request would fail.
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse(Problem::NoToken));
    }
    Ok(Grant {
        refresh_in,
        ..Grant::new(secret, requested_at, lifetime)
    })
}

/// Returns the AADSTS codes: `error_codes`, or else the code at the start of the description.
fn codes(error_codes: Option<&Value>, description: &str) -> Vec<u32> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let listed: Vec<u32> = error_codes
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(number)
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let digits = description
        .trim_start()
        .strip_prefix("AADSTS")
        .unwrap_or_default();
    digits
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .into_iter()
        .collect()
}

/// Parses a number of seconds, given as a number or as a string; `None` if it is negative or not a
/// number.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds: f64 = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    if seconds > MAX_LIFETIME.as_secs_f64() {
        return Some(MAX_LIFETIME);
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn read(status: u16, body: &str) -> Result<Grant, Box<Refusal>> {
        let reply = Response::builder()
            .status(status)
            .body(Bytes::from(body.to_owned()))
            .unwrap();
        grant(reply, SystemClock::new().now())
    }

    #[test]
    fn token_is_parsed_with_numbers_in_any_form() {
        for (expires_in, refresh_in, lifetime, refresh) in [
            ("3599", "1800", 3599, Some(1800)),
            (r#""3599""#, r#""1800""#, 3599, Some(1800)),
            ("3599.9", "null", 3599, None),
            ("3599", "3599", 3599, None),
            ("3599", "99999", 3599, None),
            ("3599", "-5", 3599, None),
            ("3599", r#""soon""#, 3599, None),
            ("1e18", "3600", 48 * 3600, Some(3600)),
            (r#""1e18""#, "1e18", 48 * 3600, None),
            ("1e300", r#""1e300""#, 48 * 3600, None),
        ] {
            let body = format!(
                r#"{{"token_type":"Bearer","expires_in":{expires_in},"refresh_in":{refresh_in},"x":[{{}}],"access_token":"t"}}"#
            );
            let grant = read(200, &body).unwrap();
            assert_eq!(grant.token.secret(), "t");
            assert_eq!(grant.lifetime.as_secs(), lifetime, "{body}");
            assert_eq!(
                grant.refresh_in.map(|refresh_in| refresh_in.as_secs()),
                refresh,
                "{body}"
            );
            assert_eq!(
                grant.token.expires_on(),
                grant.requested_at.system_time + grant.lifetime
            );
        }
    }

    #[test]
    fn each_reply_without_a_token_has_its_problem() {
        let refused = |error: &str, codes: &[u32], description: &str| Problem::Refused {
            error: error.into(),
            codes: codes.into(),
            description: description.into(),
        };
        for (status, body, problem) in [
            (200, "", Problem::NotJson),
            (200, "[]", Problem::NotJson),
            (200, "{}", Problem::NoLifetime),
            (200, r#"{"access_token":"t"}"#, Problem::NoLifetime),
            (200, r#"{"expires_in":0,"access_token":"t"}"#, Problem::NoLifetime),
            (
                200,
                r#"{"expires_in":-1,"access_token":"t"}"#,
                Problem::NoLifetime,
            ),
            (
                200,
                r#"{"expires_in":[],"access_token":"t"}"#,
                Problem::NoLifetime,
            ),
            (
                200,
                r#"{"expires_in":"NaN","access_token":"t"}"#,
                Problem::NoLifetime,
            ),
            (200, r#"{"expires_in":9}"#, Problem::NoToken),
            (200, r#"{"expires_in":9,"access_token":7}"#, Problem::NoToken),
            (200, r#"{"expires_in":9,"access_token":""}"#, Problem::NoToken),
            (200, r#"{"expires_in":9,"access_token":"a\nb"}"#, Problem::NoToken),
            (
                200,
                r#"{"expires_in":9,"access_token":"t","token_type":"pop"}"#,
                Problem::NotBearer,
            ),
            (200, r#"{"expires_in":9,"access_token":"t"#, Problem::NotJson),
            (
                200,
                r#"{"error":"server_error"}"#,
                refused("server_error", &[], ""),
            ),
            (201, r#"{"expires_in":9,"access_token":"t"}"#, Problem::NoError),
            (204, "", Problem::NotJson),
            (302, "", Problem::Redirect),
            (403, "<html>no</html>", Problem::NotJson),
            (500, "{}", Problem::NoError),
            (
                401,
                r#"{"error":"invalid_client","error_description":"a\r\nb \u0027q\u0027 \"z\"","error_codes":[700213,7]}"#,
                refused("invalid_client", &[700_213, 7], "a\r\nb 'q' \"z\""),
            ),
            (
                400,
                r#"{"error":"e","error_codes":["90033",-1,{}]}"#,
                refused("e", &[90_033], ""),
            ),
            (
                400,
                r#"{"error":"e","error_codes":7,"error_description":"AADSTS50166: x"}"#,
                refused("e", &[50_166], "AADSTS50166: x"),
            ),
        ] {
            let refusal = read(status, body).unwrap_err();
            assert_eq!(refusal.problem, problem, "{status} {body}");
            assert_eq!(refusal.status, status, "{status} {body}");
        }
    }

    #[test]
    fn body_is_limited_to_256_kib() {
        let token = r#"{"expires_in":9,"access_token":"t"}"#;
        let long = token.to_owned() + &" ".repeat(256 * 1024 - token.len());
        assert_eq!(read(200, &long).unwrap().token.secret(), "t");
        let longer = long + " ";
        assert_eq!(read(200, &longer).unwrap_err().problem, Problem::TooLong);
    }

    #[test]
    fn trace_id_is_from_the_body_or_else_from_the_header() {
        for (body, trace_id) in [
            (r#"{"error":"e","trace_id":"from-the-body"}"#, "from-the-body"),
            (r#"{"error":"e","trace_id":7}"#, "from-the-header"),
            (r#"{"error":"e"}"#, "from-the-header"),
            ("<html>", "from-the-header"),
        ] {
            let reply = Response::builder()
                .status(500)
                .header("x-ms-request-id", "from-the-header")
                .body(Bytes::from(body))
                .unwrap();
            let refusal = grant(reply, SystemClock::new().now()).unwrap_err();
            assert_eq!(refusal.trace_id.as_deref(), Some(trace_id), "{body}");
        }
        assert_eq!(read(500, "<html>").unwrap_err().trace_id, None);
    }

    proptest! {
        #[test]
        fn any_body_is_parsed_without_a_panic(status in 200u16..600, body: Vec<u8>) {
            let reply = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            let _ = grant(reply, SystemClock::new().now());
        }

        #[test]
        fn any_numbers_result_in_a_bounded_lifetime(expires_in: f64, refresh_in: f64) {
            let body = format!(r#"{{"expires_in":{expires_in:e},"refresh_in":{refresh_in:e},"access_token":"t"}}"#);
            if let Ok(grant) = read(200, &body) {
                prop_assert!(grant.lifetime > Duration::ZERO && grant.lifetime <= MAX_LIFETIME);
                prop_assert!(grant.refresh_in.is_none_or(|refresh_in| refresh_in < grant.lifetime));
            }
        }
    }
}
