use std::sync::Arc;

use super::{Chain, DefaultAzureLink, Link};
use crate::credential::{
    AzureCliCredential, AzureDeveloperCliCredential, ClientOptions, Credential, EnvironmentCredential,
    ManagedIdentityCredential, ManagedIdentityId, WorkloadIdentityCredential, client_options, credential,
    missing_workload_identity, present,
};
use crate::env::{AZURE_TOKEN_CREDENTIALS, Environment, External, Form};
use crate::error::Error;

/// Gets tokens in a pod, on a virtual machine, in CI and on a laptop, with the same code
/// everywhere.
///
/// It is a [`ChainedTokenCredential`](crate::ChainedTokenCredential) of environment, workload
/// identity, managed identity, Azure CLI and Azure Developer CLI, in this order, and continues only
/// past unavailable links. A pod with workload identity therefore never sends a request to the
/// metadata service of its node, even if its federation is broken or half of its variables are
/// missing: the error says what is wrong, and no identity is used that nobody chose.
///
/// If a pod has no workload identity, the log event for the selected link says so, and so does the
/// error if no link returns a token. This does not apply if the program
/// [replaces](DefaultAzureCredentialBuilder::replace) the link of workload identity.
///
/// `AZURE_TOKEN_CREDENTIALS` restricts the chain: to `prod` (the first three links), to `dev` (the
/// last two), or to one credential by its name, such as `WorkloadIdentityCredential`. Set it in
/// production, so that the login of a developer is never used.
///
/// | link | is available if |
/// | --- | --- |
/// | [`EnvironmentCredential`] | `AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH` is set |
/// | [`WorkloadIdentityCredential`] | `AZURE_FEDERATED_TOKEN_FILE` is set |
/// | [`ManagedIdentityCredential`] | the host has an endpoint, or a metadata service answers |
/// | [`AzureCliCredential`] | `az` is on the `PATH` and logged in |
/// | [`AzureDeveloperCliCredential`] | `azd` is on the `PATH` and logged in |
///
/// # Examples
///
/// ```no_run
/// # async fn f() -> Result<(), entra_workload::Error> {
/// use entra_workload::DefaultAzureCredential;
///
/// let credential = DefaultAzureCredential::new()?;
/// let token = credential.token(&["https://storage.azure.com/.default"]).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DefaultAzureCredential(Chain);

impl DefaultAzureCredential {
    /// Builds the chain from the environment variables of the process. Does no I/O.
    ///
    /// # Errors
    ///
    /// As [`DefaultAzureCredentialBuilder::build`].
    pub fn new() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// Returns a builder. Its options override environment variables.
    pub fn builder() -> DefaultAzureCredentialBuilder {
        DefaultAzureCredentialBuilder::default()
    }

    /// Returns the name of the selected link: the one that returned the last token, if one has.
    /// [`check`](Self::check) also returns why the links before it were skipped.
    pub fn selected(&self) -> Option<&str> {
        self.0.selected_name()
    }
}

credential!(DefaultAzureCredential);

/// Builds a [`DefaultAzureCredential`].
///
/// These options are those of the links that have them, the others of all links:
///
/// | option | links |
/// | --- | --- |
/// | `authority_host`, `cloud`, `enable_cae` | environment, workload identity: they send token requests to Entra |
/// | `transport` | environment, workload identity, managed identity: the tools send their own requests |
/// | `additionally_allowed_tenants` | all but managed identity, which has one tenant and refuses a request that names another |
/// | `client_id` | workload identity, managed identity |
///
/// If the program has replaced or removed all links that have an option, setting it is an error. If the
/// selected link does not have an option that is set, the log event that names the link lists it as
/// `unused_options`.
///
/// For other options of a link, build its credential and [`replace`](Self::replace) the link.
///
/// # Examples
///
/// ```
/// use entra_workload::{DefaultAzureCredential, Environment};
///
/// let credential = DefaultAzureCredential::builder()
///     .environment(Environment::from_iter([("AZURE_TOKEN_CREDENTIALS", "prod")]))
///     .managed_identity_client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
///     .build()?;
/// assert_eq!(
///     format!("{credential:?}"),
///     r#"DefaultAzureCredential(["environment", "workload identity", "managed identity"])"#
/// );
/// # Ok::<(), entra_workload::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct DefaultAzureCredentialBuilder {
    options: ClientOptions,
    client_id: Option<External>,
    workload_identity_client_id: Option<External>,
    managed_identity: Option<ManagedIdentityId>,
    requires_variable: bool,
    replaced: Vec<(DefaultAzureLink, Option<Arc<dyn Credential>>)>,
}

