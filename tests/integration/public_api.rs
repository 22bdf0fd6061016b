//! Properties that users rely on: public types are `Debug + Send + Sync + 'static`, traits are dyn
//! compatible, futures are `Send`, and an error is one word wide.

use std::collections::BTreeSet;
use std::fmt::Debug;

#[cfg(feature = "command")]
use entra_workload::assertion::CommandAssertion;
#[cfg(feature = "spiffe")]
use entra_workload::assertion::SpiffeJwtSvid;
use entra_workload::assertion::{
    AssertionRequest, AzurePipelines, ClientAssertion, CredentialAssertion, GitHubActions,
    KubernetesTokenRequest, ProjectedTokenFile, TerraformOidc,
};
#[cfg(feature = "default-credential")]
use entra_workload::builder::{
    AzureCliCredentialBuilder, AzureDeveloperCliCredentialBuilder, DefaultAzureCredentialBuilder,
    DefaultAzureLink, ManagedIdentityCredentialBuilder, ManagedIdentityId,
};
use entra_workload::builder::{
    AzurePipelinesCredentialBuilder, ChainedTokenCredentialBuilder, ClientAssertionCredentialBuilder,
    ClientSecretCredentialBuilder, WorkloadIdentityCredentialBuilder,
};
#[cfg(feature = "client-certificate")]
use entra_workload::builder::{ClientCertificateCredentialBuilder, EnvironmentCredentialBuilder};
use entra_workload::clock::{Clock, Moment, SystemClock};
#[cfg(feature = "diagnose")]
use entra_workload::diagnose::{
    Check, ClockSkew, Comparison, Defect, DiagnoseOptions, FederatedCredential, Finding, Observation,
    OtherIdentity, Pod, Property, Report, Resource, Service, Severity, SkipReason, State, Step,
};
use entra_workload::integration::BearerChallenge;
#[cfg(feature = "reqwest-middleware")]
use entra_workload::integration::BearerTokenMiddleware;
#[cfg(feature = "object-store")]
use entra_workload::integration::ObjectStoreCredential;
#[cfg(feature = "reqsign")]
use entra_workload::integration::ReqsignCredential;
#[cfg(feature = "azure-core")]
use entra_workload::integration::{
    ClaimsChallengePolicy, ForceTokenRefresh, SdkCredential, SdkTransport, TokenClaims, TokenTenantId,
};
use entra_workload::transport::{HttpTransport, TokenProxy, TokenProxyBuilder, Transport};
use entra_workload::{
    AccessToken, Attempt, AzurePipelinesCredential, ChainedTokenCredential, ClientAssertionCredential,
    ClientSecretCredential, Cloud, Code, Credential, CustomCloud, Environment, Error, ErrorKind, Identity,
    Owner, Secret, TokenRequest, TokenStream, WorkloadIdentityCredential,
};
#[cfg(feature = "default-credential")]
use entra_workload::{
    AzureCliCredential, AzureDeveloperCliCredential, DefaultAzureCredential, ManagedIdentityCredential,
};
#[cfg(feature = "client-certificate")]
use entra_workload::{ClientCertificateCredential, EnvironmentCredential};

/// Compiles only if all types are `Debug + Send + Sync + 'static`; returns their names.
macro_rules! types {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Debug + Send + Sync + 'static>() {}
        $(check::<$name>();)*
        [$(stringify!($name)),*]
    }};
}

/// Compiles only if the trait objects are `Send + Sync + 'static`; returns the names of the traits.
macro_rules! traits {
    ($($name:ident),*) => {{
        fn check<T: Send + Sync + 'static + ?Sized>() {}
        $(check::<dyn $name>();)*
        [$(stringify!($name)),*]
    }};
}

/// Compiles only if all types are credentials of this crate and of the SDKs.
macro_rules! credentials {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Credential>() {}
        $(check::<$name>();)*
        #[cfg(feature = "azure-core")]
        {
            fn check<T: azure_core::credentials::TokenCredential>() {}
            $(check::<$name>();)*
        }
        #[cfg(feature = "azure-core-021")]
        {
            fn check<T: azure_core_021::auth::TokenCredential>() {}
            $(check::<$name>();)*
        }
    }};
}

/// Compiles only if the futures of all credentials are `Send`.
macro_rules! futures {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Send>(_future: T) {}
        $(let _ = |credential: &$name| {
            check(credential.token(&["scope"]));
            check(credential.check(&["scope"]));
            check(credential.token_for(&TokenRequest::new(&["scope"])));
        };)*
    }};
}

