//! Several credentials in one process share a transport, and nothing else.

use std::sync::Arc;

use crate::support::clock::TestClock;
use crate::support::identifiers::{TENANT_ID, VAULT};
use crate::support::transport::fake_endpoint;
use entra_workload::assertion::AssertionRequest;
use entra_workload::transport::Transport;
use entra_workload::{ClientAssertionCredential, Environment, Error, Secret};
use quick_cache::sync::Cache;

const ORDERS: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000001";
const INVOICES: &str = "7a5ff21b-4f5b-4f5b-9e3e-000000000002";

/// The credentials of a service for many clients, as the page "Configuration" recommends to keep them.
struct Clients {
    by_id: Cache<&'static str, Arc<ClientAssertionCredential>>,
    transport: Arc<dyn Transport>,
    clock: TestClock,
}

impl Clients {
    fn new(limit: usize, transport: impl Transport) -> Self {
        Self {
            by_id: Cache::new(limit),
            transport: Arc::new(transport),
            clock: TestClock::new(),
        }
    }

    fn get(&self, client_id: &'static str) -> Result<Arc<ClientAssertionCredential>, Error> {
        self.by_id.get_or_insert_with(&client_id, || {
            ClientAssertionCredential::builder()
                .environment(Environment::default())
                .tenant_id(TENANT_ID)
                .client_id(client_id)
                .assertion(|request: AssertionRequest| async move { Ok(Secret::from(request.client_id())) })
                .transport(self.transport.clone())
                .clock(self.clock.clone())
                .build()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn failure_and_tokens_of_one_client_do_not_reach_another() {
    let (transport, mut endpoint) = fake_endpoint();
    let clients = Clients::new(10, transport);
    let (orders, invoices) = (clients.get(ORDERS).unwrap(), clients.get(INVOICES).unwrap());

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
}

#[tokio::test(start_paused = true)]
async fn evicted_credential_keeps_its_token_for_whoever_holds_it() {
    let (transport, mut endpoint) = fake_endpoint();
    let clients = Clients::new(1, transport);
    let orders = clients.get(ORDERS).unwrap();
    let (token, ()) = tokio::join!(orders.token(&[VAULT]), async {
        endpoint.request().await.grant("planted-orders", 3600);
    });
    token.unwrap();
    clients.get(INVOICES).unwrap();
    assert_eq!(clients.by_id.len(), 1);
    assert_eq!(orders.token(&[VAULT]).await.unwrap().secret(), "planted-orders");
    endpoint.assert_no_request().await;
}
