//! Where the origins are: the addresses behind a Service's DNS name or a static list, kept fresh in the background.
//!
//! Guarantees
//! * Nothing that carries media waits for DNS: readers look at a `watch`, one task asks the name servers.
//! * An answer is used for as long as its TTL says, but no less than 1 s and no more than 30 s.
//! * An answer without records means that there are no origins: pod addresses are given to other pods again, so an old
//!   one must not be asked for ever. An error (no answer, SERVFAIL) says nothing, and the last known addresses stay.
//! * [`Origins::refresh`] asks again at once, but no more often than once a second.
//!
//! The node itself may be in the set. It is left out by its id, in the answers that it gives, never by address.

mod rendezvous;
mod resolver;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use media_config::Discovery;
use media_wire::StreamKey;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

pub(crate) use resolver::NamesError;
use resolver::{LookupError, Names};

/// How often the name servers are asked.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The shortest time between two questions for the same name: errors, names without records and refreshes never spin.
    floor: Duration,
    /// The longest time that an answer is used, whatever its TTL.
    ceiling: Duration,
}

const PACE: Pace = Pace {
    floor: Duration::from_secs(1),
    ceiling: Duration::from_secs(30),
};
/// Origins that are kept of one answer: every question for a stream goes to all of them.
const MAX_ORIGINS: usize = 256;

/// The set of origins. Clones share it; the background task ends with the last one.
#[derive(Clone)]
pub(crate) struct Origins {
    set: watch::Receiver<Arc<[SocketAddr]>>,
    wake: Arc<Notify>,
}

/// A part of the configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginsError {
    /// An entry of `origins.addresses` has no port, or no host.
    #[error("origins.addresses: `{address}` is not HOST:PORT")]
    Address {
        /// The entry.
        address: String,
    },
    /// The system's name servers are not known, or a name is none.
    #[error("origins: {0}")]
    Names(#[from] NamesError),
}

impl Origins {
    /// Starts to follow the configured origins on the current runtime.
    ///
    /// # Errors
    /// When an address cannot be parsed, or when there is a name and the system has no usable `resolv.conf`.
    pub(crate) fn start(discovery: &Discovery) -> Result<Self, OriginsError> {
        let sources = sources(discovery)?;
        let names = if sources.iter().all(|source| source.place.is_fixed()) {
            None
        } else {
            Some(Names::from_system()?)
        };
        Ok(Self::follow(sources, names, PACE))
    }

    fn follow(sources: Vec<Source>, names: Option<Names>, pace: Pace) -> Self {
        let fixed: Vec<SocketAddr> = sources
            .iter()
            .flat_map(|source| source.addresses.iter().copied())
            .collect();
        let (sender, set) = watch::channel(together(fixed));
        let wake = Arc::new(Notify::new());
        if let Some(names) = names {
            tokio::spawn(resolve(sources, names, pace, sender, Arc::clone(&wake)));
        } else {
            tokio::spawn(async move { sender.closed().await });
        }
        Self { set, wake }
    }

    /// Origins that somebody else finds.
    #[cfg(test)]
    pub(crate) fn of(set: watch::Receiver<Arc<[SocketAddr]>>) -> Self {
        Self {
            set,
            wake: Arc::default(),
        }
    }

    /// The origins as far as they are known now.
    pub(crate) fn current(&self) -> Arc<[SocketAddr]> {
        Arc::clone(&self.set.borrow())
    }

    /// The origins, waiting for `limit` at most while none is known.
    pub(crate) async fn known(&self, limit: Duration) -> Arc<[SocketAddr]> {
        let mut set = self.set.clone();
        let found = timeout(limit, set.wait_for(|set| !set.is_empty())).await;
        match found {
            Ok(Ok(set)) => Arc::clone(&set),
            Ok(Err(_)) | Err(_) => self.current(),
        }
    }

    /// Whether there ever was an origin.
    pub(crate) fn ever_known(&self) -> bool {
        // No change is ever marked as seen in this receiver, and the first one is from none to some.
        !self.current().is_empty() || self.set.has_changed().unwrap_or(true)
    }

    /// The origins in the order in which a publish of `key` is offered to them.
    pub(crate) fn ranked(&self, key: &StreamKey) -> Vec<SocketAddr> {
        rendezvous::rank(&key.to_string(), &self.current())
    }

