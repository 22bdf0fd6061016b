mod external;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use crate::bounded_file::FileReader;
use crate::code::Code;
use crate::error::Error;
use crate::token::Secret;

pub(crate) use external::{External, Form, is_client_id, is_host, is_secret};

/// A snapshot of the environment variables that this crate reads: `AZURE_*`, those of hosts with a
/// managed identity, of CI jobs, of Terraform's providers and of HTTP proxies, `SPIFFE_ENDPOINT_SOCKET`,
/// `KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT` and `PATH`.
///
/// A credential reads the process environment once, when it is built. Tests and programs that embed
/// this crate pass variables as values instead, so they do not have to modify the process
/// environment. A variable that is set and empty counts as not set. `Debug` shows names, never
/// values.
///
/// # Examples
///
/// ```
/// use entra_workload::Environment;
///
/// let environment = Environment::from_iter([
///     ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
///     ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
///     ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/wi/token/azure-identity-token"),
/// ]);
/// assert!(!format!("{environment:?}").contains("7a5ff21b"));
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    file_reader: FileReader,
}

impl Environment {
    /// Reads the current variables of the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the process environment"
    )]
    pub fn from_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((canonical_name(name.into_string().ok()?), value)))
            .filter(|(name, _)| is_read(name))
            .collect()
    }

    /// Sets how the files that the variables name are read.
    #[cfg(feature = "diagnose")]
    pub(crate) fn with_file_reader(mut self, file_reader: FileReader) -> Self {
        self.file_reader = file_reader;
        self
    }

    pub(crate) fn file_reader(&self) -> FileReader {
        self.file_reader.clone()
    }

    pub(crate) fn workload_identity(&self) -> Result<WorkloadIdentityVariables, Error> {
        Ok(WorkloadIdentityVariables {
            client_id: self.text(AZURE_CLIENT_ID, Form::ClientId)?,
            tenant_id: self.text(AZURE_TENANT_ID, Form::Tenant)?,
            token_file: self.path_value(AZURE_FEDERATED_TOKEN_FILE),
        })
    }

    pub(crate) fn token_proxy(&self) -> Result<TokenProxyVariables, Error> {
        Ok(TokenProxyVariables {
            url: self.text(AZURE_KUBERNETES_TOKEN_PROXY, Form::Url)?,
            server_name: self.text(AZURE_KUBERNETES_SNI_NAME, Form::Host)?,
            ca_file: self.path_value(AZURE_KUBERNETES_CA_FILE),
            ca_data: self.text(AZURE_KUBERNETES_CA_DATA, Form::Hidden)?,
        })
    }

    /// Returns the value and the name of the first of these variables that is set.
    pub(crate) fn first(&self, names: &[&'static str], form: Form) -> Result<Option<Variable>, Error> {
        let Some(name) = names.iter().find(|name| self.value(name).is_some()) else {
            return Ok(None);
        };
        Ok(self.text(name, form)?.map(|value| Variable { name, value }))
    }

    pub(crate) fn client_secret(&self) -> Result<Option<Secret>, Error> {
        self.secret(AZURE_CLIENT_SECRET)
    }

    #[cfg(feature = "client-certificate")]
    pub(crate) fn client_certificate(&self) -> Result<ClientCertificateVariables, Error> {
        Ok(ClientCertificateVariables {
            path: self.path_value(AZURE_CLIENT_CERTIFICATE_PATH),
            password: self.secret(AZURE_CLIENT_CERTIFICATE_PASSWORD)?,
            sends_chain: self.is_true(AZURE_CLIENT_SEND_CERTIFICATE_CHAIN),
        })
    }

    #[cfg(feature = "client-certificate")]
    pub(crate) fn additionally_allowed_tenants(&self) -> Result<Vec<External>, Error> {
        let list = self.text(AZURE_ADDITIONALLY_ALLOWED_TENANTS, Form::Hidden)?;
        let list = list.as_ref().map_or("", External::expose);
        let tenants = list.split(';').map(str::trim).filter(|tenant| !tenant.is_empty());
        Ok(tenants
            .map(|tenant| External::new(Form::Tenant, tenant))
            .collect())
    }

    /// Whether variables for signing in as a user are set.
    #[cfg(feature = "client-certificate")]
    pub(crate) fn has_user_password(&self) -> bool {
        self.value(AZURE_USERNAME).is_some() || self.value(AZURE_PASSWORD).is_some()
    }

    /// Whether tokens are always requested in the tenant of the credential.
    pub(crate) fn disables_multitenant_auth(&self) -> bool {
        self.is_true(AZURE_IDENTITY_DISABLE_MULTITENANTAUTH)
    }

    pub(crate) fn authority_host(&self) -> Result<Option<External>, Error> {
        self.text(AZURE_AUTHORITY_HOST, Form::Url)
    }

    #[cfg(feature = "default-credential")]
    pub(crate) fn client_id(&self) -> Result<Option<External>, Error> {
        self.text(AZURE_CLIENT_ID, Form::ClientId)
    }

    /// Returns the variable that sets the proxy for `https`, and its value.
    #[cfg(feature = "diagnose")]
    pub(crate) fn https_proxy(&self) -> Option<(&'static str, External)> {
        HTTPS_PROXY_VARIABLES.into_iter().find_map(|name| {
            let value = self.text(name, Form::Url).ok()??;
            Some((name, value))
        })
    }

    /// Returns `AZURE_TOKEN_CREDENTIALS`, trimmed; an empty value counts as not set.
    #[cfg(feature = "default-credential")]
    pub(crate) fn token_credentials(&self) -> Result<Option<External>, Error> {
        let text = self.text(AZURE_TOKEN_CREDENTIALS, Form::CredentialName)?;
        let text = text.as_ref().map_or("", External::expose).trim();
        Ok((!text.is_empty()).then(|| External::new(Form::CredentialName, text)))
    }

    /// Whether the host of this process (App Service, Functions, Container Apps, Arc, ...) sets the
    /// endpoint of its managed identity.
    #[cfg(feature = "default-credential")]
    pub(crate) fn hosts_managed_identity(&self) -> bool {
        MANAGED_IDENTITY_ENDPOINTS
            .iter()
            .any(|name| self.value(name).is_some())
    }

    #[cfg(feature = "default-credential")]
    pub(crate) fn managed_identity(&self) -> Result<ManagedIdentityVariables, Error> {
        Ok(ManagedIdentityVariables {
            identity_endpoint: self.text("IDENTITY_ENDPOINT", Form::Url)?,
            identity_header: self.secret("IDENTITY_HEADER")?,
            server_thumbprint: self.text("IDENTITY_SERVER_THUMBPRINT", Form::Hidden)?,
            imds_endpoint: self.value("IMDS_ENDPOINT").is_some(),
            msi_endpoint: self.text("MSI_ENDPOINT", Form::Url)?,
            msi_secret: self.secret("MSI_SECRET")?,
            default_client_id: self.text("DEFAULT_IDENTITY_CLIENT_ID", Form::ClientId)?,
        })
    }

    /// Returns the folder for the data of programs on Windows.
    #[cfg(feature = "default-credential")]
    pub(crate) fn program_data(&self) -> Option<&OsStr> {
        self.value(PROGRAM_DATA)
    }

    /// Returns the host that replaces the metadata service of the machine.
    #[cfg(feature = "default-credential")]
    pub(crate) fn metadata_host(&self) -> Result<Option<External>, Error> {
        self.text(AZURE_POD_IDENTITY_AUTHORITY_HOST, Form::Url)
    }

    /// Returns the absolute folders of `PATH`: what the others mean depends on the working directory.
    #[cfg(feature = "default-credential")]
    pub(crate) fn program_folders(&self) -> Vec<PathBuf> {
        self.value(PATH)
            .map(|path| std::env::split_paths(path).filter(|folder| folder.is_absolute()))
            .into_iter()
            .flatten()
            .collect()
    }

    /// Returns the `PATH` of [`program_folders`](Self::program_folders).
    #[cfg(feature = "default-credential")]
    pub(crate) fn program_path(&self) -> Option<OsString> {
        std::env::join_paths(self.program_folders()).ok()
    }

    /// Whether this process runs in a Kubernetes pod.
    pub(crate) fn in_kubernetes(&self) -> bool {
        self.value(KUBERNETES_SERVICE_HOST).is_some()
    }

    fn value(&self, name: &str) -> Option<&OsStr> {
        debug_assert!(is_read(name), "a snapshot of the process does not contain {name}");
        self.variables
            .get(name)
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    fn path_value(&self, name: &str) -> Option<External> {
        self.value(name).map(External::path)
    }

    /// Returns a variable that must be UTF-8.
    fn text(&self, name: &str, form: Form) -> Result<Option<External>, Error> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        if value.to_str().is_none() {
            let error = Error::configuration(format!("{name} is not valid UTF-8"));
            return Err(error.with_code(Code::VARIABLE_NOT_TEXT));
        }
        Ok(Some(External::new(form, value)))
    }

    fn secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        let text = self.text(name, Form::Hidden)?;
        Ok(text.map(|text| Secret::from(text.expose())))
    }

    fn is_true(&self, name: &str) -> bool {
        let value = self.value(name);
        value.is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            file_reader: FileReader::default(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// A variable that is set.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: External,
}

/// The variables that the workload identity webhook sets in a pod.
#[derive(Debug)]
pub(crate) struct WorkloadIdentityVariables {
    pub(crate) client_id: Option<External>,
    pub(crate) tenant_id: Option<External>,
    pub(crate) token_file: Option<External>,
}

/// The variables that the webhook sets in a pod with an identity binding.
#[derive(Debug)]
pub(crate) struct TokenProxyVariables {
    pub(crate) url: Option<External>,
    pub(crate) server_name: Option<External>,
    pub(crate) ca_file: Option<External>,
    pub(crate) ca_data: Option<External>,
}

/// The variables that hosts with a managed identity set.
#[cfg(feature = "default-credential")]
#[derive(Debug)]
pub(crate) struct ManagedIdentityVariables {
    pub(crate) identity_endpoint: Option<External>,
    pub(crate) identity_header: Option<Secret>,
    pub(crate) server_thumbprint: Option<External>,
    pub(crate) imds_endpoint: bool,
    pub(crate) msi_endpoint: Option<External>,
    pub(crate) msi_secret: Option<Secret>,
    pub(crate) default_client_id: Option<External>,
}

/// The variables for authentication with a certificate.
#[cfg(feature = "client-certificate")]
#[derive(Debug)]
pub(crate) struct ClientCertificateVariables {
    pub(crate) path: Option<External>,
    pub(crate) password: Option<Secret>,
    pub(crate) sends_chain: bool,
}

/// Returns the file of the process that replaces the root certificates of the system, where there is such a
/// variable.
#[expect(
    clippy::disallowed_methods,
    reason = "only here is the process environment read"
)]
pub(crate) fn root_certificate_file() -> Option<PathBuf> {
    let is_read = cfg!(all(unix, not(target_vendor = "apple")));
    let file = is_read.then(|| std::env::var_os("SSL_CERT_FILE")).flatten();
    file.map(PathBuf::from)
}

