//! The address that publishes each stream, and how many streams one address may publish.
//!
//! A stream counts as that of its last publisher for as long as it takes the place of another one: while it is published, and while
//! viewers wait for the publisher to return. Otherwise a client could publish one name after the other, and leave them behind.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use media_engine::Registry;
use media_wire::StreamKey;

use super::address_limits::network;
use super::limits::CurrentLimits;

/// The streams that have a publisher, or had one, and their limit for each address. Clones share them.
#[derive(Clone)]
pub(crate) struct PublisherAddresses {
    registry: Registry,
    limits: CurrentLimits,
    streams: Arc<Mutex<HashMap<StreamKey, OwnedStream>>>,
}

/// A stream of an address.
struct OwnedStream {
    /// Of the last publisher.
    address: IpAddr,
    publishers: usize,
}

/// A publisher of a stream, until this is dropped.
pub(crate) struct PublisherAddress {
    addresses: PublisherAddresses,
    stream: StreamKey,
}

/// The error of an address that publishes as many streams as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("your address publishes as many streams here as it may: {0}")]
pub(crate) struct TooManyStreamsOfAddress(u32);

impl PublisherAddresses {
    /// Returns the addresses of the publishers of this registry.
    pub(crate) fn new(registry: Registry, limits: CurrentLimits) -> Self {
        Self {
            registry,
            limits,
            streams: Arc::default(),
        }
    }

    /// Counts a stream as one of its publisher's address, unless that has too many others.
    pub(crate) fn enter(
        &self,
        stream: &StreamKey,
        peer: IpAddr,
    ) -> Result<PublisherAddress, TooManyStreamsOfAddress> {
        let (address, mut streams) = (network(peer), self.lock());
        if let Some(limit) = self.limits.get().max_streams_per_address() {
            let has_many = |streams: &HashMap<_, OwnedStream>| {
                let others = streams
                    .iter()
                    .filter(|(key, owned)| owned.address == address && *key != stream);
                u32::try_from(others.count()).unwrap_or(u32::MAX) >= limit
            };
            // Most addresses have few streams, so that it is rarely looked which of them still exist.
            if has_many(&streams) {
                self.prune(&mut streams);
            }
            if has_many(&streams) {
                return Err(TooManyStreamsOfAddress(limit));
            }
        }
        let publishers = streams.get(stream).map_or(0, |owned| owned.publishers);
        let owned = OwnedStream {
            address,
            publishers: publishers + 1,
        };
        streams.insert(stream.clone(), owned);
        Ok(PublisherAddress {
            addresses: self.clone(),
            stream: stream.clone(),
        })
    }

    /// Forgets the streams that take no place. Called from time to time.
    pub(crate) fn forget_ended(&self) {
        self.prune(&mut self.lock());
    }

    fn prune(&self, streams: &mut HashMap<StreamKey, OwnedStream>) {
        streams.retain(|key, owned| owned.publishers > 0 || self.registry.is_occupied(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, OwnedStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PublisherAddress {
    fn drop(&mut self) {
        if let Some(owned) = self.addresses.lock().get_mut(&self.stream) {
            owned.publishers -= 1;
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
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn stream_belongs_to_the_address_that_has_taken_it_over() {
        let (_registry, addresses) = addresses(Limits {
            max_streams_per_address: 1,
            ..Limits::default()
        });
        let former = addresses.enter(&key("1"), HERE).unwrap();
        let _next = addresses.enter(&key("1"), ELSEWHERE).unwrap();
        drop(former);
        assert!(addresses.enter(&key("2"), HERE).is_ok());
        assert!(addresses.enter(&key("3"), ELSEWHERE).is_err());
    }

    #[test]
    fn addresses_that_tell_nothing_have_no_limit() {
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
            assert!(entered.iter().all(Result::is_ok));
        }
    }
}
