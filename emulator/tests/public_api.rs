//! Every public type can be shared between threads, kept for ever and shown.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::BTreeSet;
use std::fmt::Debug;

use entra_workload_emulator::{
    ClusterIssuer, Emulator, EmulatorBuilder, Endpoint, Entra, Fault, FederatedCredential, ManagedIdentity,
    Pod, RecordedRequest, ServiceAccountToken,
};

/// Compiles only if every one of the types is `Debug + Send + Sync + 'static`; gives their names.
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
        ClusterIssuer,
        Emulator,
        EmulatorBuilder,
        Endpoint,
        Entra,
        Fault,
        FederatedCredential,
        ManagedIdentity,
        Pod,
        RecordedRequest,
        ServiceAccountToken,
    ]);
    let uses = include_str!("../src/lib.rs").split("\npub use ").skip(1);
    let public = uses
        .flat_map(|rest| {
            let names = rest.split(';').next().unwrap().rsplit("::").next().unwrap();
            names.split(['{', '}', ',', '\n', ' '])
        })
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(checked, public, "one is left out, or is no longer public");
}
