use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};

use super::error_response::ErrorResponse;
use super::header::{self, set};
use super::request::BlobRequest;
use super::response::respond;
use super::state::State;
use super::xml::{self, element};
use crate::bearer::Claims;

impl State {
    pub(super) fn handle_account(
        &self,
        request: &BlobRequest<'_>,
        account: &str,
        caller: &Claims,
        now: SystemTime,
    ) -> Result<Response<Bytes>, ErrorResponse> {
        match (request.method, request.parameter("comp")) {
            (&Method::GET, Some("list")) => self.list(request, account),
            (&Method::POST, Some("userdelegationkey")) => user_delegation_key(request, caller, now),
            (&Method::GET | &Method::HEAD, Some("properties"))
                if request.parameter("restype") == Some("account") =>
            {
                let mut headers = HeaderMap::new();
                set(&mut headers, "x-ms-sku-name", "Standard_LRS");
                set(&mut headers, "x-ms-account-kind", "StorageV2");
                set(&mut headers, "x-ms-is-hns-enabled", "false");
                Ok(respond(StatusCode::OK, headers, Bytes::new()))
            }
            _ => Err(ErrorResponse::not_implemented()),
        }
    }
}

/// Returns a key whose signatures nobody accepts here: the emulator refuses every SAS.
///
/// Source: Get User Delegation Key.
fn user_delegation_key(
    request: &BlobRequest<'_>,
    caller: &Claims,
    now: SystemTime,
) -> Result<Response<Bytes>, ErrorResponse> {
    let invalid =
        || ErrorResponse::bad_request("InvalidXmlDocument", "XML specified is not syntactically valid.");
    let body = std::str::from_utf8(request.body).map_err(|_| invalid())?;
    let field = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let expiry = field("Expiry").ok_or_else(invalid)?;
    let start = field("Start").unwrap_or_else(|| crate::time::rfc3339(now));
    let mut value = [0; 32];
    fastrand::fill(&mut value);
    let version = request.header(header::VERSION).unwrap_or_default();
    let fields = [
        ("SignedOid", caller.oid.as_str()),
        ("SignedTid", caller.tid.as_str()),
        ("SignedStart", &start),
        ("SignedExpiry", &expiry),
        ("SignedService", "b"),
        ("SignedVersion", version),
        ("Value", &STANDARD.encode(value)),
    ];
    let fields = fields.map(|(name, value)| element(name, value)).concat();
    let key = format!("<UserDelegationKey>{fields}</UserDelegationKey>");
    Ok(xml::respond(StatusCode::OK, HeaderMap::new(), &key))
}