    /// The origins as they are known now and later.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<[SocketAddr]>> {
        self.set.clone()
    }

    /// Resolves again soon: somebody saw an origin fail.
    pub(crate) fn refresh(&self) {
        self.wake.notify_one();
    }
}

/// One entry of the configuration and what it stands for now.
#[derive(Debug)]
struct Source {
    place: Place,
    addresses: Vec<SocketAddr>,
    failing: bool,
}

#[derive(Debug)]
enum Place {
    Fixed,
    Host { name: String, port: u16 },
    Service { name: String, port: u16 },
}

impl Place {
    fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed)
    }

    fn name(&self) -> &str {
        match self {
            Self::Fixed => "",
            Self::Host { name, .. } | Self::Service { name, .. } => name,
        }
    }
}

fn sources(discovery: &Discovery) -> Result<Vec<Source>, OriginsError> {
    let source = |place, addresses| Source {
        place,
        addresses,
        failing: false,
    };
    let mut sources = Vec::new();
    if let Some(name) = &discovery.service {
        let place = Place::Service {
            name: name.clone(),
            port: discovery.port(),
        };
        sources.push(source(place, Vec::new()));
    }
    for address in &discovery.addresses {
        if let Ok(fixed) = address.parse::<SocketAddr>() {
            sources.push(source(Place::Fixed, vec![fixed]));
            continue;
        }
        let host = address.rsplit_once(':').and_then(|(host, port)| {
            let valid = !host.is_empty() && !host.contains(['[', ']', ':', '/']);
            Some((host, port.parse::<u16>().ok()?)).filter(|_| valid)
        });
        let Some((host, port)) = host else {
            return Err(OriginsError::Address {
                address: address.clone(),
            });
        };
        sources.push(source(
            Place::Host {
                name: host.to_owned(),
                port,
            },
            Vec::new(),
        ));
    }
    Ok(sources)
}

async fn resolve(
    mut sources: Vec<Source>,
    names: Names,
    pace: Pace,
    set: watch::Sender<Arc<[SocketAddr]>>,
    wake: Arc<Notify>,
) {
    let mut told = false;
    loop {
        let asked = Instant::now();
        let lives = tokio::select! {
            lives = join_all(sources.iter_mut().map(|source| source.update(&names, pace))) => lives,
            () = set.closed() => return,
        };
        let addresses = together(
            sources
                .iter()
                .flat_map(|source| source.addresses.iter().copied()),
        );
        if addresses.is_empty() && !std::mem::replace(&mut told, true) {
            let names: Vec<&str> = sources.iter().map(|source| source.place.name()).collect();
            info!(?names, "no origins yet");
        }
        set.send_if_modified(|known| {
            let changed = *known != addresses;
            if changed {
                info!(origins = ?addresses, "origins changed");
                *known = addresses;
            }
            changed
        });
        let life = lives.into_iter().flatten().min().unwrap_or(pace.ceiling);
        tokio::select! {
            () = sleep_until(asked + life) => {}
            () = wake.notified() => sleep_until(asked + pace.floor).await,
            () = set.closed() => return,
        }
    }
}

impl Source {
    /// Asks for the source's addresses and says how long the answer may be used; `None` is for ever.
    async fn update(&mut self, names: &Names, pace: Pace) -> Option<Duration> {
        let answer = match &self.place {
            Place::Fixed => return None,
            Place::Host { name, port } => names.addresses(name, *port).await,
            Place::Service { name, port } => names.service(name, *port).await,
        };
        match answer {
            Ok(answer) => {
                self.failing = false;
                self.addresses = answer.addresses;
                let life = answer
                    .valid_until
                    .saturating_duration_since(Instant::now().into_std());
                Some(if self.addresses.is_empty() {
                    pace.floor
                } else {
                    life.clamp(pace.floor, pace.ceiling)
                })
            }
            Err(error) => {
                self.report(&error);
                Some(pace.floor)
            }
        }
    }

    /// One line for each outage, not one for each attempt.
    fn report(&mut self, error: &LookupError) {
        if !std::mem::replace(&mut self.failing, true) {
            let kept = self.addresses.len();
            warn!(name = self.place.name(), %error, kept, "origins could not be resolved");
        }
    }
}

/// One sorted list without doubles, so that equal sets compare equal.
fn together(addresses: impl IntoIterator<Item = SocketAddr>) -> Arc<[SocketAddr]> {
    let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ORIGINS);
    addresses.into()
}
