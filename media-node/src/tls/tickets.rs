//! Session tickets: a client that reconnects presents a ticket that it has kept, which saves the signature of a handshake. The keys of
//! tickets are replaced with the certificate, so that no client continues a session that began with a former one.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring::Ticketer;
use tokio_rustls::rustls::server::ProducesTickets;

/// The keys of tickets. They are all that is stored for all clients together.
#[derive(Debug)]
pub(super) struct Tickets(RwLock<Arc<dyn ProducesTickets>>);

impl Tickets {
    /// Returns tickets with random keys, which the library replaces every few hours.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        Ok(Self(RwLock::new(Ticketer::new()?)))
    }

    /// Replaces the keys. Former tickets are not accepted any more.
    pub(super) fn renew(&self) -> Result<(), rustls::Error> {
        let renewed = Ticketer::new()?;
        *self.0.write() = renewed;
        Ok(())
    }

    fn current(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.0.read())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.current().enabled()
    }

    fn lifetime(&self) -> u32 {
        self.current().lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.current().encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.current().decrypt(cipher)
    }
}
