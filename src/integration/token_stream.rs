use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tokio::runtime::{self, Handle};

use crate::clock::{Clock, Moment, SystemClock};
use crate::credential::Credential;
use crate::error::Error;
use crate::token::{AccessToken, TokenRequest};

/// The tokens of a credential for a scope, one after another: the first one, and a new one at
/// each refresh.
///
/// It is for connections that outlive a token and must authenticate again before it expires, such
/// as those of Redis. Programs that send a token with each request do not need it.
///
/// * A new token arrives when the credential refreshes: for a token of Entra, about half its
///   lifetime before it expires. If the credential has a token whose refresh time is its expiry,
///   the stream asks for the next one at least three minutes before, or after half the remaining
///   time if that is less.
/// * The stream never ends. When the credential fails or panics, it keeps asking, after 1 s and then at up to
///   30 s, or later if the server says so. [`last_error`](Self::last_error) has the reason. To find
///   a wrong setting at start-up, call [`Credential::token`] once before.
/// * It starts no task: it does its work while [`next`](Self::next) is awaited or the stream is
///   polled. A runtime may end meanwhile, and another one continue.
/// * Each stream has its own state. Two streams of one credential cause one token request.
///
/// It is a [`Stream`] and has an inherent `next`, so that no other crate is needed.
///
/// # Examples
///
/// ```
/// use entra_workload::{Credential, TokenStream};
/// # use entra_workload::{AccessToken, Error, TokenRequest};
/// # use std::time::{Duration, SystemTime};
/// # #[derive(Debug)] struct FixedToken;
/// # #[async_trait::async_trait] impl Credential for FixedToken {
/// #     async fn token_for(&self, _: &TokenRequest<'_>) -> Result<AccessToken, Error> {
/// #         Ok(AccessToken::new("a-token", SystemTime::now() + Duration::from_secs(3600)))
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let credential = std::sync::Arc::new(FixedToken);
/// let mut tokens = TokenStream::new(credential, "https://redis.azure.com/.default");
/// let first = tokens.next().await; // then `AUTH`, and again for each further token
/// assert_eq!(first.secret(), "a-token");
/// # }
/// ```
pub struct TokenStream {
    source: Arc<Source>,
    last: Option<Last>,
    last_error: Option<Error>,
    /// How often the credential had no new token since it was due.
    misses: u32,
    /// When the credential is asked next; at once if absent.
    ask_at: Option<Moment>,
    /// Kept when `next` is dropped. The mutex is never locked: it makes the stream `Sync`.
    step: Mutex<Option<Step>>,
}

/// The last token that the stream returned.
struct Last {
    token: AccessToken,
    expires_at: Moment,
}

/// Waits until the credential is to be asked, and asks it.
struct Step {
    /// The runtime that its timers belong to.
    runtime: runtime::Id,
    future: Pin<Box<dyn Future<Output = Result<AccessToken, Error>> + Send>>,
}

#[derive(Debug)]
struct Source {
    credential: Arc<dyn Credential>,
    scope: String,
    clock: Arc<dyn Clock>,
}

impl TokenStream {
    /// Creates a stream of the tokens of `credential`.
    ///
    /// * `scope`: `{resource}/.default`.
    pub fn new(credential: Arc<dyn Credential>, scope: impl Into<String>) -> Self {
        Self::create(credential, scope.into(), Arc::new(SystemClock::new()))
    }

    /// Creates a stream that reads the time from `clock`: that of the credential, if it has one of
    /// its own.
    ///
    /// * `scope`: as in [`new`](Self::new).
    #[cfg(feature = "test-util")]
    pub fn with_clock(credential: Arc<dyn Credential>, scope: impl Into<String>, clock: impl Clock) -> Self {
        Self::create(credential, scope.into(), Arc::new(clock))
    }

    fn create(credential: Arc<dyn Credential>, scope: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            source: Arc::new(Source {
                credential,
                scope,
                clock,
            }),
            last: None,
            last_error: None,
            misses: 0,
            ask_at: None,
            step: Mutex::new(None),
        }
    }

    /// Waits for the next token: the first time for any, then for one that differs from the last.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no token: the next call continues.
    pub async fn next(&mut self) -> AccessToken {
        poll_fn(|context| self.poll_token(context)).await
    }

    /// Returns the error of the last try, if the credential has returned no token since.
    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    fn poll_token(&mut self, context: &mut Context<'_>) -> Poll<AccessToken> {
        let runtime = Handle::current().id();
        loop {
            let result = {
                let step = self.step.get_mut().unwrap_or_else(PoisonError::into_inner);
                // Timers of another runtime never fire if nobody runs it any more, and panic if it has ended.
                step.take_if(|step| step.runtime != runtime);
                let step_in_progress = step.get_or_insert_with(|| {
                    let last = self.last.as_ref().map(|last| last.token.clone());
                    let future = self.source.clone().next_token(last, self.ask_at);
                    Step {
                        runtime,
                        future: Box::pin(future),
                    }
                });
                let result = std::task::ready!(step_in_progress.future.as_mut().poll(context));
                *step = None;
                result
            };
            let now = self.source.clock.now();
            let retry_after = match result {
                Ok(token) => {
                    self.last_error = None;
                    if !self
                        .last
                        .as_ref()
                        .is_some_and(|last| is_same(&last.token, &token))
                    {
                        self.misses = 0;
                        self.ask_at = Some(due(&token, now));
                        self.last = Some(Last {
                            token: token.clone(),
                            expires_at: at(token.expires_on(), now),
                        });
                        return Poll::Ready(token);
                    }
                    None
                }
                Err(error) => {
                    tracing::debug!(error = %error, "no token for the stream; trying again");
                    let retry_after = error.retry_after();
                    self.last_error = Some(error);
                    retry_after
                }
            };
            self.misses = self.misses.saturating_add(1);
            let remaining = self.last.as_ref().map(|last| left(last.expires_at, now));
            self.ask_at = Some(now + pause(self.misses, remaining.unwrap_or_default(), retry_after));
        }
    }
}