/// Returns the variable of the process that sets the proxy for `https`; the first that is set counts.
#[expect(
    clippy::disallowed_methods,
    reason = "only here is the process environment read"
)]
pub(crate) fn https_proxy_variable() -> Option<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    HTTPS_PROXY_VARIABLES.into_iter().find(is_set)
}

// The same names as in the webhook and in every Azure SDK:
// https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html
pub(crate) const AZURE_CLIENT_ID: &str = "AZURE_CLIENT_ID";
pub(crate) const AZURE_TENANT_ID: &str = "AZURE_TENANT_ID";
pub(crate) const AZURE_FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
pub(crate) const AZURE_KUBERNETES_TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
pub(crate) const AZURE_KUBERNETES_SNI_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
pub(crate) const AZURE_KUBERNETES_CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
pub(crate) const AZURE_KUBERNETES_CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";
pub(crate) const AZURE_CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
/// Source: `azure-identity` for Python and JavaScript, `Azure.Identity` for .NET.
const AZURE_IDENTITY_DISABLE_MULTITENANTAUTH: &str = "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH";
pub(crate) const AZURE_AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
#[cfg(feature = "default-credential")]
pub(crate) const AZURE_TOKEN_CREDENTIALS: &str = "AZURE_TOKEN_CREDENTIALS";
#[cfg(feature = "default-credential")]
pub(crate) const AZURE_POD_IDENTITY_AUTHORITY_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// Set by hosts that have their own endpoint. Source: `azure_identity` 1.0,
/// `ManagedIdentityCredential`.
#[cfg(feature = "default-credential")]
const MANAGED_IDENTITY_ENDPOINTS: [&str; 2] = ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"];
/// Source: `hyper-util`, `client::proxy::matcher`.
const HTTPS_PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const PATH: &str = "PATH";

