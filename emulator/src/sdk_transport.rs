use azure_core::http::Transport;

use crate::Emulator;

impl Emulator {
    /// A transport for the clients of the official SDK, which trusts the emulator's certificates and no others; for
    /// `ClientOptions::transport`.
    ///
    /// # Errors
    ///
    /// If there is no HTTP client to be had.
    pub fn sdk_transport(&self) -> azure_core::Result<Transport> {
        let client = reqwest::Certificate::from_pem(self.ca_certificate_pem().as_bytes())
            .and_then(|ca| reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build())
            .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::Other, error))?;
        Ok(Transport::new(std::sync::Arc::new(client)))
    }
}
