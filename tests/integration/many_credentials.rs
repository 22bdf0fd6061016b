//! Several credentials in one process share a transport, and nothing else.

use std::sync::Arc;

use crate::support::clock::TestClock;
use crate::support::identifiers::{TENANT_ID, VAULT};
use crate::support::transport::fake_endpoint;
use entra_workload::assertion::AssertionRequest;
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, CredentialPool, Environment, Secret};

const ORDERS: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000001";
const INVOICES: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000002";

fn pool(limit: usize, transport: impl Transport) -> CredentialPool<&'static str, ClientAssertionCredential> {
    let transport: Arc<dyn Transport> = Arc::new(transport);
    let clock = TestClock::new();
    CredentialPool::new(limit, move |client_id: &&'static str| {
        ClientAssertionCredential::builder()
            .environment(Environment::default())
            .tenant_id(TENANT_ID)
            .client_id(*client_id)
            .assertion(|request: AssertionRequest| async move { Ok(Secret::from(request.client_id())) })
            .transport(transport.clone())
            .clock(clock.clone())
            .build()
    })
}

#[tokio::test(start_paused = true)]
async fn failure_and_tokens_of_one_client_do_not_reach_another() {
    let (transport, mut endpoint) = fake_endpoint();
    let pool = pool(10, transport);
    let (orders, invoices) = (pool.get(&ORDERS).unwrap(), pool.get(&INVOICES).unwrap());

    let (failed, ()) = tokio::join!(orders.token(&[VAULT]), async {
        let request = endpoint.request().await;
        assert_eq!(request.form["client_assertion"], ORDERS);
        request.refuse(401, "invalid_client", 7_000_222);
    });
    failed.unwrap_err();
    // The other client does not cool down, and asks for itself.
    let (token, ()) = tokio::join!(invoices.token(&[VAULT]), async {
        let request = endpoint.request().await;
        assert_eq!(request.form["client_id"], INVOICES);
        request.grant("planted-invoices", 3600);
    });
    assert_eq!(token.unwrap().secret(), "planted-invoices");
    orders.token(&[VAULT]).await.unwrap_err();
    invoices.clear();
    assert!(format!("{pool:?}").contains("limit: 10"));
}

#[tokio::test(start_paused = true)]
async fn evicted_credential_keeps_its_token_for_whoever_holds_it() {
    let (transport, mut endpoint) = fake_endpoint();
    let pool = pool(1, transport);
    let orders = pool.get(&ORDERS).unwrap();
    let (token, ()) = tokio::join!(orders.token(&[VAULT]), async {
        endpoint.request().await.grant("planted-orders", 3600);
    });
    token.unwrap();
    pool.get(&INVOICES).unwrap();
    assert_eq!(pool.len(), 1);
    assert_eq!(orders.token(&[VAULT]).await.unwrap().secret(), "planted-orders");
    endpoint.assert_no_request().await;
}