#[test]
fn public_types_are_debug_send_sync_and_static() {
    let mut checked = BTreeSet::from(types![
        AccessToken,
        AssertionRequest,
        Attempt,
        AzurePipelines,
        AzurePipelinesCredential,
        AzurePipelinesCredentialBuilder,
        BearerChallenge,
        ChainedTokenCredential,
        ChainedTokenCredentialBuilder,
        ClientAssertionCredential,
        ClientAssertionCredentialBuilder,
        ClientSecretCredential,
        ClientSecretCredentialBuilder,
        Cloud,
        Code,
        CredentialAssertion,
        CustomCloud,
        Environment,
        Error,
        ErrorKind,
        GitHubActions,
        HttpTransport,
        Identity,
        KubernetesTokenRequest,
        Moment,
        Owner,
        ProjectedTokenFile,
        Secret,
        SystemClock,
        TerraformOidc,
        TokenProxy,
        TokenProxyBuilder,
        TokenRequest,
        TokenStream,
        WorkloadIdentityCredential,
        WorkloadIdentityCredentialBuilder,
    ]);
    checked.extend(traits![ClientAssertion, Clock, Credential, Transport]);
    #[cfg(feature = "command")]
    checked.extend(types![CommandAssertion]);
    #[cfg(feature = "spiffe")]
    checked.extend(types![SpiffeJwtSvid]);
    #[cfg(feature = "azure-core")]
    checked.extend(types![
        ClaimsChallengePolicy,
        ForceTokenRefresh,
        SdkCredential,
        SdkTransport,
        TokenClaims,
        TokenTenantId,
    ]);
    #[cfg(feature = "reqwest-middleware")]
    checked.extend(types![BearerTokenMiddleware]);
    #[cfg(feature = "client-certificate")]
    checked.extend(types![
        ClientCertificateCredential,
        ClientCertificateCredentialBuilder,
        EnvironmentCredential,
        EnvironmentCredentialBuilder,
    ]);
    #[cfg(feature = "object-store")]
    checked.extend(types![ObjectStoreCredential]);
    #[cfg(feature = "reqsign")]
    checked.extend(types![ReqsignCredential]);
    #[cfg(feature = "default-credential")]
    checked.extend(types![
        AzureCliCredential,
        AzureCliCredentialBuilder,
        AzureDeveloperCliCredential,
        AzureDeveloperCliCredentialBuilder,
        DefaultAzureCredential,
        DefaultAzureCredentialBuilder,
        DefaultAzureLink,
        ManagedIdentityCredential,
        ManagedIdentityCredentialBuilder,
        ManagedIdentityId,
    ]);
    let public = MODULES.iter().flat_map(|module| public_names(module)).collect();
    if cfg!(all(
        feature = "default-credential",
        feature = "object-store",
        feature = "reqsign",
        feature = "reqwest-middleware",
        feature = "spiffe"
    )) {
        assert_eq!(
            checked, public,
            "a public item is not checked, or a checked one is not public"
        );
    } else {
        assert!(checked.is_subset(&public), "a checked item is not public");
    }
}

#[cfg(feature = "diagnose")]
#[test]
fn types_of_a_diagnosis_are_debug_send_sync_and_static() {
    let checked = BTreeSet::from(types![
        Check,
        ClockSkew,
        Comparison,
        Defect,
        DiagnoseOptions,
        FederatedCredential,
        Finding,
        Observation,
        OtherIdentity,
        Pod,
        Property,
        Report,
        Resource,
        Service,
        Severity,
        SkipReason,
        State,
        Step,
    ]);
    assert_eq!(checked, public_names(include_str!("../../src/diagnose.rs")));
}

#[test]
fn crate_root_has_what_every_program_uses() {
    assert_eq!(public_names(MODULES[0]), BTreeSet::from(ROOT));
}

#[test]
fn credentials_implement_the_traits_and_their_futures_are_send() {
    macro_rules! check {
        ($($names:tt)*) => {
            credentials![$($names)*];
            futures![$($names)*];
        };
    }
    check![
        AzurePipelinesCredential,
        ChainedTokenCredential,
        ClientAssertionCredential,
        ClientSecretCredential,
        WorkloadIdentityCredential,
    ];
    #[cfg(feature = "client-certificate")]
    check![ClientCertificateCredential, EnvironmentCredential];
    #[cfg(feature = "default-credential")]
    check![
        AzureCliCredential,
        AzureDeveloperCliCredential,
        DefaultAzureCredential,
        ManagedIdentityCredential,
    ];
    // It implements only the SDK's trait.
    #[cfg(feature = "azure-core")]
    credentials![SdkCredential];
}

#[test]
fn error_is_one_word_wide_and_clone() {
    fn check<T: std::error::Error + Clone + Send + Sync + 'static>() {}

    check::<Error>();
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

/// Returns the names that a module makes public: its `pub use` items, and the public items that it defines.
fn public_names(code: &str) -> BTreeSet<&str> {
    let uses = code.split("\npub use ").skip(1).flat_map(|rest| {
        let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
        names.split(['{', '}', ',', '\n', ' '])
    });
    let items = ["\npub struct ", "\npub enum ", "\npub trait "];
    let items = items.iter().flat_map(|item| code.split(item).skip(1));
    let items = items.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
    uses.chain(items).filter(|name| !name.is_empty()).collect()
}

/// The public modules with names that `entra_workload::` or `entra_workload::{module}::` leads to.
const MODULES: [&str; 6] = [
    include_str!("../../src/lib.rs"),
    include_str!("../../src/assertion.rs"),
    include_str!("../../src/builder.rs"),
    include_str!("../../src/clock.rs"),
    include_str!("../../src/integration.rs"),
    include_str!("../../src/transport.rs"),
];

const ROOT: [&str; 25] = [
    "AccessToken",
    "Attempt",
    "AzureCliCredential",
    "AzureDeveloperCliCredential",
    "AzurePipelinesCredential",
    "ChainedTokenCredential",
    "ClientAssertionCredential",
    "ClientCertificateCredential",
    "ClientSecretCredential",
    "Cloud",
    "Code",
    "Credential",
    "CustomCloud",
    "DefaultAzureCredential",
    "Environment",
    "EnvironmentCredential",
    "Error",
    "ErrorKind",
    "Identity",
    "ManagedIdentityCredential",
    "Owner",
    "Secret",
    "TokenRequest",
    "TokenStream",
    "WorkloadIdentityCredential",
];
