use std::io;

use azure_core::http::Transport;

use crate::{Emulator, http_client};

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
        let client = http_client::builder(self.ca_certificate_pem().as_bytes())
            .and_then(|client| client.build().map_err(io::Error::other))?;
        Ok(Transport::new(std::sync::Arc::new(client)))
    }
}
