//! The traits of the public types.

use std::collections::BTreeSet;
use std::fmt::Debug;

use entra_workload_emulator::{
    Admin, ApplicationSeed, BlobSeed, CiJob, ClusterIssuer, ContainerSeed, Emulator, EmulatorBuilder,
    Endpoint, Entra, Fault, FederatedCredential, FederatedCredentialSeed, IdentityHost, ManagedIdentity,
    ManagedIdentitySeed, Pod, PodSeed, RecordedRequest, Role, RoleScope, RoleSeed, SecretSeed, SecretText,
    Seed, ServiceAccountToken, TokenCaller, TokenProxy, TokenRejection, TokenVerifier, TrustedIssuerSeed,
};

/// Compiles only if all types are `Debug + Send + Sync + 'static`. Returns their names.
macro_rules! types {
    ($($name:ident),* $(,)?) => {{
        fn check<T: Debug + Send + Sync + 'static>() {}
        $(check::<$name>();)*
        [$(stringify!($name)),*]
    }};
}

#[test]
fn public_types_are_debug_send_sync_and_static() {
    let checked = BTreeSet::from(types![
        Admin,
        ApplicationSeed,
        BlobSeed,
        CiJob,
        ContainerSeed,
        FederatedCredentialSeed,
        ManagedIdentitySeed,
        PodSeed,
        Role,
        RoleScope,
        RoleSeed,
        SecretSeed,
        SecretText,
        Seed,
        TrustedIssuerSeed,
        ClusterIssuer,
        Emulator,
        EmulatorBuilder,
        Endpoint,
        Entra,
        Fault,
        FederatedCredential,
        IdentityHost,
        ManagedIdentity,
        Pod,
        RecordedRequest,
        ServiceAccountToken,
        TokenCaller,
        TokenProxy,
        TokenRejection,
        TokenVerifier,
    ]);
    let uses = include_str!("../../src/lib.rs").split("\npub use ").skip(1);
    let public = uses
        .flat_map(|rest| {
            let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
            names.split(['{', '}', ',', '\n', ' '])
        })
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        checked, public,
        "a public type is missing in the test, or is no longer public"
    );
}
