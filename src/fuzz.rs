//! Entry points for fuzz targets, compiled under `--cfg fuzzing` only. Not public API.
#![allow(
    clippy::panic,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a finding is a panic"
)]

use std::ffi::OsStr;
use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::assertion::jwt::Claims;
use crate::challenge::BearerChallenge;
use crate::credential::WorkloadIdentityCredential;
use crate::env::Environment;
use crate::error::Error;
use crate::exchange;

/// * `data`: a status in two bytes, then a body.
pub fn reply(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk() else {
        return;
    };
    let status = 200 + u16::from_be_bytes(*status) % 400;
    let mut reply = Response::new(Bytes::copy_from_slice(body));
    if let Ok(status) = status.try_into() {
        *reply.status_mut() = status;
    }
    if let Err(error) = exchange::fuzz::read_reply(reply, &format!("{HEADER_AND_CLAIMS}{SIGNATURE}")) {
        hides_signature(&error);
    }
}

/// * `data`: the content of a token file.
pub fn jwt(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        shows(&Claims::read(text).map(drop));
    }
}

/// * `data`: `name:value`, one a line.
pub fn retry_after(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.split_first().map(|(_, value)| value).unwrap_or_default();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.insert(name, value);
        }
    }
    exchange::fuzz::read_retry_after(&headers, std::time::SystemTime::UNIX_EPOCH);
}

/// * `data`: the value of a `WWW-Authenticate` header.
pub fn challenge(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let headers = HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, value)]);
    if let Some(challenge) = BearerChallenge::from_headers(&headers) {
        shows(&challenge.claims().map(drop));
        let _ = (challenge.tenant_id(), challenge.scope());
    }
}

/// * `data`: `NAME=value`, one a line.
pub fn environment(data: &[u8]) {
    let variables = data.split(|byte| *byte == b'\n').filter_map(|line| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=')?);
        let value = value.split_first().map(|(_, value)| value).unwrap_or_default();
        Some((String::from_utf8(name.to_vec()).ok()?, os_str(value).to_owned()))
    });
    let environment: Environment = variables.collect();
    shows(&environment);
    match WorkloadIdentityCredential::builder()
        .environment(environment)
        .build()
    {
        Ok(credential) => shows(&credential),
        Err(error) => shows(&error),
    }
}

#[cfg(unix)]
fn os_str(bytes: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

#[cfg(not(unix))]
fn os_str(bytes: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(bytes).unwrap_or_default())
}

fn shows(it: &impl Debug) {
    std::hint::black_box(format!("{it:?}"));
}

/// No text of an error, nor of what lies under it, holds a longer part of the assertion's signature. (A short one may: it could be
/// any word, and tells nothing.)
fn hides_signature(error: &Error) {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let shown = format!("{error} {error:?}");
        for part in SIGNATURE.as_bytes().chunks(64) {
            let part = std::str::from_utf8(part).unwrap_or(SIGNATURE);
            assert!(
                !shown.contains(part) || part.len() < 64,
                "the signature is shown: {shown}"
            );
        }
        next = error.source();
    }
}

/// {"alg":"RS256"} . {"iss":"https://issuer/","sub":"planted"} .
const HEADER_AND_CLAIMS: &str =
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci8iLCJzdWIiOiJwbGFudGVkIn0.";

/// As long as those of RS256.
const SIGNATURE: &str = "bjQLnP-zepicpUTmu3gKLHiQHT-zNzh2hRGjBhevoB1L9RIvNEVUxTveLruM0rfj0WAK1jHDhaXXzOI8d4VFmtvBtMkA_-SNV1tdpcY4BAEl9l2w_j4kSUt26phkV9mGCE_tCLl4r019GWp0RqhrWACeY2thHbFiEbZamq3_KcXlLZxQjFAjRzRNjAetkcvWBor8df9ikvBioJyjgcieced7mprp4wsNvbb1EKJk753ngVAde2uSronrBZxat0PbZ1humPrSfaC5lovAOaHvNMk5ubjlI6i--J1HhgjF7PbKNYdY9tJ-bPRScpN5d6dI_Yg5HbZ5ztp9x78fAF7oeQ";
