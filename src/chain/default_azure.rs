use std::sync::Arc;

use super::{Chain, Link};
use crate::credential::{
    AzureCliCredential, AzureDeveloperCliCredential, ClientOptions, Credential, EnvironmentCredential,
    ManagedIdentityCredential, ManagedIdentityId, WorkloadIdentityCredential, client_options, credential,
    missing_workload_identity,
};
use crate::env::{AZURE_TOKEN_CREDENTIALS, Environment};
use crate::error::{Attempt, Error};

/// The same `main` in a pod, on a virtual machine, in CI and on a laptop: environment, workload identity, managed identity,
/// Azure CLI, Azure Developer CLI, in this order.
///
/// It is a [`ChainedTokenCredential`](crate::ChainedTokenCredential) with the rules of that one: it goes on only past what is not set up here. So a pod with
/// workload identity never asks the node's metadata service, also when its federation is broken or half of its variables are
/// missing: the error says what is wrong, and no identity answers that nobody chose.
///
/// A pod that carries no workload identity is told so whichever links are asked: in the log line that says who answers, and in
/// the chain's error if none does. Only a program that [replaced](DefaultAzureCredentialBuilder::replace) the link of workload
/// identity is not.
///
/// `AZURE_TOKEN_CREDENTIALS` narrows the chain: `prod` (the first three), `dev` (the last two), or the name of one credential,
/// such as `WorkloadIdentityCredential`. In production, set it: then no developer's login can ever answer.
///
/// | link | is set up here if |
/// | --- | --- |
/// | [`EnvironmentCredential`] | `AZURE_CLIENT_SECRET` or `AZURE_CLIENT_CERTIFICATE_PATH` is set |
/// | [`WorkloadIdentityCredential`] | `AZURE_FEDERATED_TOKEN_FILE` is set |
/// | [`ManagedIdentityCredential`] | the host says so by its variables, or a metadata service answers within a second |
/// | [`AzureCliCredential`] | `az` is on the `PATH`, and somebody is logged in |
/// | [`AzureDeveloperCliCredential`] | `azd` is on the `PATH`, and somebody is logged in |
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
    /// The chain that the environment describes. Does no I/O.
    ///
    /// # Errors
    ///
    /// As [`DefaultAzureCredentialBuilder::build`].
    pub fn new() -> Result<Arc<Self>, Error> {
        Self::builder().build()
    }

    /// A builder.
    pub fn builder() -> DefaultAzureCredentialBuilder {
        DefaultAzureCredentialBuilder::default()
    }

    /// Returns the name of the link that returned the last token, if one has.
    pub fn answered_by(&self) -> Option<&str> {
        self.0.selected_name()
    }

    /// Returns the errors of the links before [`answered_by`](Self::answered_by).
    pub fn passed_over(&self) -> Vec<Attempt> {
        self.0.skipped()
    }
}

credential!(DefaultAzureCredential);

/// A link of [`DefaultAzureCredential`], in the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultAzureLink {
    /// [`EnvironmentCredential`]
    Environment,
    /// [`WorkloadIdentityCredential`]
    WorkloadIdentity,
    /// [`ManagedIdentityCredential`]
    ManagedIdentity,
    /// [`AzureCliCredential`]
    AzureCli,
    /// [`AzureDeveloperCliCredential`]
    AzureDeveloperCli,
}

impl DefaultAzureLink {
    /// What it is called in errors and in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::WorkloadIdentity => "workload identity",
            Self::ManagedIdentity => "managed identity",
            Self::AzureCli => "azure cli",
            Self::AzureDeveloperCli => "azure developer cli",
        }
    }

    /// What it is called in `AZURE_TOKEN_CREDENTIALS`.
    fn credential_name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }
}

/// Makes a [`DefaultAzureCredential`]. What is left out comes from the environment.
#[derive(Debug, Default)]
pub struct DefaultAzureCredentialBuilder {
    options: ClientOptions,
    workload_identity_client_id: Option<String>,
    managed_identity: Option<ManagedIdentityId>,
    requires_variable: bool,
    replaced: Vec<(DefaultAzureLink, Option<Arc<dyn Credential>>)>,
}

