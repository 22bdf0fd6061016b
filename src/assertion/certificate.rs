//! Client assertions that the application signs with its own certificate.

mod der;
#[cfg(feature = "pkcs12")]
mod pkcs12;
mod signing_certificate;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::signing_certificate::{Signature, SigningCertificate, Unusable};
use super::{AssertionRequest, ClientAssertion};
use crate::blocking::{self, NO_THREAD, Shared};
use crate::bounded_file::FileReader;
use crate::clock::Clock;
use crate::crypto;
use crate::env::External;
use crate::error::Error;
use crate::guid;
use crate::token::Secret;

/// Signs an assertion for each token request.
///
/// The file is read each time, so that a renewed certificate is used for the next token request. It
/// is parsed only when its content has changed. While it cannot be used, the certificate that was
/// read before is used, and a warning is logged. An expired certificate is left for Entra to
/// reject.
///
/// # Errors
///
/// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if the file cannot be read,
/// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if its content cannot be used.
pub(crate) struct ClientCertificate(Arc<Source>);

impl ClientCertificate {
    pub(crate) fn new(
        origin: CertificateOrigin,
        password: Option<Secret>,
        sends_chain: bool,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Source {
            origin,
            password,
            sends_chain,
            clock,
            reading: Shared::default(),
            last: Mutex::new(None),
        }))
    }
}

#[async_trait]
impl ClientAssertion for ClientCertificate {
    async fn assertion(&self, request: AssertionRequest) -> Result<Secret, Error> {
        let source = Arc::clone(&self.0);
        let loaded = self.0.reading.run(LOAD_LIMIT, move || source.load()).await;
        let loaded = loaded.unwrap_or_else(|error| Err(self.0.origin.unreadable(error)));
        let certificate = self.0.or_last(loaded)?;
        let source = Arc::clone(&self.0);
        blocking::run(move || source.sign(&certificate, &request))
            .await
            .unwrap_or_else(|error| Err(self.0.origin.unreadable(error)))
    }
}

/// Where a certificate and its key come from.
#[derive(Clone)]
pub(crate) enum CertificateOrigin {
    File(External, FileReader),
    Bytes(Arc<Zeroizing<Vec<u8>>>),
}

impl CertificateOrigin {
    fn read(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (path, file_reader) = match self {
            Self::Bytes(bytes) => return Ok(Zeroizing::clone(bytes)),
            Self::File(path, file_reader) => (path, file_reader),
        };
        if let Some(problem) = path.misplaced_content() {
            let message = format!("the path of the client certificate {problem}");
            return Err(Error::assertion(message));
        }
        let bytes = file_reader.read(path.as_path(), MAX_FILE);
        bytes.map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, error: io::Error) -> Error {
        let what = match error.kind() {
            io::ErrorKind::NotFound => "does not exist",
            io::ErrorKind::PermissionDenied => "may not be read by this user",
            io::ErrorKind::IsADirectory => "is a directory; name the file in it",
            io::ErrorKind::InvalidInput => "is not a regular file",
            io::ErrorKind::FileTooLarge => "is longer than 256 KiB: this is no certificate with its key",
            io::ErrorKind::TimedOut => "cannot be read in time; check the file system that holds it",
            NO_THREAD => {
                "cannot be used because no thread can be started; raise the limit of processes of the container"
            }
            _ => "cannot be read",
        };
        Error::assertion(format!("{self} {what}")).with_source(error)
    }
}

impl fmt::Display for CertificateOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => write!(f, "the client certificate {path}"),
            Self::Bytes(_) => f.write_str("the client certificate given to .certificate(..)"),
        }
    }
}

impl fmt::Debug for CertificateOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, _) => f.debug_tuple("File").field(path).finish(),
            Self::Bytes(_) => f.debug_tuple("Bytes").finish_non_exhaustive(),
        }
    }
}

struct Source {
    origin: CertificateOrigin,
    password: Option<Secret>,
    sends_chain: bool,
    clock: Arc<dyn Clock>,
    /// Also makes the key of a password, which takes long, once for all callers.
    reading: Shared<Result<Arc<SigningCertificate>, Error>>,
    last: Mutex<Option<Read>>,
}

impl Source {
    /// Blocks.
    fn sign(&self, certificate: &SigningCertificate, request: &AssertionRequest) -> Result<Secret, Error> {
        let now = self.clock.now().system_time;
        let unix_seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        };
        let claims = json!({
            "aud": request.token_endpoint(),
            "exp": unix_seconds(now) + LIFETIME.as_secs(),
            "iat": unix_seconds(now),
            "iss": request.client_id(),
            "jti": guid::random(),
            "nbf": unix_seconds(now),
            "sub": request.client_id(),
        });
        let how = if request.token_endpoint().ends_with(ADFS_ENDPOINT) {
            Signature::Adfs
        } else {
            Signature::Entra
        };
        certificate
            .sign(how, self.sends_chain, &claims)
            .ok_or_else(|| Error::assertion(format!("{} did not sign the assertion", self.origin)))
    }

    /// Blocks.
    fn load(&self) -> Result<Arc<SigningCertificate>, Error> {
        let read = self.read(self.last().as_ref())?;
        let certificate = Arc::clone(&read.certificate);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(certificate)
    }

    /// Returns the certificate that was read before if the present one cannot be used.
    fn or_last(
        &self,
        loaded: Result<Arc<SigningCertificate>, Error>,
    ) -> Result<Arc<SigningCertificate>, Error> {
        let error = match loaded {
            Ok(certificate) => return Ok(certificate),
            Err(error) => error,
        };
        let last = self.last().ok_or_else(|| error.clone())?;
        tracing::warn!(%error, "using the client certificate that was read before");
        Ok(last.certificate)
    }

    fn last(&self) -> Option<Read> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self, last: Option<&Read>) -> Result<Read, Error> {
        let bytes = self.origin.read()?;
        let digest = Sha256::digest(&bytes).into();
        if let Some(last) = last.filter(|last| last.digest == digest) {
            return Ok(last.clone());
        }
        let provider = crypto::provider()?;
        let certificate =
            SigningCertificate::parse(&bytes, self.password.as_ref(), &provider).map_err(|unusable| {
                let error = Error::configuration(format!("{} {unusable}", self.origin));
                match unusable {
                    Unusable::BrokenPkcs12(cause) => error.with_source(cause),
                    _ => error,
                }
            })?;
        Ok(Read {
            digest,
            certificate: Arc::new(certificate),
        })
    }
}

/// The last certificate that could be used.
#[derive(Clone)]
struct Read {
    /// SHA-256 of the file, to notice a change without keeping a second copy of the key.
    digest: [u8; 32],
    certificate: Arc<SigningCertificate>,
}

/// A key and a chain in PEM have about 10 KiB. Windows can export all certificates of a store
/// together.
const MAX_FILE: usize = 256 * 1024;

/// Entra recommends 5 to 10 minutes. Source: Microsoft identity platform, "Certificate
/// credentials".
const LIFETIME: Duration = Duration::from_secs(600);

/// Deriving a key from a password takes seconds with a small share of a core. As long as building an HTTP client.
const LOAD_LIMIT: Duration = Duration::from_secs(8);

/// See [`Authority::token_url`](crate::authority::Authority::token_url).
const ADFS_ENDPOINT: &str = "/adfs/oauth2/token";

#[cfg(test)]
mod tests;
