//! How many streams one client address may publish.
//!
//! A stream counts as one of its publisher's address for as long as it takes the place of another one: while it is published, and while
//! viewers wait for the publisher to return. Otherwise a client could publish one name after the other, and leave them behind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use media_engine::Registry;
use media_wire::StreamKey;
use parking_lot::Mutex;

use super::limits::CurrentLimits;
use crate::networks::client_network;

/// The streams that each address publishes or has published, and their limit. Clones share them.
#[derive(Clone)]
pub(crate) struct PublisherAddresses {
    registry: Registry,
    limits: CurrentLimits,
    addresses: Arc<Mutex<HashMap<IpAddr, PublishedStreams>>>,
}

/// The publishers of each stream. One that has left is found again when the address has as many streams as it may, so that a client
/// that publishes many names costs no search for each.
type PublishedStreams = HashMap<StreamKey, usize>;

/// A publisher of a stream, until this is dropped.
pub(crate) struct PublisherAddress {
    addresses: PublisherAddresses,
    address: IpAddr,
    stream: StreamKey,
}

/// The error of an address that publishes as many streams as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("your address has the maximum number of published streams here, {0}")]
pub(crate) struct TooManyStreamsOfAddress(u32);

impl PublisherAddresses {
    /// Returns the addresses of the publishers of this registry.
    pub(crate) fn new(registry: Registry, limits: CurrentLimits) -> Self {
        Self {
            registry,
            limits,
            addresses: Arc::default(),
        }
    }

    /// Counts a stream as one of its publisher's address, unless that has too many others. Returns `None` where addresses have no limit.
    pub(crate) fn enter(
        &self,
        stream: &StreamKey,
        peer: IpAddr,
    ) -> Result<Option<PublisherAddress>, TooManyStreamsOfAddress> {
        let Some(limit) = self.limits.get().max_streams_per_address() else {
            return Ok(None);
        };
        let (address, mut addresses) = (client_network(peer), self.addresses.lock());
        let streams = addresses.entry(address).or_default();
        let is_full = |streams: &PublishedStreams| {
            let others = streams.len() - usize::from(streams.contains_key(stream));
            u32::try_from(others).unwrap_or(u32::MAX) >= limit
        };
        if is_full(streams) {
            self.prune(streams);
        }
        if is_full(streams) {
            return Err(TooManyStreamsOfAddress(limit));
        }
        *streams.entry(stream.clone()).or_default() += 1;
        Ok(Some(PublisherAddress {
            addresses: self.clone(),
            address,
            stream: stream.clone(),
        }))
    }

    /// Removes the streams that take no place any more. Called after each sweep.
    pub(crate) fn forget_ended(&self) {
        self.addresses.lock().retain(|_, streams| {
            self.prune(streams);
            !streams.is_empty()
        });
    }

    fn prune(&self, streams: &mut PublishedStreams) {
        streams.retain(|key, publishers| *publishers > 0 || self.registry.is_occupied(key));
    }
}

impl Drop for PublisherAddress {
    fn drop(&mut self) {
        let mut addresses = self.addresses.addresses.lock();
        let streams = addresses.get_mut(&self.address);
        if let Some(publishers) = streams.and_then(|streams| streams.get_mut(&self.stream)) {
            *publishers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use media_config::Limits;
    use media_engine::{DuplicatePolicy, EngineSettings, Publication, PublicationSource};
    use media_wire::relay::Epoch;
    use media_wire::{MediaKind, Message};

    use super::*;

    fn key(name: &str) -> StreamKey {
        StreamKey::new(None, "live", name).unwrap()
    }

    fn publish(registry: &Registry, name: &str) -> Publication {
        let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
        let published = registry.publish(&key(name), Epoch(1), source, policy, Instant::now());
        let mut publication = published.unwrap();
        publication.append(Message {
            kind: MediaKind::Audio,
            timestamp: 0,
            payload: vec![0xAF, 1, 0].into(),
        });
        publication
    }

    fn addresses(limits: Limits) -> (Registry, PublisherAddresses) {
        let registry = Registry::new(EngineSettings::default());
        let addresses = PublisherAddresses::new(registry.clone(), CurrentLimits::new(limits));
        (registry, addresses)
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn address_publishes_a_limited_number_of_streams_and_its_own_ones_again() {
        let (_registry, addresses) = addresses(Limits {
            max_streams_per_address: 2,
            ..Limits::default()
        });
        let _first = addresses.enter(&key("1"), HERE).unwrap();
        let second = addresses.enter(&key("2"), HERE).unwrap();
        let refused = addresses.enter(&key("3"), HERE).err();
        assert_eq!(refused, Some(TooManyStreamsOfAddress(2)));
        let _again = addresses.enter(&key("1"), HERE).unwrap();
        let _other = addresses.enter(&key("4"), ELSEWHERE).unwrap();
        drop(second);
        assert!(addresses.enter(&key("3"), HERE).is_ok());
    }

    #[test]
    fn stream_with_waiting_viewers_counts_and_an_abandoned_one_does_not() {
        let (registry, addresses) = addresses(Limits {
            max_streams_per_address: 1,
            ..Limits::default()
        });
        let begun = (publish(&registry, "1"), addresses.enter(&key("1"), HERE));
        let viewer = registry.open(&key("1")).unwrap();
        drop(begun);
        assert!(addresses.enter(&key("2"), HERE).is_err());
        drop(viewer);
        assert!(addresses.enter(&key("2"), HERE).is_ok());
        addresses.forget_ended();
        assert!(addresses.addresses.lock().is_empty());
    }

    #[test]
    fn addresses_have_no_limit_where_their_connections_have_none() {
        for limits in [
            Limits {
                max_streams_per_address: 0,
                ..Limits::default()
            },
            Limits {
                max_streams_per_address: 1,
                max_connections_per_address: 0,
                ..Limits::default()
            },
        ] {
            let (_registry, addresses) = addresses(limits);
            let names = (0..9).map(|number| key(&number.to_string()));
            let entered: Vec<_> = names.map(|key| addresses.enter(&key, HERE)).collect();
            assert!(entered.iter().all(|entered| matches!(entered, Ok(None))));
        }
    }
}