impl DefaultAzureCredentialBuilder {
    /// The client id that workload identity uses. Default: `AZURE_CLIENT_ID`. It does not reach the managed identity.
    #[must_use]
    pub fn workload_identity_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.workload_identity_client_id = Some(client_id.into());
        self
    }

    /// The client id of the user-assigned managed identity. Default: `AZURE_CLIENT_ID`, or the system-assigned identity. It does
    /// not reach workload identity.
    #[must_use]
    pub fn managed_identity_client_id(self, client_id: impl Into<String>) -> Self {
        self.managed_identity_id(ManagedIdentityId::ClientId(client_id.into()))
    }

    /// The user-assigned managed identity, by any of its ids.
    #[must_use]
    pub fn managed_identity_id(mut self, id: ManagedIdentityId) -> Self {
        self.managed_identity = Some(id);
        self
    }

    /// Makes `AZURE_TOKEN_CREDENTIALS` mandatory: a deployment that forgets it fails at start.
    #[must_use]
    pub fn require_azure_token_credentials(mut self) -> Self {
        self.requires_variable = true;
        self
    }

    /// Puts another credential in a link's place; it keeps the link's name.
    #[must_use]
    pub fn replace(mut self, link: DefaultAzureLink, credential: Arc<dyn Credential>) -> Self {
        self.replaced.push((link, Some(credential)));
        self
    }

    /// Leaves a link out.
    #[must_use]
    pub fn without(mut self, link: DefaultAzureLink) -> Self {
        self.replaced.push((link, None));
        self
    }

    /// Makes the credential. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if `AZURE_TOKEN_CREDENTIALS` holds none of its values, or is
    /// required and missing, or if no link is left. What is wrong with a single link is its answer to the first call.
    pub fn build(mut self) -> Result<Arc<DefaultAzureCredential>, Error> {
        let environment = self.options.take_environment();
        if self.options.additionally_allowed_tenants.is_empty() {
            self.options.additionally_allowed_tenants = environment.additionally_allowed_tenants()?;
        }
        let links = selected(
            environment.token_credentials()?.as_deref(),
            self.requires_variable,
        )?;
        let replaced = |link| self.replaced.iter().rfind(|(replaced, _)| *replaced == link);
        // A program that has replaced workload identity needs none from the pod.
        let hint = match replaced(DefaultAzureLink::WorkloadIdentity) {
            Some((_, Some(_))) => None,
            _ => missing_workload_identity(&environment),
        };
        let chain = links
            .iter()
            .filter_map(|link| {
                let credential = match replaced(*link) {
                    Some((_, replacement)) => Ok(replacement.clone()?),
                    None => self.credential(*link, &environment, links.len() == 1),
                };
                Some(Link {
                    name: link.name().into(),
                    credential,
                })
            })
            .collect();
        Ok(Arc::new(DefaultAzureCredential(Chain::new(chain, hint, true)?)))
    }

    fn credential(
        &self,
        link: DefaultAzureLink,
        environment: &Environment,
        is_alone: bool,
    ) -> Result<Arc<dyn Credential>, Error> {
        let mut options = self.options.clone();
        options.environment = Some(environment.clone());
        let clock = options.clock();
        Ok(match link {
            DefaultAzureLink::Environment => {
                let mut builder = EnvironmentCredential::builder();
                builder.options = options;
                builder.build()?
            }
            DefaultAzureLink::WorkloadIdentity => {
                let mut builder = WorkloadIdentityCredential::builder();
                options.client_id.clone_from(&self.workload_identity_client_id);
                builder.options = options;
                builder.build()?
            }
            DefaultAzureLink::ManagedIdentity => {
                let from_environment = || {
                    environment
                        .client_id()
                        .map(|id| id.map(ManagedIdentityId::ClientId))
                };
                let id = match &self.managed_identity {
                    Some(id) => Some(id.clone()),
                    None => from_environment()?,
                };
                let mut builder = ManagedIdentityCredential::builder()
                    .environment(environment.clone())
                    .shared_clock(clock);
                if let Some(id) = id {
                    builder = builder.id(id);
                }
                // Explicitly selected: skip the availability probe.
                if !is_alone {
                    builder = builder.probe_first();
                }
                builder.build()?
            }
            DefaultAzureLink::AzureCli => AzureCliCredential::with(environment, Some(clock)),
            DefaultAzureLink::AzureDeveloperCli => {
                AzureDeveloperCliCredential::with(environment, Some(clock))
            }
        })
    }
}

