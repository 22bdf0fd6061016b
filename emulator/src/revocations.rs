use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How often the tokens of each client were revoked. A token carries the number at its issue in `aio`, a
/// claim that is opaque to clients, so that revoking takes effect at once, whatever the clocks say.
#[derive(Clone, Default)]
pub(super) struct Revocations(Arc<Mutex<HashMap<String, u64>>>);

impl Revocations {
    pub(super) fn revoke(&self, client_id: &str) {
        let mut revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *revocations.entry(client_id.to_lowercase()).or_default() += 1;
    }

    /// Returns the `aio` of a new token.
    pub(super) fn mark(&self, client_id: &str) -> String {
        let mut mark = [0; 36];
        fastrand::fill(&mut mark);
        let (number, _) = mark.split_at_mut(8);
        number.copy_from_slice(&self.number(client_id).to_be_bytes());
        URL_SAFE_NO_PAD.encode(mark)
    }

    /// Whether the tokens of the client were revoked after this one was issued.
    pub(super) fn includes(&self, client_id: &str, mark: &str) -> bool {
        let issued = URL_SAFE_NO_PAD
            .decode(mark)
            .ok()
            .and_then(|mark| mark.first_chunk().copied())
            .map_or(0, u64::from_be_bytes);
        issued < self.number(client_id)
    }

    fn number(&self, client_id: &str) -> u64 {
        let revocations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        revocations
            .get(&client_id.to_lowercase())
            .copied()
            .unwrap_or_default()
    }
}