impl DefaultAzureCredentialBuilder {
    /// Sets the client ID of workload identity and of the user-assigned managed identity, for a program
    /// that has the same identity in a pod and on a virtual machine. Default: `AZURE_CLIENT_ID`; for the
    /// managed identity, the system-assigned identity if that is not set.
    ///
    /// # Examples
    ///
    /// ```
    /// use entra_workload::DefaultAzureCredential;
    ///
    /// let credential = DefaultAzureCredential::builder()
    ///     .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
    ///     .build()?;
    /// # drop(credential);
    /// # Ok::<(), entra_workload::Error>(())
    /// ```
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(External::new(Form::ClientId, client_id.into()));
        self
    }

    /// Sets the client ID of workload identity only. Default: that of [`client_id`](Self::client_id).
    #[must_use]
    pub fn workload_identity_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.workload_identity_client_id = Some(External::new(Form::ClientId, client_id.into()));
        self
    }

    /// Sets the client ID of the user-assigned managed identity only. Default: that of
    /// [`client_id`](Self::client_id).
    #[must_use]
    pub fn managed_identity_client_id(self, client_id: impl Into<String>) -> Self {
        self.managed_identity_id(ManagedIdentityId::ClientId(client_id.into()))
    }

    /// Sets the user-assigned managed identity, by any of its IDs.
    #[must_use]
    pub fn managed_identity_id(mut self, id: ManagedIdentityId) -> Self {
        self.managed_identity = Some(id);
        self
    }

    /// Makes `AZURE_TOKEN_CREDENTIALS` mandatory: [`build`](Self::build) fails if it is not set.
    #[must_use]
    pub fn require_azure_token_credentials(mut self) -> Self {
        self.requires_variable = true;
        self
    }

    /// Replaces the credential of a link; the link keeps its name.
    #[must_use]
    pub fn replace(mut self, link: DefaultAzureLink, credential: Arc<dyn Credential>) -> Self {
        self.replaced.push((link, Some(credential)));
        self
    }

    /// Removes a link.
    #[must_use]
    pub fn without(mut self, link: DefaultAzureLink) -> Self {
        self.replaced.push((link, None));
        self
    }

    /// Builds the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the value of
    /// `AZURE_TOKEN_CREDENTIALS` is unknown, if it is required and not set, if the chain has no
    /// links, or if all links that have an option are replaced or removed. A link that cannot be built fails at the first call; `build` logs it at `warn` if it
    /// will stop the chain. To fail at start-up, call [`check`](DefaultAzureCredential::check).
    pub fn build(mut self) -> Result<Arc<DefaultAzureCredential>, Error> {
        let environment = self.options.take_environment();
        let options = self.partial_options();
        self.check_options(&options)?;
        if self.options.additionally_allowed_tenants.is_empty() {
            self.options.additionally_allowed_tenants = environment.additionally_allowed_tenants()?;
        }
        let variable = environment.token_credentials()?;
        if variable.is_none() && self.requires_variable {
            return Err(Error::configuration(format!(
                "{AZURE_TOKEN_CREDENTIALS} is required and not set; set it to {}",
                DefaultAzureLink::variable_values()
            )));
        }
        let links = DefaultAzureLink::selected_by(variable.as_ref())?;
        // With its own credential in this link, the program does not need workload identity.
        let hint = match self.replacement(DefaultAzureLink::WorkloadIdentity) {
            Some(Some(_)) => None,
            _ => missing_workload_identity(&environment),
        };
        let links: Vec<Link> = links
            .iter()
            .filter_map(|link| {
                let credential = match self.replacement(*link) {
                    Some(replacement) => Ok(replacement.clone()?),
                    None => self.credential(*link, &environment, links.len() == 1),
                };
                let unused = options.iter().filter(|option| option.is_unused_by(*link));
                Some(Link {
                    unused_options: unused.map(|option| option.name).collect(),
                    ..Link::new(link.name(), credential)
                })
            })
            .collect();
        warn_if_misconfigured(&links);
        Ok(Arc::new(DefaultAzureCredential(Chain::new(links, hint, true)?)))
    }

    /// Returns what replaces a link: nothing if the program has removed it.
    fn replacement(&self, link: DefaultAzureLink) -> Option<&Option<Arc<dyn Credential>>> {
        let replaced = self.replaced.iter().rfind(|(replaced, _)| *replaced == link);
        replaced.map(|(_, replacement)| replacement)
    }

    /// Returns the options that are set and that not every link has.
    fn partial_options(&self) -> Vec<PartialOption> {
        use DefaultAzureLink::{AzureCli, AzureDeveloperCli, Environment, ManagedIdentity, WorkloadIdentity};
        let options = &self.options;
        let is_set = |option: &Option<External>| present(option.clone()).is_some();
        let own_ids = [
            (WorkloadIdentity, is_set(&self.workload_identity_client_id)),
            (ManagedIdentity, self.managed_identity.is_some()),
        ];
        let without_own_id = own_ids.iter().filter(|(_, has_own_id)| !has_own_id);
        let entra = vec![Environment, WorkloadIdentity];
        let table = [
            ("authority_host", is_set(&options.authority_host), entra.clone()),
            ("cloud", options.cloud.is_some(), entra.clone()),
            ("enable_cae", options.enable_cae, entra),
            (
                "transport",
                options.transport.is_some(),
                vec![Environment, WorkloadIdentity, ManagedIdentity],
            ),
            (
                "additionally_allowed_tenants",
                !options.additionally_allowed_tenants.is_empty(),
                vec![Environment, WorkloadIdentity, AzureCli, AzureDeveloperCli],
            ),
            (
                "client_id",
                is_set(&self.client_id),
                without_own_id.map(|(link, _)| *link).collect(),
            ),
            (
                "workload_identity_client_id",
                is_set(&self.workload_identity_client_id),
                vec![WorkloadIdentity],
            ),
            (
                "managed_identity_id",
                self.managed_identity.is_some(),
                vec![ManagedIdentity],
            ),
        ];
        let set = table.into_iter().filter(|(_, is_set, _)| *is_set);
        set.map(|(name, _, links)| PartialOption { name, links })
            .collect()
    }

    /// Checks that the program has not replaced or removed all links that have an option.
    fn check_options(&self, options: &[PartialOption]) -> Result<(), Error> {
        let has_no_link = |option: &&PartialOption| {
            let mut links = option.links.iter();
            links.all(|link| self.replacement(*link).is_some())
        };
        match options.iter().find(has_no_link) {
            Some(PartialOption { name, .. }) => Err(Error::configuration(format!(
                "the option .{name}(..) is set, and no link of this chain uses it; remove it, or set it on the credential that \
                 replaces a link"
            ))),
            None => Ok(()),
        }
    }

    fn credential(
        &self,
        link: DefaultAzureLink,
        environment: &Environment,
        is_alone: bool,
    ) -> Result<Arc<dyn Credential>, Error> {
        let mut options = self.options.clone();
        options.environment = Some(environment.clone());
        Ok(match link {
            DefaultAzureLink::Environment => {
                let mut builder = EnvironmentCredential::builder();
                builder.options = options;
                builder.build()?
            }
            DefaultAzureLink::WorkloadIdentity => {
                let mut builder = WorkloadIdentityCredential::builder();
                let own = self.workload_identity_client_id.as_ref();
                options.client_id = own.or(self.client_id.as_ref()).cloned();
                builder.options = options;
                builder.build()?
            }
            DefaultAzureLink::ManagedIdentity => {
                let mut builder = ManagedIdentityCredential::builder().common_options(options);
                if let Some(id) = &self.managed_identity {
                    builder = builder.id(id.clone());
                } else if let Some(id) = present(self.client_id.clone()).or(environment.client_id()?) {
                    builder = builder.client_id(id.expose());
                }
                // Explicitly selected: skip the availability probe.
                if !is_alone {
                    builder = builder.probe_first();
                }
                builder.build()?
            }
            DefaultAzureLink::AzureCli => AzureCliCredential::with_options(environment, &options)?,
            DefaultAzureLink::AzureDeveloperCli => {
                AzureDeveloperCliCredential::with_options(environment, &options)?
            }
        })
    }
}