/// Never ends.
impl Stream for TokenStream {
    type Item = AccessToken;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AccessToken>> {
        self.get_mut().poll_token(context).map(Some)
    }
}

impl fmt::Debug for TokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenStream")
            .field("credential", &self.source.credential)
            .field("scope", &self.source.scope)
            .field("last", &self.last.as_ref().map(|last| &last.token))
            .field("last_error", &self.last_error)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Waits until `ask_at`, and asks the credential. Returns a token at once if the cache of the credential
    /// holds another one than `last` before, for example because a service rejected that.
    async fn next_token(
        self: Arc<Self>,
        last: Option<AccessToken>,
        ask_at: Option<Moment>,
    ) -> Result<AccessToken, Error> {
        let request = TokenRequest::from(self.scope.as_str());
        if let Some(ask_at) = ask_at {
            // The timers of the runtime stop while a machine is suspended, and the wall clock may be set, so
            // the time is read again from time to time.
            loop {
                let left = left(ask_at, self.clock.now());
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
                let cached = catch_unwind(AssertUnwindSafe(|| self.credential.cached(&request)));
                let cached = cached.ok().flatten();
                if let Some(other) =
                    cached.filter(|cached| last.as_ref().is_some_and(|last| !is_same(last, cached)))
                {
                    return Ok(other);
                }
            }
        }
        let mut token = self.credential.token(request.scopes());
        poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| token.as_mut().poll(context)))
                .unwrap_or_else(|_| Poll::Ready(Err(Error::assertion("the credential panicked"))))
        })
        .await
    }
}

/// Returns when the successor of a token is due. Not at once, also if the token has expired: a credential without a
/// cache would request one token after another.
fn due(token: &AccessToken, now: Moment) -> Moment {
    let remaining = left(at(token.expires_on(), now), now);
    let reserve = RESERVE.min(remaining / 2);
    let due = at(token.refresh_on().min(token.expires_on() - reserve), now);
    let first = now + FIRST_PAUSE;
    if due.since(now) < FIRST_PAUSE { first } else { due }
}

/// Returns the moment of a wall time that is known now, whatever the wall clock is set to later.
fn at(time: SystemTime, now: Moment) -> Moment {
    now + time.duration_since(now.system_time).unwrap_or_default()
}

/// Returns the time until either clock has reached `deadline`.
fn left(deadline: Moment, now: Moment) -> Duration {
    let on_the_wall = deadline.system_time.duration_since(now.system_time);
    deadline.since(now).min(on_the_wall.unwrap_or_default())
}

/// Returns whether both are the same token, by identity or by text: a credential without a cache
/// may return the text of one token again and again.
fn is_same(one: &AccessToken, other: &AccessToken) -> bool {
    one.is_same_token(other) || one.secret() == other.secret()
}

/// Returns the pause before the next try.
///
/// * `remaining`: until the last token expires; zero if there is none.
fn pause(misses: u32, remaining: Duration, retry_after: Option<Duration>) -> Duration {
    let mut pause = FIRST_PAUSE
        .saturating_mul(1 << misses.saturating_sub(1).min(5))
        .min(LONGEST_SLEEP);
    if !remaining.is_zero() {
        // Several tries before a token of a few seconds expires.
        pause = pause.min(remaining / 4).max(FIRST_PAUSE);
    }
    pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
}

/// Azure Cache for Redis recommends to send the next token at least three minutes before the
/// expiry. Source: <https://learn.microsoft.com/azure/redis/entra-for-authentication>.
const RESERVE: Duration = Duration::from_secs(180);

/// A refresh in the background usually takes less.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The time after which a suspension of the machine is noticed; costs a cached read.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// As in the cache.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures::FutureExt;

    use super::*;

    /// A credential without a cache, on a machine whose clock is fast.
    #[derive(Debug)]
    struct AlwaysExpired;

    #[async_trait]
    impl Credential for AlwaysExpired {
        async fn token_for(&self, _: &TokenRequest<'_>) -> Result<AccessToken, Error> {
            let text = fastrand::u64(..).to_string();
            Ok(AccessToken::new(text, SystemTime::UNIX_EPOCH))
        }
    }

    #[tokio::test]
    async fn token_that_has_expired_is_not_replaced_at_once() {
        let mut tokens = TokenStream::new(Arc::new(AlwaysExpired), "scope");
        assert!(tokens.next().now_or_never().is_some());
        assert!(tokens.next().now_or_never().is_none());
    }
}
