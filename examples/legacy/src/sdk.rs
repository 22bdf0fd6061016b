//! What both programs do about the older SDK: keep secrets out of its log, and print readable errors.

use std::error::Error;
use std::io;

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::prelude::*;

/// Logs warnings to stderr; `RUST_LOG` changes the filter, but never logs the SDK's requests: from
/// `DEBUG` on it logs them whole, with the token and with the value of a secret.
pub(crate) fn log_to_stderr() {
    // A token request that fails is the error that the program prints.
    let default = || EnvFilter::new("warn,entra_workload::cache=error");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    let without_requests =
        filter_fn(|event| event.level() <= &Level::INFO || !event.target().starts_with("azure_"));
    tracing_subscriber::registry()
        .with(filter)
        .with(without_requests)
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
