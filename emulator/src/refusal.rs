use bytes::Bytes;
use http::Response;
use serde_json::Value;

/// Returns what an error response says, in one line: the code and the text. They can repeat what a client has sent, so control
/// characters and others that are not seen become `\u{1b}` and the like.
pub(super) fn reason(response: &Response<Bytes>) -> Option<String> {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return None;
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Ok(body) = serde_json::from_slice::<Value>(response.body()) {
        let inner = body.get("error").filter(|error| error.is_object());
        let reason = match inner {
            Some(error) => join(text(error, "code"), text(error, "message")),
            None => text(&body, "error_description")
                .or_else(|| text(&body, "message"))
                .or_else(|| text(&body, "error")),
        };
        return reason.map(|reason| first_line(&reason));
    }
    let body = std::str::from_utf8(response.body()).ok()?;
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_owned())
    };
    join(element("Code"), element("Message")).map(|reason| first_line(&reason))
}

fn join(code: Option<String>, message: Option<String>) -> Option<String> {
    match (code, message) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    }
}

/// Without the IDs of the request, which are in no other place.
fn first_line(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    escape(text.split(" Trace ID:").next().unwrap_or_default().trim())
}

/// Shows what a terminal would act on or not show, in a bounded text. `"`, `'` and `\` stay, so a second time changes nothing.
pub(super) fn escape(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MAX_CHARACTERS) {
        if matches!(c, '"' | '\'' | '\\') {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    shown
}

/// More than any refusal has that does not repeat an absurd value.
const MAX_CHARACTERS: usize = 4096;