client_options!(DefaultAzureCredentialBuilder);

/// The links that `AZURE_TOKEN_CREDENTIALS` asks for.
fn selected(variable: Option<&str>, required: bool) -> Result<&'static [DefaultAzureLink], Error> {
    let Some(variable) = variable else {
        if required {
            return Err(Error::configuration(format!(
                "{AZURE_TOKEN_CREDENTIALS} is not set, and must be; set it to {}",
                values()
            )));
        }
        return Ok(&LINKS);
    };
    let (production, development) = LINKS.split_at(PRODUCTION);
    if variable.eq_ignore_ascii_case("prod") {
        return Ok(production);
    }
    if variable.eq_ignore_ascii_case("dev") {
        return Ok(development);
    }
    let named = LINKS.chunks(1).find(|link| {
        link.iter()
            .all(|link| link.credential_name().eq_ignore_ascii_case(variable))
    });
    named.ok_or_else(|| {
        Error::configuration(format!(
            "{AZURE_TOKEN_CREDENTIALS} is {variable:?}, and must be {}",
            values()
        ))
    })
}

fn values() -> String {
    let names: Vec<&str> = LINKS.iter().map(|link| link.credential_name()).collect();
    format!("prod, dev, or one of {}", names.join(", "))
}

/// The order of the SDKs for Go, Python, .NET and JavaScript, as far as they agree.
const LINKS: [DefaultAzureLink; 5] = [
    DefaultAzureLink::Environment,
    DefaultAzureLink::WorkloadIdentity,
    DefaultAzureLink::ManagedIdentity,
    DefaultAzureLink::AzureCli,
    DefaultAzureLink::AzureDeveloperCli,
];

/// How many of them are `prod`; the others are `dev`.
const PRODUCTION: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn build(value: &str) -> Result<Arc<DefaultAzureCredential>, Error> {
        let environment = Environment::from_iter([(AZURE_TOKEN_CREDENTIALS, value)]);
        DefaultAzureCredential::builder().environment(environment).build()
    }

    #[test]
    fn the_variable_selects_links_whatever_its_case_and_spaces() {
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
    fn a_wrong_value_is_refused_with_the_right_ones() {
        for value in ["production", "AzurePowerShellCredential", "dev,prod"] {
            let error = build(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let text = error.to_string();
            assert!(
                text.contains(value) && text.contains("prod, dev, or one of EnvironmentCredential"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_variable_can_be_required() {
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
    fn links_can_be_replaced_and_left_out() {
        let replacement = WorkloadIdentityCredential::builder()
            .environment(Environment::from_iter([
                ("AZURE_CLIENT_ID", "replacement"),
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
    async fn a_pod_without_workload_identity_is_told_so_once_whichever_link_stops_the_chain() {
        let replacement = WorkloadIdentityCredential::builder()
            .environment(Environment::default())
            .tenant_id("tenant")
            .client_id("client")
            .token_file("/nowhere/token")
            .build()
            .unwrap();
        let builder = DefaultAzureCredential::builder;
        let without = || builder().without(DefaultAzureLink::WorkloadIdentity);
        let replaced = builder().replace(DefaultAzureLink::WorkloadIdentity, replacement);
        let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        // A secret without a client stops the chain at the first link.
        let secret = ("AZURE_CLIENT_SECRET", "planted");
        let selected = |name| (AZURE_TOKEN_CREDENTIALS, name);
        let token_file = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
        for (builder, variables, told) in [
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
            let hints = text
                .matches("this pod carries no workload identity; put the label")
                .count();
            assert_eq!(hints, told, "{variables:?}: {text}");
        }
    }
}
