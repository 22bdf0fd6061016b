//! What users lean on without a word in the documentation: every public type can be shared between threads, kept for ever and
//! shown, every trait can be a trait object, every future can be spawned, and an error is one word wide.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use entra_workload::{
    AccessToken, AssertionRequest, Attempt, ChainedTokenCredential, ChainedTokenCredentialBuilder,
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialBuilder, ClientSecretCredential,
    ClientSecretCredentialBuilder, Clock, Credential, Environment, Error, ErrorKind, HttpTransport, Moment,
    ProjectedTokenFile, Secret, SystemClock, TokenRequest, Transport, WorkloadIdentityCredential,
    WorkloadIdentityCredentialBuilder,
};
#[cfg(feature = "default-credential")]
use entra_workload::{
    AzureCliCredential, AzureCliCredentialBuilder, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialBuilder, DefaultAzureCredential, DefaultAzureCredentialBuilder,
    DefaultAzureLink, ManagedIdentityCredential, ManagedIdentityCredentialBuilder, ManagedIdentityId,
};
#[cfg(feature = "client-certificate")]
use entra_workload::{
    ClientCertificateCredential, ClientCertificateCredentialBuilder, EnvironmentCredential,
    EnvironmentCredentialBuilder,
};
#[cfg(feature = "azure-core")]
use entra_workload::{SdkCredential, SdkTransport};

/// Compiles only if every one of the types is `Debug + Send + Sync + 'static`; gives their names.
macro_rules! types {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Debug + Send + Sync + 'static>() {}
        $(check::<$name>();)*
        [$(stringify!($name)),*]
    }};
}

/// Compiles only if every one of the traits makes an object that is `Send + Sync + 'static`; gives their names.
macro_rules! traits {
    ($($name:ident),*) => {{
        fn check<T: Send + Sync + 'static + ?Sized>() {}
        $(check::<dyn $name>();)*
        [$(stringify!($name)),*]
    }};
}

/// Compiles only if every one of the types is a credential, for the SDKs too.
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

/// Compiles only if the futures of every one of the credentials can be spawned.
macro_rules! futures {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Send>(_future: T) {}
        $(let _ = |credential: &$name| {
            check(credential.token(&["scope"]));
            check(credential.token_for(&TokenRequest::new(&["scope"])));
        };)*
    }};
}

#[test]
fn every_public_item_can_be_shared_kept_and_shown() {
    let mut checked = BTreeSet::from(types![
        AccessToken,
        AssertionRequest,
        Attempt,
        ChainedTokenCredential,
        ChainedTokenCredentialBuilder,
        ClientAssertionCredential,
        ClientAssertionCredentialBuilder,
        ClientSecretCredential,
        ClientSecretCredentialBuilder,
        Environment,
        Error,
        ErrorKind,
        HttpTransport,
        Moment,
        ProjectedTokenFile,
        Secret,
        SystemClock,
        TokenRequest,
        WorkloadIdentityCredential,
        WorkloadIdentityCredentialBuilder,
    ]);
    checked.extend(traits![ClientAssertion, Clock, Credential, Transport]);
    #[cfg(feature = "azure-core")]
    checked.extend(types![SdkCredential, SdkTransport]);
    #[cfg(feature = "client-certificate")]
    checked.extend(types![
        ClientCertificateCredential,
        ClientCertificateCredentialBuilder,
        EnvironmentCredential,
        EnvironmentCredentialBuilder,
    ]);
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
    let public = public_names(include_str!("../src/lib.rs"));
    if cfg!(feature = "default-credential") {
        assert_eq!(checked, public, "one is left out, or is no longer public");
    } else {
        assert!(checked.is_subset(&public), "one is no longer public");
    }
}

#[test]
fn every_credential_is_one_for_a_chain_and_for_the_sdks_and_can_be_spawned() {
    macro_rules! check {
        ($($names:tt)*) => {
            credentials![$($names)*];
            futures![$($names)*];
        };
    }
    check![
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
    // It is asked by the SDK's trait alone.
    #[cfg(feature = "azure-core")]
    credentials![SdkCredential];
}

#[test]
fn an_error_is_one_word_wide_and_can_be_given_to_many() {
    fn check<T: std::error::Error + Clone + Send + Sync + 'static>() {}

    check::<Error>();
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

/// What a module makes public: the names of its `pub use` lines.
fn public_names(code: &str) -> BTreeSet<&str> {
    let uses = code.split("\npub use ").skip(1).flat_map(|rest| {
        let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
        names.split(['{', '}', ',', '\n', ' '])
    });
    uses.filter(|name| !name.is_empty()).collect()
}
