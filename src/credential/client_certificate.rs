use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::options::ClientOptions;
use super::{client_options, credential};
use crate::assertion::{CertificateOrigin, ClientCertificate};
use crate::bounded_file::FileReader;
use crate::cache::Cache;
use crate::env::{AZURE_CLIENT_CERTIFICATE_PATH, External};
use crate::error::Error;
use crate::exchange::ClientAuthentication;
use crate::token::Secret;

/// Gets tokens for an application with a certificate that is registered for it.
///
/// Each token request is signed with the certificate's key, which never leaves the process. In a
/// pod, use [`WorkloadIdentityCredential`](crate::WorkloadIdentityCredential) instead.
///
/// The certificate and its RSA key (2048 to 4096 bits) are in one file. It is read for each token
/// request, so a renewed certificate needs no restart. While the file cannot be used, the
/// certificate that was read before is used, and a warning is logged.
///
/// | format | needs |
/// | --- | --- |
/// | PEM blocks in any order; the key is PKCS#8 or PKCS#1, not encrypted | |
/// | PKCS#12 (`.pfx`, `.p12`) with AES, or with the older 3DES and RC2 | the feature `pkcs12`, which is off by default |
///
/// Without that feature, convert PKCS#12 to PEM: `openssl pkcs12 -noenc -in app.pfx -out app.pem`.
///
/// | variable | meaning |
/// | --- | --- |
/// | `AZURE_CLIENT_CERTIFICATE_PATH` | the path of the file |
/// | `AZURE_CLIENT_CERTIFICATE_PASSWORD` | its password, if it is PKCS#12 with one |
/// | `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN` | `1` or `true`: send the certificate chain, for applications that trust a subject name and an issuer |
///
/// # Examples
///
/// ```no_run
/// use entra_workload::ClientCertificateCredential;
///
/// let credential = ClientCertificateCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .certificate_path("/etc/app/identity.pem")
///     .build()?;
/// # Ok::<(), entra_workload::Error>(())
/// ```
///
/// Source: Microsoft identity platform, "Certificate credentials".
#[derive(Debug)]
pub struct ClientCertificateCredential(Cache);

impl ClientCertificateCredential {
    /// Returns a builder. Its options override environment variables.
    pub fn builder() -> ClientCertificateCredentialBuilder {
        ClientCertificateCredentialBuilder::default()
    }
}

credential!(ClientCertificateCredential);

/// Builds a [`ClientCertificateCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::ClientCertificateCredential;
///
/// let credential = ClientCertificateCredential::builder()
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .certificate_path("/etc/app/identity.pem")
///     .send_certificate_chain()
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct ClientCertificateCredentialBuilder {
    options: ClientOptions,
    certificate: Option<CertificateOrigin>,
    password: Option<Secret>,
    sends_chain: bool,
}

impl ClientCertificateCredentialBuilder {
    /// Sets the file with the certificate and its key. It does not have to exist yet. Default:
    /// `AZURE_CLIENT_CERTIFICATE_PATH`.
    #[must_use]
    pub fn certificate_path(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.certificate = (!path.as_os_str().is_empty())
            .then(|| CertificateOrigin::File(External::path(path), FileReader::default()));
        self
    }

    /// The certificate and its key, instead of a file: PEM, or PKCS#12 with the feature `pkcs12`.
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(Zeroizing::new(certificate.into()));
        self.certificate = Some(CertificateOrigin::Bytes(bytes));
        self
    }

    /// Sets the password of a PKCS#12 file. Default: `AZURE_CLIENT_CERTIFICATE_PASSWORD`. A PEM file
    /// needs none: encrypted PEM keys are not supported.
    #[cfg(feature = "pkcs12")]
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sends the certificate and its issuers (`x5c`), for applications with subject name and issuer
    /// authentication. Default: `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN`, or off if that is not set.
    #[must_use]
    pub fn send_certificate_chain(mut self) -> Self {
        self.sends_chain = true;
        self
    }

    /// Builds the credential. Does no I/O: the file is read at the first call, which fails with
    /// [`ErrorKind::Assertion`](crate::ErrorKind::Assertion) if the file cannot be read, and with
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if its content is invalid.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the certificate, the client
    /// ID or the tenant ID is missing, or if one of the IDs or the authority host is invalid.
    pub fn build(mut self) -> Result<Arc<ClientCertificateCredential>, Error> {
        let environment = self.options.take_environment();
        let variables = environment.client_certificate()?;
        let origin = self
            .certificate
            .or_else(|| {
                Some(CertificateOrigin::File(
                    variables.path?,
                    environment.file_reader(),
                ))
            })
            .ok_or_else(|| {
                Error::configuration(format!(
                    "{AZURE_CLIENT_CERTIFICATE_PATH} is not set; set it or call .certificate_path(..)"
                ))
            })?;
        let certificate = ClientCertificate::new(
            origin,
            self.password.or(variables.password),
            self.sends_chain || variables.sends_chain,
            self.options.clock(),
        );
        let client = self.options.client(&environment)?;
        let authentication = ClientAuthentication::Assertion(Arc::new(certificate));
        let cache = self.options.build(client, authentication, &environment)?;
        Ok(Arc::new(ClientCertificateCredential(cache)))
    }
}

client_options!(ClientCertificateCredentialBuilder, client_id);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn build_requires_a_certificate_and_does_not_read_it() {
        let builder = || {
            ClientCertificateCredential::builder()
                .environment(crate::Environment::default())
                .tenant_id("contoso.com")
                .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
        };
        for builder in [builder(), builder().certificate_path("")] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(
                error
                    .to_string()
                    .starts_with("AZURE_CLIENT_CERTIFICATE_PATH is not set"),
                "{error}"
            );
        }
        let builder = builder().certificate("planted");
        #[cfg(feature = "pkcs12")]
        let builder = builder.password("planted");
        assert!(!format!("{builder:?}").contains("planted"), "{builder:?}");
        let credential = builder.build().unwrap();
        assert!(!format!("{credential:?}").contains("planted"), "{credential:?}");
    }
}
