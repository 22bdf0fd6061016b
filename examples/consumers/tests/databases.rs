//! Real databases whose password checks verify the tokens of the emulator.
//!
//! `scripts/databases` installs PostgreSQL and Redis and runs these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use consumers::postgres::{Pool, SCOPE, TokenManager};
use consumers::redis::{RedisTokens, SCOPE as REDIS_SCOPE};
use entra_workload::Credential;
use entra_workload_emulator::{Emulator, Endpoint, Fault, Pod};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client};
use support::clock::TestClock;
use support::ldap::LdapServer;
use support::postgres::Postgres;
use support::redis::Redis;
use support::redis_gateway::{Event, RedisGateway};
use support::{credential, credential_at};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// A PostgreSQL whose users are the identities of pods, by the names of their service accounts.
struct Database {
    server: Postgres,
    ldap: LdapServer,
}

impl Database {
    async fn start(emulator: &Emulator, pods: &[(&str, &Pod)]) -> Self {
        let mut users = HashMap::new();
        for (name, pod) in pods {
            users.insert((*name).to_owned(), object_id(emulator, pod, SCOPE).await);
        }
        let names: Vec<_> = pods.iter().map(|(name, _)| *name).collect();
        let verifier = emulator.token_verifier();
        let ldap = LdapServer::start(Arc::new(move |user: &str, password: &str| {
            let audience = SCOPE.trim_end_matches("/.default");
            let caller = verifier
                .verify(password, &[audience])
                .map_err(|error| error.to_string())?;
            if users.get(user).map(String::as_str) == Some(caller.object_id()) {
                return Ok(());
            }
            Err("the token is of another user".to_owned())
        }))
        .await;
        Self {
            server: Postgres::start(ldap.port, &names).await,
            ldap,
        }
    }

    /// Returns a pool of connections of `user` with the tokens of `credential`.
    fn pool(&self, user: &str, credential: Arc<dyn Credential>) -> Pool {
        let manager = TokenManager::with_tls(credential, self.config(user), self.tls());
        Pool::builder(manager).max_size(4).build().unwrap()
    }

    fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.server.port)
            .user(user)
            .dbname("postgres")
            .ssl_mode(SslMode::Require);
        config
    }

    fn tls(&self) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.server.ca_certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn outcomes(&self) -> Vec<Result<(), String>> {
        self.ldap.outcomes.lock().unwrap().clone()
    }
}

/// Returns the object ID of the identity of a pod.
async fn object_id(emulator: &Emulator, pod: &Pod, scope: &str) -> String {
    let token = credential(emulator, pod).token(&[scope]).await.unwrap();
    let audience = scope.trim_end_matches("/.default");
    let caller = emulator
        .token_verifier()
        .verify(token.secret(), &[audience])
        .unwrap();
    caller.object_id().to_owned()
}

