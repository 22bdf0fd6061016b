//! `DefaultAzureCredential`.

use std::sync::Arc;

use entra_workload::builder::DefaultAzureCredentialBuilder;
use entra_workload::{DefaultAzureCredential, Environment};
use entra_workload_emulator::{Endpoint, Fault};

use crate::leak_check::{CLIENT_SECRET, LeakCheck, WRONG_CLIENT_SECRET};
use crate::support::identifiers::CLIENT_ID;

#[tokio::test]
async fn nothing_leaks_when_a_link_of_the_default_chain_is_selected() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().set_client_secret(CLIENT_ID, CLIENT_SECRET);
    check.emulator.assign_system_identity();
    for (environment, selected) in [
        (with_secret(&check, CLIENT_SECRET), "environment"),
        (check.pod_environment(), "workload identity"),
        (check.machine(), "managed identity"),
    ] {
        let builder = builder(&check, environment);
        check.show(&builder);
        let credential = builder.build().unwrap();
        check.show_token(&*credential).await;
        assert_eq!(credential.selected(), Some(selected));
        let identity = credential
            .check(&["https://vault.azure.net/.default"])
            .await
            .unwrap();
        for attempt in identity.skipped() {
            check.show_error(attempt.error());
        }
    }
    check.finish(["entra_workload::chain: selected credential", "azure_identity::"]);
}

#[tokio::test]
async fn nothing_leaks_when_the_default_chain_stops_at_an_error() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().set_client_secret(CLIENT_ID, CLIENT_SECRET);
    check.emulator.inject(Endpoint::Imds, Fault::reset());
    for environment in [with_secret(&check, WRONG_CLIENT_SECRET), check.machine()] {
        let credential = builder(&check, environment).build().unwrap();
        check.show_failure(&*credential).await;
    }
    check.finish(["entra_workload::exchange: token request failed"]);
}

#[tokio::test]
async fn nothing_leaks_when_entra_echoes_the_client_secret_to_the_default_chain() {
    let mut check = LeakCheck::start().await;
    check.emulator.entra().set_client_secret(CLIENT_ID, CLIENT_SECRET);
    let build = |check: &LeakCheck| -> Arc<DefaultAzureCredential> {
        builder(check, with_secret(check, CLIENT_SECRET)).build().unwrap()
    };
    check.show_echoes(Endpoint::Entra, &[CLIENT_SECRET], build).await;
    check.finish(["entra_workload::exchange: token request failed"]);
}

fn builder(check: &LeakCheck, environment: Environment) -> DefaultAzureCredentialBuilder {
    DefaultAzureCredential::builder()
        .environment(environment)
        .transport(check.transport())
        .clock(check.clock.clone())
}

fn with_secret(check: &LeakCheck, secret: &str) -> Environment {
    check.application(&[("AZURE_CLIENT_SECRET", secret)])
}
