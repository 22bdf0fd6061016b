//! What both programs do about the older SDK: keep secrets out of its log, and tell its errors in words.

use std::error::Error;
use std::io;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

/// Warnings go to stderr; `RUST_LOG` asks for more or less, but never for the SDK's requests, which it logs whole from `DEBUG` on:
/// with the token, and with a secret that is being set.
pub(crate) fn log_to_stderr() {
    let asked = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy();
    let harmless = filter_fn(|event| event.level() <= &Level::INFO || !event.target().starts_with("azure_"));
    tracing_subscriber::registry()
        .with(asked)
        .with(harmless)
        .with(tracing_subscriber::fmt::layer().with_writer(io::stderr))
        .init();
}

/// The service's own words for a refusal; the SDK's error has them in the midst of the whole answer.
pub(crate) fn in_words(error: Box<dyn Error>) -> Box<dyn Error> {
    let refusal = error.downcast_ref().and_then(azure_core::Error::as_http_error);
    let words = refusal.map(|refusal| {
        let words = [refusal.error_code(), refusal.error_message()];
        let status = refusal.status().to_string();
        words
            .into_iter()
            .flatten()
            .fold(status, |text, words| format!("{text}: {words}"))
    });
    words.map_or(error, Into::into)
}
