use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::error_response::ErrorResponse;
use crate::public_host::PublicHost;

/// The blob that a request copies, which is in the account of the request.
pub(super) struct CopySource {
    /// As the request has it.
    pub(super) url: String,
    pub(super) container: String,
    pub(super) blob: String,
}

impl CopySource {
    /// * `account`: that of the request.
    /// * `port`: of the server on loopback, where the account is the first segment of the path.
    pub(super) fn parse(text: &str, account: &str, port: u16) -> Result<Self, ErrorResponse> {
        let url = Url::parse(text).map_err(|_| ErrorResponse::other_account())?;
        let has = |parameters: &[&str]| {
            let mut names = url.query_pairs().map(|(name, _)| name);
            names.any(|name| parameters.contains(&&*name))
        };
        if has(&["sig"]) {
            return Err(ErrorResponse::other_credentials());
        }
        let (container, blob) = blob_in(&url, account, port).ok_or_else(ErrorResponse::other_account)?;
        if has(&["snapshot", "versionid"]) {
            return Err(ErrorResponse::not_implemented());
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        Ok(Self {
            url: text.to_owned(),
            container: decoded(container),
            blob: decoded(blob),
        })
    }
}

/// Returns the container and the name of a blob of the account, still encoded.
fn blob_in<'a>(url: &'a Url, account: &str, port: u16) -> Option<(&'a str, &'a str)> {
    let path = url.path().strip_prefix('/')?;
    let path = match PublicHost::parse(url.host_str()?) {
        Some(PublicHost::BlobAccount(name)) => (name == account).then_some(path),
        Some(_) => None,
        None => {
            let is_loopback = match url.host()? {
                Host::Ipv4(address) => address.is_loopback(),
                Host::Domain(name) => name == "localhost",
                Host::Ipv6(_) => false,
            };
            let is_own = is_loopback && url.port_or_known_default() == Some(port);
            path.strip_prefix(account)?.strip_prefix('/').filter(|_| is_own)
        }
    };
    path?.split_once('/')
}