/// Windows ignores the case of names, and calls this one `Path`. Elsewhere `path` is another variable.
fn canonical_name(name: String) -> String {
    if cfg!(windows) && name.eq_ignore_ascii_case(PATH) {
        PATH.to_owned()
    } else {
        name
    }
}

/// Whether a snapshot of the process environment contains this variable. No other is read from one.
fn is_read(name: &str) -> bool {
    let lists: [&[&str]; 7] = [
        &OTHERS,
        &HTTPS_PROXY_VARIABLES,
        &CLIENT_IDS,
        &TENANT_IDS,
        &SERVICE_CONNECTION_IDS,
        &OIDC_TOKENS,
        &OIDC_TOKEN_FILES,
    ];
    name.starts_with("AZURE_")
        || lists.iter().any(|list| list.contains(&name))
        || OIDC_REQUESTS
            .iter()
            .any(|(url, token)| [*url, *token].contains(&name))
}

/// The variables besides `AZURE_*` that a snapshot of the process environment contains, without those of
/// the lists below.
const OTHERS: [&str; 12] = [
    KUBERNETES_SERVICE_HOST,
    KUBERNETES_SERVICE_PORT,
    SPIFFE_ENDPOINT_SOCKET,
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "DEFAULT_IDENTITY_CLIENT_ID",
    PATH,
    PROGRAM_DATA,
];
const PROGRAM_DATA: &str = "ProgramData";

