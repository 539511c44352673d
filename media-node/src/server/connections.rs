//! Number of open connections, and its limits: all together, and those of one address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::state::address_limits::{AddressLimit, AddressLimits, AddressPermit};
use crate::state::limits::CurrentLimits;

/// The maximum number of connections over the limit that are refused with an error at one time. Further ones are closed without an
/// error, because a refusal costs a file descriptor and a task.
const MAX_REFUSALS: usize = 256;

/// Open connections of the public ports, and their limits.
pub(super) struct Connections {
    limits: CurrentLimits,
    addresses: AddressLimits,
    open: Arc<watch::Sender<usize>>,
    refused: Arc<watch::Sender<usize>>,
}

/// Decision about a new connection.
pub(super) enum Admission {
    /// It is served.
    Served(Permit),
    /// It gets an error that the media node is full, and is closed.
    Refused(ConnectionLimit, Permit),
    /// It is closed without an error.
    Dropped(ConnectionLimit),
}

/// The limit that a connection exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionLimit {
    /// That of all connections.
    All,
    /// One of its address.
    Address(AddressLimit),
}

impl ConnectionLimit {
    /// Value of the metric's label `reason`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::All => "limit",
            Self::Address(limit) => limit.label(),
        }
    }

    /// Text for the client.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::All => "this media node is full, try another one or later",
            Self::Address(limit) => limit.reason(),
        }
    }
}

impl Connections {
    pub(super) fn new(limits: CurrentLimits) -> Self {
        Self {
            addresses: AddressLimits::new(limits.clone()),
            limits,
            open: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Decides about a new connection. Those of a client's address are limited; `None` is a proxy's connection.
    pub(super) fn admit(&self, client: Option<IpAddr>, now: Instant) -> Admission {
        let address = client.map(|client| self.addresses.admit(client, now));
        let limit = self.limits.get().max_connections;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let exceeded = match address.transpose() {
            Ok(address) => match Permit::acquire(&self.open, limit, address) {
                Some(permit) => return Admission::Served(permit),
                None => ConnectionLimit::All,
            },
            Err(limit) => ConnectionLimit::Address(limit),
        };
        match self.refuse() {
            Some(permit) => Admission::Refused(exceeded, permit),
            None => Admission::Dropped(exceeded),
        }
    }

    /// Returns a permit to refuse a connection with an error, unless too many are being refused.
    pub(super) fn refuse(&self) -> Option<Permit> {
        Permit::acquire(&self.refused, MAX_REFUSALS, None)
    }

    /// Returns the limits of each client address.
    pub(super) fn addresses(&self) -> AddressLimits {
        self.addresses.clone()
    }

    /// Returns the number of served connections as it changes.
    pub(super) fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }
}

/// Permit of one connection, returned on drop.
pub(super) struct Permit {
    count: Arc<watch::Sender<usize>>,
    _address: Option<AddressPermit>,
}

impl Permit {
    fn acquire(
        count: &Arc<watch::Sender<usize>>,
        limit: usize,
        address: Option<AddressPermit>,
    ) -> Option<Self> {
        let acquired = count.send_if_modified(|count| {
            let free = *count < limit;
            *count += usize::from(free);
            free
        });
        acquired.then(|| Self {
            count: Arc::clone(count),
            _address: address,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use media_config::Limits;

    use super::*;

    #[test]
    fn connection_over_the_limit_is_refused_until_another_one_ends() {
        let connections = Connections::new(CurrentLimits::new(Limits {
            max_connections: 1,
            ..Limits::default()
        }));
        let admit = |peer: [u8; 4]| connections.admit(Some(peer.into()), Instant::now());
        let Admission::Served(first) = admit([192, 0, 2, 1]) else {
            panic!("refused below the limit")
        };
        let second = admit([192, 0, 2, 2]);
        assert!(matches!(
            second,
            Admission::Refused(ConnectionLimit::All, _)
        ));
        drop(first);
        assert!(matches!(admit([192, 0, 2, 2]), Admission::Served(_)));
        assert_eq!(*connections.open().borrow(), 0);
    }
}