client_options!(DefaultAzureCredentialBuilder);

/// An option that is set and that not every link has.
struct PartialOption {
    name: &'static str,
    links: Vec<DefaultAzureLink>,
}

impl PartialOption {
    /// Whether the link does not have it. An option of a single link says in its name which one that is.
    fn is_unused_by(&self, link: DefaultAzureLink) -> bool {
        self.links.len() > 1 && !self.links.contains(&link)
    }
}

/// Warns at start-up about the first link that will stop the chain.
fn warn_if_misconfigured(links: &[Link]) {
    let misconfigured = links.iter().find_map(|link| {
        let error = link.credential.as_ref().err()?;
        (!error.is_unavailable()).then_some((&link.name, error))
    });
    if let Some((name, error)) = misconfigured {
        tracing::warn!(credential = %name, %error, "credential misconfigured");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn build(value: &str) -> Result<Arc<DefaultAzureCredential>, Error> {
        let environment = Environment::from_iter([(AZURE_TOKEN_CREDENTIALS, value)]);
        DefaultAzureCredential::builder().environment(environment).build()
    }

    #[test]
    fn azure_token_credentials_is_case_insensitive_and_trimmed() {
        let all =
            r#"["environment", "workload identity", "managed identity", "azure cli", "azure developer cli"]"#;
        for (value, links) in [
            ("", all),
            ("  ", all),
            (
                " PROD ",
                r#"["environment", "workload identity", "managed identity"]"#,
            ),
            ("dev", r#"["azure cli", "azure developer cli"]"#),
            ("environmentcredential", r#"["environment"]"#),
            ("WorkloadIdentityCredential", r#"["workload identity"]"#),
            ("ManagedIdentityCREDENTIAL", r#"["managed identity"]"#),
            ("AzureCLICredential", r#"["azure cli"]"#),
            ("AzureDeveloperCliCredential\n", r#"["azure developer cli"]"#),
        ] {
            let shown = format!("{:?}", build(value).unwrap());
            assert_eq!(shown, format!("DefaultAzureCredential({links})"), "{value:?}");
        }
    }

    #[test]
    fn unknown_azure_token_credentials_is_rejected_with_the_valid_values() {
        for (value, shown) in [
            ("AzurePowerShellCredential", "is AzurePowerShellCredential;"),
            ("production", "is (not shown);"),
            ("eyJhbGciOiJSUzI1NiJ9", "is (not shown: it is a token);"),
        ] {
            let error = build(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.contains(shown) && text.contains("prod, dev, or one of EnvironmentCredential"),
                "{text}"
            );
        }
    }

    #[test]
    fn build_fails_if_azure_token_credentials_is_required_and_not_set() {
        let builder = |value| {
            let environment = Environment::from_iter([(AZURE_TOKEN_CREDENTIALS, value)]);
            DefaultAzureCredential::builder()
                .environment(environment)
                .require_azure_token_credentials()
        };
        assert_eq!(builder(" ").build().unwrap_err().kind(), ErrorKind::Configuration);
        assert!(builder("prod").build().is_ok());
    }

    #[test]
    fn links_can_be_replaced_and_removed() {
        let replacement = WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_CLIENT_ID", "7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10"),
                ("AZURE_TENANT_ID", "tenant"),
                ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
            ]))
            .build()
            .unwrap();
        let credential = DefaultAzureCredential::builder()
            .environment(Environment::default())
            .without(DefaultAzureLink::Environment)
            .without(DefaultAzureLink::ManagedIdentity)
            .replace(DefaultAzureLink::AzureCli, replacement)
            .build()
            .unwrap();
        assert!(
            format!("{credential:?}")
                .contains(r#"["workload identity", "azure cli", "azure developer cli"]"#)
        );

        let alone = Environment::from_iter([(AZURE_TOKEN_CREDENTIALS, "AzureCliCredential")]);
        let nothing_left = DefaultAzureCredential::builder()
            .environment(alone)
            .without(DefaultAzureLink::AzureCli)
            .build();
        assert_eq!(nothing_left.unwrap_err().kind(), ErrorKind::Configuration);
    }

    #[tokio::test]
    async fn error_in_a_pod_begins_with_the_fault_of_workload_identity() {
        let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        let token_file = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
        for (variables, start) in [
            (
                &[pod][..],
                "no credential of the chain is available here: workload identity: AZURE_FEDERATED_TOKEN_FILE is",
            ),
            (
                &[pod, token_file],
                "the chain stopped at workload identity: AZURE_CLIENT_ID is not set",
            ),
        ] {
            let credential = DefaultAzureCredential::builder()
                .environment(variables.iter().copied().collect())
                .without(DefaultAzureLink::ManagedIdentity)
                .build()
                .unwrap();
            let error = credential.token(&["s"]).await.unwrap_err();
            assert!(error.to_string().starts_with(start), "{error}");
            let table = format!("{error:#}");
            assert_eq!(table.lines().count(), 1 + error.attempts().len(), "{table}");
        }
    }

    #[tokio::test]
    async fn missing_workload_identity_is_reported_once_whichever_link_stops_the_chain() {
        let replacement = WorkloadIdentityCredential::builder()
            .environment(Environment::default())
            .tenant_id("tenant")
            .client_id("7a5ff21b-4f5b-4f5b-9e3e-2c0b5a1d9a10")
            .token_file("/nowhere/token")
            .build()
            .unwrap();
        let builder = DefaultAzureCredential::builder;
        let without = || builder().without(DefaultAzureLink::WorkloadIdentity);
        let replaced = builder().replace(DefaultAzureLink::WorkloadIdentity, replacement);
        let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        // A secret without a client ID stops the chain at the first link.
        let secret = ("AZURE_CLIENT_SECRET", "planted");
        let selected = |name| (AZURE_TOKEN_CREDENTIALS, name);
        let token_file = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
        for (builder, variables, expected) in [
            (builder(), &[pod, selected("WorkloadIdentityCredential")][..], 1),
            (builder(), &[pod, selected("EnvironmentCredential")], 1),
            (builder(), &[pod, selected("dev")], 1),
            (builder(), &[pod, secret], 1),
            (without(), &[pod, selected("EnvironmentCredential")], 1),
            (without(), &[pod, secret], 1),
            (replaced, &[pod, secret], 0),
            (builder(), &[pod, secret, token_file], 0),
            (builder(), &[selected("EnvironmentCredential")], 0),
            (builder(), &[secret], 0),
        ] {
            let environment = variables.iter().copied().collect();
            let credential = builder.environment(environment).build().unwrap();
            let text = credential.token(&["s"]).await.unwrap_err().to_string();
            assert!(!text.contains('\n'), "{text}");
            let hints = text
                .matches("this pod has no workload identity; add the label")
                .count();
            assert_eq!(hints, expected, "{variables:?}: {text}");
        }
    }
}
