use std::fmt::Write as _;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use entra_workload::transport::{HttpTransport, Transport};
use entra_workload::{Code, Error};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// A transport that trusts the root certificates of the system, and those of Mozilla in an image that has
/// none.
#[derive(Debug)]
pub(crate) struct AnyRoots {
    system: HttpTransport,
    mozilla: HttpTransport,
}

impl AnyRoots {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            system: HttpTransport::new(),
            mozilla: HttpTransport::with_root_certificates(mozilla_pem().as_bytes())?,
        })
    }
}

#[async_trait]
impl Transport for AnyRoots {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        match self.system.send(request.clone()).await {
            Err(error) if error.code() == Some(Code::NO_ROOT_CERTIFICATES) => {
                self.mozilla.send(request).await
            }
            sent => sent,
        }
    }
}

/// The root certificates of Mozilla, in lines of 64 characters.
pub(crate) fn mozilla_pem() -> String {
    let mut pem = String::new();
    for certificate in TLS_SERVER_ROOT_CERTS {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let base64 = STANDARD.encode(certificate);
        for line in base64.as_bytes().chunks(64) {
            let _ = writeln!(pem, "{}", String::from_utf8_lossy(line));
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
