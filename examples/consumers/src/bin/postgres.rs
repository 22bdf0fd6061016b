//! Prints the user and the version of an Azure Database for PostgreSQL.
//!
//! ```text
//! cargo run --package consumers --bin postgres -- \
//!     "host=NAME.postgres.database.azure.com dbname=postgres user=IDENTITY"
//! ```
#![allow(clippy::print_stdout, reason = "prints the result")]

use std::error::Error;

use consumers::postgres::{Pool, TokenManager};
use entra_workload::WorkloadIdentityCredential;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let settings = std::env::args()
        .nth(1)
        .ok_or("usage: postgres CONNECTION_STRING")?;
    let mut config: Config = settings.parse()?;
    // The token is a password: never without TLS.
    config.ssl_mode(SslMode::Require);

    let credential = WorkloadIdentityCredential::from_env()?;
    let pool = Pool::builder(TokenManager::new(credential, config)?)
        .max_size(16)
        .build()?;

    let client = pool.get().await?;
    let row = client
        .query_one("SELECT current_user::text, version()", &[])
        .await?;
    println!("{}\n{}", row.get::<_, String>(0), row.get::<_, String>(1));
    Ok(())
}
