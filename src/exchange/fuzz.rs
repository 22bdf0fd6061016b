//! Entry points for fuzz targets. Not public API.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{aadsts, reply};
use crate::clock::{Clock as _, SystemClock};
use crate::error::Error;
use crate::token::Secret;

/// Returns what a caller gets for a reply: the token's lifetime, or the error.
pub(crate) fn read_reply(reply: Response<Bytes>, assertion: &str) -> Result<Duration, Error> {
    let presented = aadsts::Presented {
        host: "host",
        has_token_proxy: false,
        tenant_id: "tenant",
        client_id: "client",
        secret: &Secret::from(assertion),
    };
    reply::grant(reply, SystemClock::new().now())
        .map(|grant| grant.lifetime)
        .map_err(|refusal| refusal.into_error(&presented, &crate::guid::random()))
}

pub(crate) fn read_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    crate::transport::retry_after::parse(headers, now)
}
