use azure_core::http::Transport;

use crate::Emulator;

impl Emulator {
    /// Returns a transport for the clients of the Azure SDK (`ClientOptions::transport`). It trusts
    /// only the CA certificate of the emulator.
    ///
    /// # Errors
    ///
    /// Returns an error if the HTTP client cannot be created.
    ///
    /// # Examples
    ///
    /// ```
    /// use azure_core::http::ClientOptions;
    /// use entra_workload_emulator::Emulator;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let emulator = Emulator::start().await?;
    /// let options = ClientOptions {
    ///     transport: Some(emulator.sdk_transport()?),
    ///     ..Default::default()
    /// };
    /// # drop(options);
    /// # Ok(()) }
    /// ```
    pub fn sdk_transport(&self) -> azure_core::Result<Transport> {
        let client = reqwest::Certificate::from_pem(self.ca_certificate_pem().as_bytes())
            .and_then(|ca| reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build())
            .map_err(|error| azure_core::Error::new(azure_core::error::ErrorKind::Other, error))?;
        Ok(Transport::new(std::sync::Arc::new(client)))
    }
}
