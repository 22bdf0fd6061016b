use std::sync::Arc;

use super::options::ClientOptions;
use super::{client_options, credential, source};
use crate::assertion::{CertificateOrigin, ClientCertificate};
use crate::cache::Cache;
use crate::env::{AZURE_CLIENT_CERTIFICATE_PATH, AZURE_CLIENT_SECRET, Environment};
use crate::error::Error;
use crate::exchange::ClientAuthentication;

/// Gets tokens for an application with the client secret or the client certificate in environment
/// variables.
///
/// | variable | meaning |
/// | --- | --- |
/// | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` | the application and its tenant |
/// | `AZURE_CLIENT_SECRET` | its client secret; takes precedence over the certificate |
/// | `AZURE_CLIENT_CERTIFICATE_PATH`, … | its certificate: see [`ClientCertificateCredential`] |
/// | `AZURE_AUTHORITY_HOST` | the login host |
/// | `AZURE_ADDITIONALLY_ALLOWED_TENANTS` | the other tenants of requests: `a;b;c`, or `*` |
///
/// User names and passwords (`AZURE_USERNAME`, `AZURE_PASSWORD`) are not supported, because
/// accounts with multifactor authentication cannot sign in with them.
///
/// [`ClientCertificateCredential`]: crate::ClientCertificateCredential
///
/// # Examples
///
/// ```
/// use entra_workload::{Environment, EnvironmentCredential, ErrorKind};
///
/// // A pod with workload identity sets these two as well. A chain continues with its next link.
/// let pod = Environment::from_iter([
///     ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
///     ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
/// ]);
/// let error = EnvironmentCredential::builder().environment(pod).build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// ```
#[derive(Debug)]
pub struct EnvironmentCredential(Cache);

impl EnvironmentCredential {
    /// Builds the credential from the environment variables of the process. Does no I/O.
    ///
    /// # Errors
    ///
    /// As [`EnvironmentCredentialBuilder::build`].
    pub fn from_env() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// Returns a builder. Its options override environment variables. The secret and the
    /// certificate are read from variables only.
    pub fn builder() -> EnvironmentCredentialBuilder {
        EnvironmentCredentialBuilder::default()
    }
}

credential!(EnvironmentCredential);
source!(EnvironmentCredential);

/// Builds an [`EnvironmentCredential`].
///
/// # Examples
///
/// ```
/// use entra_workload::{Environment, EnvironmentCredential};
///
/// let credential = EnvironmentCredential::builder()
///     .environment(Environment::from_iter([("AZURE_CLIENT_SECRET", "...")]))
///     .tenant_id("72f988bf-86f1-41af-91ab-2d7cd011db47")
///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .build()?;
/// # drop(credential);
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct EnvironmentCredentialBuilder {
    pub(crate) options: ClientOptions,
}

impl EnvironmentCredentialBuilder {
    /// Builds the credential. Does no I/O: the certificate is read at the first call.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if neither a secret nor a
    ///   certificate is set, even if the client ID and the tenant ID are: a pod with workload
    ///   identity sets these too.
    /// * [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if one is set, and the
    ///   client ID or the tenant ID is missing, or one of them or the authority host is invalid.
    pub fn build(mut self) -> Result<Arc<EnvironmentCredential>, Error> {
        let environment = self.options.take_environment();
        let authentication = self.authentication(&environment)?;
        let client = self.options.client(&environment)?;
        if self.options.additionally_allowed_tenants.is_empty() {
            self.options.additionally_allowed_tenants = environment.additionally_allowed_tenants()?;
        }
        let cache = self.options.build(client, authentication, &environment)?;
        Ok(Arc::new(EnvironmentCredential(cache)))
    }

    fn authentication(&self, environment: &Environment) -> Result<ClientAuthentication, Error> {
        if let Some(secret) = environment.client_secret()? {
            return Ok(ClientAuthentication::Secret(secret));
        }
        let variables = environment.client_certificate()?;
        let Some(path) = variables.path else {
            return Err(unavailable(environment));
        };
        Ok(ClientAuthentication::Assertion(Arc::new(ClientCertificate::new(
            CertificateOrigin::File(path, environment.file_reader()),
            variables.password,
            variables.sends_chain,
            self.options.clock(),
        ))))
    }
}

client_options!(EnvironmentCredentialBuilder, client_id);

fn unavailable(environment: &Environment) -> Error {
    let hint = if environment.has_user_password() {
        "; AZURE_USERNAME and AZURE_PASSWORD are not supported, so sign in as an application"
    } else {
        ""
    };
    Error::unavailable(format!(
        "neither {AZURE_CLIENT_SECRET} nor {AZURE_CLIENT_CERTIFICATE_PATH} is set{hint}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn build(variables: &[(&str, &str)]) -> Result<Arc<EnvironmentCredential>, Error> {
        EnvironmentCredential::builder()
            .environment(variables.iter().copied().collect())
            .build()
    }

    #[test]
    fn is_unavailable_without_a_secret_and_a_configuration_error_without_ids() {
        const TENANT: (&str, &str) = ("AZURE_TENANT_ID", "contoso.com");
        const CLIENT: (&str, &str) = ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10");
        const SECRET: (&str, &str) = ("AZURE_CLIENT_SECRET", "planted");
        const CERTIFICATE: (&str, &str) = ("AZURE_CLIENT_CERTIFICATE_PATH", "/app.pem");
        const PASSWORD: (&str, &str) = ("AZURE_PASSWORD", "planted");
        const USERNAME: (&str, &str) = ("AZURE_USERNAME", "a@contoso.com");
        const NEITHER: &str = "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set";
        for (variables, hint) in [
            (&[][..], ""),
            (&[TENANT, CLIENT], ""),
            (&[TENANT, CLIENT, ("AZURE_CLIENT_SECRET", "")], ""),
            (&[TENANT, CLIENT, USERNAME, PASSWORD], "are not supported"),
            (&[PASSWORD], "are not supported"),
        ] {
            let error = build(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{variables:?}: {error}");
            assert!(error.to_string().starts_with(NEITHER), "{variables:?}: {error}");
            assert!(error.to_string().contains(hint), "{variables:?}: {error}");
        }
        for (variables, missing) in [
            (
                &[SECRET][..],
                &["AZURE_CLIENT_ID is not set", "AZURE_TENANT_ID is not set"][..],
            ),
            (&[SECRET, TENANT], &["AZURE_CLIENT_ID is not set"]),
            (&[CERTIFICATE, CLIENT], &["AZURE_TENANT_ID is not set"]),
            (
                &[CERTIFICATE, CLIENT, ("AZURE_TENANT_ID", "a/b")],
                &["invalid tenant ID"],
            ),
        ] {
            let error = build(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{variables:?}: {error}");
            for part in missing {
                assert!(error.to_string().contains(part), "{variables:?}: {error}");
            }
            assert!(!format!("{error:?}").contains("planted"), "{error:?}");
        }
        for variables in [[TENANT, CLIENT, SECRET], [TENANT, CLIENT, CERTIFICATE]] {
            let credential = build(&variables).unwrap();
            assert_eq!(crate::Credential::client_id(&*credential), Some(CLIENT.1));
            assert!(!format!("{credential:?}").contains("planted"), "{credential:?}");
        }
    }
}
