//! Counts the relays that are active.

use prometheus::IntGauge;

/// A relay that counts as active while this lives.
pub(super) struct ActiveRelay(IntGauge);

impl ActiveRelay {
    pub(super) fn new(active: &IntGauge) -> Self {
        active.inc();
        Self(active.clone())
    }
}

impl Drop for ActiveRelay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
