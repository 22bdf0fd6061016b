//! Redis with tokens: a live connection authenticates again before its token expires.

use std::pin::Pin;
use std::sync::Arc;

use entra_workload::{Credential, TokenStream};
use futures::{Stream, StreamExt as _};
use redis::RedisResult;
use redis::auth::{BasicAuth, StreamingCredentialsProvider};

/// The tokens of a credential, for `AsyncConnectionConfig::set_credentials_provider` of `redis`.
///
/// Each connection subscribes once. It authenticates with the first token, and with each further
/// one as soon as the credential has refreshed it.
#[derive(Clone, Debug)]
pub struct RedisTokens {
    credential: Arc<dyn Credential>,
    username: String,
}

impl RedisTokens {
    /// Uses the tokens of `credential`.
    ///
    /// * `username`: the object ID of the identity (of its service principal, not of the
    ///   application).
    pub fn new(credential: Arc<dyn Credential>, username: impl Into<String>) -> Self {
        Self {
            credential,
            username: username.into(),
        }
    }
}

impl StreamingCredentialsProvider for RedisTokens {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let username = self.username.clone();
        let tokens = TokenStream::new(Arc::clone(&self.credential), SCOPE);
        tokens
            .map(move |token| Ok(BasicAuth::new(username.clone(), token.secret().to_owned())))
            .boxed()
    }
}

/// The scope of Azure Cache for Redis and Azure Managed Redis.
pub const SCOPE: &str = "https://redis.azure.com/.default";
