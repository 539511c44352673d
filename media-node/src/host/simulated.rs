//! A simulated host: an address in a simulated network, a clock that may be wrong, and random numbers that a seed determines.
//!
//! A media node runs on one while [`SimulatedHost::run`] polls it. Its tasks, and what they start, find it by [`current`].

pub(crate) mod connection;
pub(crate) mod either;
mod in_flight;
mod narrow_path;
pub(crate) mod network;
mod network_state;
pub(crate) mod stream;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use network::Network;

/// A host of the simulated network.
#[derive(Clone)]
pub(crate) struct SimulatedHost {
    pub(crate) network: Network,
    pub(crate) address: Ipv4Addr,
    /// How far its clock is ahead of that of the latest host.
    skew: Arc<Mutex<Duration>>,
    random: Arc<Mutex<StdRng>>,
}

thread_local! {
    static CURRENT: RefCell<Option<SimulatedHost>> = const { RefCell::new(None) };
}

/// Returns the simulated host whose tasks are polled now on this thread.
pub(crate) fn current() -> Option<SimulatedHost> {
    CURRENT.with_borrow(Clone::clone)
}

impl SimulatedHost {
    pub(crate) fn new(network: Network, address: Ipv4Addr, skew: Duration, seed: u64) -> Self {
        Self {
            network,
            address,
            skew: Arc::new(Mutex::new(skew)),
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    /// Runs `polls` on this host.
    pub(crate) fn run<T>(&self, polls: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self.clone()));
        let result = polls();
        CURRENT.set(before);
        result
    }

    /// Sets its clock.
    pub(crate) fn set_skew(&self, skew: Duration) {
        *self.skew.lock() = skew;
    }

    pub(super) fn wall_clock(&self) -> Duration {
        let skew = *self.skew.lock();
        START + self.network.now() + skew
    }

    pub(super) fn random(&self) -> u64 {
        let mut random = self.random.lock();
        random.random_range(0..u64::MAX)
    }

    /// Returns the addresses of a name with their lifetime, or `None` when the DNS does not answer.
    pub(crate) async fn resolve(&self, name: &str) -> Option<(Vec<IpAddr>, Duration)> {
        let answer = self.network.resolve(name);
        let wait = if answer.is_some() {
            DNS_ANSWER
        } else {
            DNS_TIMEOUT
        };
        tokio::time::sleep(wait).await;
        answer
    }
}

/// The time at which every simulation starts, since 1970.
const START: Duration = Duration::from_secs(1_800_000_000);

const DNS_ANSWER: Duration = Duration::from_millis(2);
const DNS_TIMEOUT: Duration = Duration::from_secs(2);
