//! Checks that no log line and no error contains a secret, and collects lines.

use std::io;
use std::sync::{Arc, Mutex, Once};

/// From the first call on, ends the process if a log line of any crate at any level contains a
/// secret.
pub fn watch_for_secrets() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(|| Watch)
            .init();
    });
}

/// A writer that checks each line.
struct Watch;

impl io::Write for Watch {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(secret) = secret_in(&String::from_utf8_lossy(line)) {
            eprintln!("secret in the log ({secret}): {}", String::from_utf8_lossy(line));
            std::process::exit(101);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns which kind of secret `text` contains: the word `planted`, which tests put into their
/// secrets, or a JWT.
pub fn secret_in(text: &str) -> Option<&'static str> {
    if text.contains("planted") {
        return Some("planted by a test");
    }
    let is_jwt = |word: &str| word.starts_with("eyJ") && word.len() > 40;
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    words.any(is_jwt).then_some("a JWT")
}

/// Checks that an error and its sources show no secret.
#[track_caller]
pub fn assert_no_secret(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        let shown = format!("{error} {error:?}");
        assert_eq!(secret_in(&shown), None, "{shown}");
        next = error.source();
    }
}

/// The lines of the log of one call, for `tracing_subscriber::fmt()`.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
