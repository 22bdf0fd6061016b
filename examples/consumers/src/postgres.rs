//! PostgreSQL with a token as the password of each new connection.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use entra_workload::Credential;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A pool of connections to Azure Database for PostgreSQL.
pub type Pool = managed::Pool<TokenManager>;

/// Opens the connections of a [`Pool`].
///
/// The server checks a token only when a connection starts, so a connection outlives its token. The
/// credential returns a cached token at once, and refreshes it long before it expires: a new
/// connection never waits for Entra.
pub struct TokenManager {
    credential: Arc<dyn Credential>,
    config: Config,
    tls: MakeRustlsConnect,
}

impl TokenManager {
    /// Opens connections with the tokens of `credential`.
    ///
    /// * `config`: host, database, and as the user the name of the identity in the database. A
    ///   password is ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the system's root certificates cannot be read.
    pub fn new(credential: Arc<dyn Credential>, config: Config) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        Ok(Self::with_tls(credential, config, tls))
    }

    /// Like [`new`](Self::new), with other root certificates.
    pub fn with_tls(credential: Arc<dyn Credential>, config: Config, tls: rustls::ClientConfig) -> Self {
        Self {
            credential,
            config,
            tls: MakeRustlsConnect::new(tls),
        }
    }
}

impl managed::Manager for TokenManager {
    type Type = Client;
    type Error = ConnectError;

    async fn create(&self) -> Result<Client, ConnectError> {
        let token = self.credential.token(&[SCOPE]).await?;
        let mut config = self.config.clone();
        config.password(token.secret());
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // Ends when the client is dropped; its error reaches the client's next query.
        #[expect(
            clippy::disallowed_methods,
            reason = "the rule of the library, which starts no tasks"
        )]
        tokio::task::spawn(connection);
        Ok(client)
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<ConnectError> {
        if client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

impl fmt::Debug for TokenManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenManager")
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// Why there is no new connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The credential has no token.
    Token(entra_workload::Error),
    /// The server is unreachable or refuses the token.
    Server(tokio_postgres::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "no token for the database",
            Self::Server(_) => "no connection to the database",
        })
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Token(error) => Some(error),
            Self::Server(error) => Some(error),
        }
    }
}

impl From<entra_workload::Error> for ConnectError {
    fn from(error: entra_workload::Error) -> Self {
        Self::Token(error)
    }
}

impl From<tokio_postgres::Error> for ConnectError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

/// The scope of Azure Database for PostgreSQL and for MySQL.
pub const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";