// The variables of CI jobs, and those of Terraform's Azure providers, which have several names each; the
// first that is set counts. Sources: GitHub, "OpenID Connect reference"; Azure Pipelines, predefined
// variables and `AzureCLI@2`; provider `azurerm`, "Authenticating using a Service Principal with Open ID
// Connect"; provider `azapi`, which has more fallbacks.
pub(crate) const CLIENT_IDS: [&str; 2] = ["ARM_CLIENT_ID", AZURESUBSCRIPTION_CLIENT_ID];
pub(crate) const TENANT_IDS: [&str; 2] = ["ARM_TENANT_ID", AZURESUBSCRIPTION_TENANT_ID];
pub(crate) const SERVICE_CONNECTION_IDS: [&str; 3] = [
    "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID",
    "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID",
    AZURESUBSCRIPTION_SERVICE_CONNECTION_ID,
];
/// The URL and the token of each system's token service.
pub(crate) const OIDC_REQUESTS: [(&str, &str); 3] = [
    (ARM_OIDC_REQUEST_URL, ARM_OIDC_REQUEST_TOKEN),
    (ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN),
    (SYSTEM_OIDCREQUESTURI, SYSTEM_ACCESSTOKEN),
];
pub(crate) const OIDC_TOKENS: [&str; 1] = [ARM_OIDC_TOKEN];
pub(crate) const OIDC_TOKEN_FILES: [&str; 2] = [ARM_OIDC_TOKEN_FILE_PATH, AZURE_FEDERATED_TOKEN_FILE];
pub(crate) const ACTIONS_ID_TOKEN_REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
pub(crate) const ACTIONS_ID_TOKEN_REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
pub(crate) const SYSTEM_OIDCREQUESTURI: &str = "SYSTEM_OIDCREQUESTURI";
pub(crate) const SYSTEM_ACCESSTOKEN: &str = "SYSTEM_ACCESSTOKEN";
pub(crate) const AZURESUBSCRIPTION_CLIENT_ID: &str = "AZURESUBSCRIPTION_CLIENT_ID";
pub(crate) const AZURESUBSCRIPTION_TENANT_ID: &str = "AZURESUBSCRIPTION_TENANT_ID";
pub(crate) const AZURESUBSCRIPTION_SERVICE_CONNECTION_ID: &str = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID";
pub(crate) const ARM_OIDC_TOKEN: &str = "ARM_OIDC_TOKEN";
pub(crate) const ARM_OIDC_TOKEN_FILE_PATH: &str = "ARM_OIDC_TOKEN_FILE_PATH";
pub(crate) const ARM_OIDC_REQUEST_URL: &str = "ARM_OIDC_REQUEST_URL";
pub(crate) const ARM_OIDC_REQUEST_TOKEN: &str = "ARM_OIDC_REQUEST_TOKEN";
/// Source: SPIFFE, "The SPIFFE Workload Endpoint", section 4.
pub(crate) const SPIFFE_ENDPOINT_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
#[cfg(feature = "client-certificate")]
pub(crate) const AZURE_CLIENT_CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
#[cfg(feature = "client-certificate")]
pub(crate) const AZURE_CLIENT_CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
#[cfg(feature = "client-certificate")]
const AZURE_CLIENT_SEND_CERTIFICATE_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
#[cfg(feature = "client-certificate")]
const AZURE_ADDITIONALLY_ALLOWED_TENANTS: &str = "AZURE_ADDITIONALLY_ALLOWED_TENANTS";
#[cfg(feature = "client-certificate")]
const AZURE_USERNAME: &str = "AZURE_USERNAME";
#[cfg(feature = "client-certificate")]
const AZURE_PASSWORD: &str = "AZURE_PASSWORD";
/// Set by the kubelet in every container.
pub(crate) const KUBERNETES_SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";
pub(crate) const KUBERNETES_SERVICE_PORT: &str = "KUBERNETES_SERVICE_PORT";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_variables_count_as_not_set() {
        let environment = Environment::from_iter([(AZURE_CLIENT_ID, ""), (AZURE_TENANT_ID, "t")]);
        let variables = environment.workload_identity().unwrap();
        assert_eq!(variables.client_id, None);
        assert_eq!(variables.tenant_id, Some(External::new(Form::Tenant, "t")));
        assert_eq!(variables.token_file, None);
    }

    #[cfg(unix)]
    #[test]
    fn variable_that_is_not_utf_8_is_an_error_with_its_name() {
        use std::os::unix::ffi::OsStringExt;

        use crate::error::ErrorKind;

        let environment = Environment::from_iter([(AZURE_TENANT_ID, OsString::from_vec(vec![0xff, 0xfe]))]);
        let error = environment.workload_identity().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(error.to_string(), "AZURE_TENANT_ID is not valid UTF-8 (EW121)");
    }

    #[cfg(feature = "client-certificate")]
    #[test]
    fn certificate_chain_is_sent_for_1_and_true_only() {
        for (value, sent) in [
            ("1", true),
            ("true", true),
            ("TRUE", true),
            ("", false),
            ("0", false),
            ("yes", false),
        ] {
            let environment = Environment::from_iter([(AZURE_CLIENT_SEND_CERTIFICATE_CHAIN, value)]);
            assert_eq!(
                environment.client_certificate().unwrap().sends_chain,
                sent,
                "{value:?}"
            );
        }
    }

    #[cfg(feature = "client-certificate")]
    #[test]
    fn additionally_allowed_tenants_are_separated_by_semicolons() {
        let environment = Environment::from_iter([(AZURE_ADDITIONALLY_ALLOWED_TENANTS, " a; b;;c ;")]);
        let tenants = environment.additionally_allowed_tenants().unwrap();
        let tenants: Vec<&str> = tenants.iter().map(External::expose).collect();
        assert_eq!(tenants, ["a", "b", "c"]);
        assert!(
            Environment::default()
                .additionally_allowed_tenants()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn debug_shows_names_without_values() {
        let environment = Environment::from_iter([("AZURE_CLIENT_SECRET", "planted-secret")]);
        assert_eq!(format!("{environment:?}"), r#"{"AZURE_CLIENT_SECRET"}"#);
    }

    #[test]
    fn from_process_reads_only_relevant_variables() {
        let names = format!("{:?}", Environment::from_process());
        assert!(
            names.contains("PATH") && !names.contains("HOME") && !names.contains("CARGO"),
            "{names}"
        );
    }

    #[test]
    fn name_of_the_path_is_case_insensitive_on_windows_only() {
        for (name, canonical) in [("path", "path"), ("Path", "Path"), ("PATH", "PATH"), ("p", "p")] {
            let canonical = if cfg!(windows) && name != "p" {
                "PATH"
            } else {
                canonical
            };
            assert_eq!(canonical_name(name.to_owned()), canonical);
        }
    }

    #[test]
    fn pod_is_detected_by_the_variable_of_the_kubelet() {
        assert!(Environment::from_iter([(KUBERNETES_SERVICE_HOST, "10.0.0.1")]).in_kubernetes());
        assert!(!Environment::from_iter([(KUBERNETES_SERVICE_HOST, "")]).in_kubernetes());
        assert!(!Environment::from_iter([(AZURE_TENANT_ID, "t")]).in_kubernetes());
    }

    proptest! {
        #[test]
        fn any_variables_are_accepted_and_no_value_is_shown(names: Vec<String>, value in "\\PC{0,40}") {
            let own = [AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_AUTHORITY_HOST];
            let names = names.into_iter().chain(own.map(str::to_owned));
            let environment: Environment = names.map(|name| (name, format!("planted{value}"))).collect();
            prop_assert!(environment.workload_identity().is_ok());
            let shown = format!("{environment:?}");
            prop_assert!(!shown.contains("planted"), "{}", shown);
        }
    }
}
