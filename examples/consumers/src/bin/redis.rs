//! Increments a counter in an Azure Cache for Redis once a minute, over one connection, for as long
//! as it runs.
//!
//! ```text
//! cargo run --package consumers --bin redis -- rediss://NAME.redis.cache.windows.net:6380 OBJECT_ID
//! ```
#![allow(clippy::print_stdout, reason = "prints the result")]

use std::error::Error;
use std::time::Duration;

use consumers::redis::{RedisTokens, SCOPE};
use entra_workload::WorkloadIdentityCredential;
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(object_id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: redis URL OBJECT_ID".into());
    };
    // `redis` uses the process-wide provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let credential = WorkloadIdentityCredential::from_env()?;
    credential.token(&[SCOPE]).await?; // a wrong setting ends the program here

    let tokens = RedisTokens::new(credential, object_id);
    let config = AsyncConnectionConfig::new().set_credentials_provider(tokens);
    let client = Client::open(url)?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    loop {
        let count: u64 = connection.incr("entra-workload", 1).await?;
        println!("{count}");
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}
