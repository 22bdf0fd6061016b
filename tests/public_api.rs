//! What users lean on without a word in the documentation: every public type can be shared between threads, kept for ever and
//! shown, every trait can be a trait object, every future can be spawned, and an error is one word wide.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use entra_workload::{
    AccessToken, AssertionRequest, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialBuilder, Clock, Environment, Error, ErrorKind, HttpTransport, Moment,
    ProjectedTokenFile, Secret, SystemClock, TokenRequest, Transport, WorkloadIdentityCredential,
    WorkloadIdentityCredentialBuilder,
};

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

#[test]
fn every_public_item_can_be_shared_kept_and_shown() {
    let mut checked = BTreeSet::from(types![
        AccessToken,
        AssertionRequest,
        ClientAssertionCredential,
        ClientAssertionCredentialBuilder,
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
    checked.extend(traits![ClientAssertion, Clock, Transport]);
    let mut public = public_names(include_str!("../src/lib.rs"));
    if cfg!(not(feature = "azure-core")) {
        public.remove("SdkTransport");
    }
    #[cfg(feature = "azure-core")]
    {
        use entra_workload::SdkTransport;

        checked.extend(types![SdkTransport]);
    }
    #[cfg(feature = "emulator")]
    {
        use entra_workload::emulator::{
            ClusterIssuer, Emulator, EmulatorBuilder, Endpoint, Entra, Fault, FederatedCredential, Pod,
            RecordedRequest, ServiceAccountToken,
        };

        checked.extend(types![
            ClusterIssuer,
            Emulator,
            EmulatorBuilder,
            Endpoint,
            Entra,
            Fault,
            FederatedCredential,
            Pod,
            RecordedRequest,
            ServiceAccountToken,
        ]);
        public.extend(public_names(include_str!("../src/emulator.rs")));
    }
    assert_eq!(checked, public, "one is left out, or is no longer public");
}

#[cfg(feature = "azure-core")]
#[tokio::test]
async fn a_credential_is_a_credential_of_the_sdk() {
    use azure_core::credentials::TokenCredential;

    traits![TokenCredential];
    let _objects: [Arc<dyn TokenCredential>; 2] = [workload_identity(), client_assertion()];
}

#[test]
fn every_future_can_be_spawned() {
    fn check<T: Send>(_future: T) {}

    let (one, other) = (workload_identity(), client_assertion());
    let request = TokenRequest::new(&["scope"]);
    check(one.token(&["scope"]));
    check(one.token_for(&request));
    check(other.token(&["scope"]));
    check(other.token_for(&request));
}

#[test]
fn an_error_is_one_word_wide_and_can_be_given_to_many() {
    fn check<T: std::error::Error + Clone + Send + Sync + 'static>() {}

    check::<Error>();
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

fn workload_identity() -> Arc<WorkloadIdentityCredential> {
    WorkloadIdentityCredential::builder()
        .environment(Environment::default())
        .tenant_id("tenant")
        .client_id("client")
        .token_file("token")
        .build()
        .unwrap()
}

fn client_assertion() -> Arc<ClientAssertionCredential> {
    ClientAssertionCredential::builder()
        .environment(Environment::default())
        .tenant_id("tenant")
        .client_id("client")
        .assertion(|_: AssertionRequest| async { Ok(Secret::from("assertion")) })
        .build()
        .unwrap()
}

/// What a module makes public: the names of its `pub use` lines, and its own types.
fn public_names(code: &str) -> BTreeSet<&str> {
    let after = |keyword: &'static str| code.lines().filter_map(move |line| line.strip_prefix(keyword));
    let uses = code.split("\npub use ").skip(1).flat_map(|rest| {
        let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
        names.split(['{', '}', ',', '\n', ' '])
    });
    let own = ["pub struct ", "pub enum ", "pub trait "]
        .into_iter()
        .flat_map(after);
    let own = own.map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap());
    uses.chain(own).filter(|name| !name.is_empty()).collect()
}