async fn current_user(pool: &Pool) -> String {
    let client = pool.get().await.unwrap();
    let row = client.query_one("SELECT current_user::text", &[]).await.unwrap();
    row.get(0)
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run scripts/databases"]
async fn each_new_postgres_connection_sends_a_token_that_is_valid_then() {
    let clock = TestClock::new();
    let emulator = Emulator::builder()
        .clock(clock.wall_time())
        .start()
        .await
        .unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let database = Database::start(&emulator, &[("orders", &pod)]).await;
    let credential = credential_at(&emulator, &pod, clock.clone());
    let first = credential.token(&[SCOPE]).await.unwrap();
    let pool = database.pool("orders", credential);
    assert_eq!(current_user(&pool).await, "orders");

    // The first token expires while a connection of the pool is open.
    let open = pool.get().await.unwrap();
    clock.advance(Duration::from_hours(1));
    pod.rotate().unwrap();
    assert_eq!(current_user(&pool).await, "orders");
    open.query_one("SELECT 1", &[]).await.unwrap();
    assert_eq!(database.outcomes(), [Ok(()), Ok(())], "two connections, no more");

    // What a pool with a fixed password does at this time.
    let mut fixed = database.config("orders");
    fixed.password(first.secret());
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(database.tls());
    let error = fixed.connect(tls).await.err().unwrap();
    assert!(
        error
            .as_db_error()
            .unwrap()
            .message()
            .contains("LDAP authentication failed")
    );
    assert_eq!(
        database.outcomes().pop(),
        Some(Err("the token is expired".to_owned()))
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run scripts/databases"]
async fn postgres_refuses_the_token_of_another_identity() {
    let emulator = Emulator::start().await.unwrap();
    let orders = emulator.pod("shop", "orders").unwrap();
    let billing = emulator.pod("shop", "billing").unwrap();
    let database = Database::start(&emulator, &[("orders", &orders), ("billing", &billing)]).await;
    let error = database
        .pool("orders", credential(&emulator, &billing))
        .get()
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("no connection to the database"),
        "{error}"
    );
    assert_eq!(
        database.outcomes(),
        [Err("the token is of another user".to_owned())]
    );
    assert_eq!(
        current_user(&database.pool("billing", credential(&emulator, &billing))).await,
        "billing"
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run scripts/databases"]
async fn error_of_the_pool_has_the_error_of_the_credential() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let database = Database::start(&emulator, &[("orders", &pod)]).await;
    emulator.entra().disable_application(pod.client_id());
    let error = database
        .pool("orders", credential(&emulator, &pod))
        .get()
        .await
        .err()
        .unwrap();
    let found = entra_workload::Error::find_in(&error).unwrap();
    assert_eq!(found.aadsts_codes(), [7_000_112]);
    assert!(database.outcomes().is_empty());
}

#[tokio::test]
#[ignore = "needs Redis: run scripts/databases"]
async fn live_redis_connection_outlives_its_tokens_and_an_outage() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "cart").unwrap();
    let object_id = object_id(&emulator, &pod, REDIS_SCOPE).await;
    let server = Redis::start().await;
    let mut gateway = RedisGateway::start(server.port, emulator.token_verifier()).await;
    emulator.entra().set_access_token_lifetime(Duration::from_secs(6));

    let tokens = RedisTokens::new(credential(&emulator, &pod), &object_id);
    let config = AsyncConnectionConfig::new().set_credentials_provider(tokens);
    let client = Client::open(format!("redis://127.0.0.1:{}", gateway.port)).unwrap();
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    let whoami: String = redis::cmd("ACL")
        .arg("WHOAMI")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(whoami, object_id);
    let id: u64 = redis::cmd("CLIENT")
        .arg("ID")
        .query_async(&mut connection)
        .await
        .unwrap();

    // Entra is down for one refresh.
    emulator.inject(Endpoint::Entra, Fault::status(503).times(1));
    // Three more tokens of 6 s: the last one arrives when the first has expired.
    let mut authenticated = 0;
    while authenticated < 5 {
        match gateway.events.recv().await.unwrap() {
            Event::Authenticated(1) => authenticated += 1,
            event => panic!("{event:?}"),
        }
        let count: u64 = connection.incr("count", 1).await.unwrap();
        assert!(count > 0);
    }
    let now: u64 = redis::cmd("CLIENT")
        .arg("ID")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(now, id, "the connection is the same");
}

#[tokio::test]
#[ignore = "needs Redis: run scripts/databases"]
async fn redis_refuses_the_token_of_another_identity() {
    let emulator = Emulator::start().await.unwrap();
    let cart = emulator.pod("shop", "cart").unwrap();
    let billing = emulator.pod("shop", "billing").unwrap();
    let user = object_id(&emulator, &cart, REDIS_SCOPE).await;
    let server = Redis::start().await;
    let mut gateway = RedisGateway::start(server.port, emulator.token_verifier()).await;
    let tokens = RedisTokens::new(credential(&emulator, &billing), user);
    let config = AsyncConnectionConfig::new().set_credentials_provider(tokens);
    let client = Client::open(format!("redis://127.0.0.1:{}", gateway.port)).unwrap();
    let result = client.get_multiplexed_async_connection_with_config(&config).await;
    let error = result.err().unwrap();
    assert_eq!(error.kind(), redis::ErrorKind::AuthenticationFailed, "{error}");
    assert_eq!(gateway.events.recv().await, Some(Event::Refused(1)));
}
