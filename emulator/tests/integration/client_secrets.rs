//! Client secrets.

use entra_workload_emulator::Emulator;

use crate::support::parts;
use crate::support::token_request::TokenRequest;

#[tokio::test]
async fn only_the_latest_client_secret_is_accepted_until_it_expires() {
    let emulator = Emulator::start().await.unwrap();
    let pod = emulator.pod("shop", "orders").unwrap();
    let with_secret = |secret| {
        TokenRequest::new(&pod)
            .without("client_assertion")
            .with("client_secret", secret)
    };
    emulator.entra().set_client_secret(pod.client_id(), "hunter1");
    emulator.entra().set_client_secret(pod.client_id(), "hunter2");
    let response = with_secret("hunter2").send(&emulator).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(parts(response.text("access_token")).1["appidacr"], "1");
    assert_eq!(
        with_secret("hunter1").send(&emulator).await.error(),
        (401, "invalid_client", 7_000_215)
    );
    emulator.entra().expire_client_secret(pod.client_id());
    assert_eq!(
        with_secret("hunter2").send(&emulator).await.error(),
        (401, "invalid_client", 7_000_222)
    );
    assert_eq!(
        with_secret("hunter1").send(&emulator).await.code(),
        7_000_215,
        "a wrong secret is reported before an expired one"
    );
}
