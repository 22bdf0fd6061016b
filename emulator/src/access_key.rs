use std::fmt;
use std::io;

use super::crypto;

/// A random text that only programs of this user get. Other users of the machine can reach loopback, too.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AccessKey(String);

impl AccessKey {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        crypto::default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Self(format!("{:032x}", u128::from_ne_bytes(bytes))))
    }

    /// Hexadecimal digits, which need no quotes in a URL.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
