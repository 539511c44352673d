//! A node from its configuration to its end: what is opened, in which order, and what is taken down in which.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_config::NodeConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::admission::Admission;
use super::context::Shared;
use super::listener::{self, BindError};
use super::workers::Workers;
use super::{drain, open_files};
use crate::delivery::socket;
use crate::discovery::Origins;
use crate::{http, internal, rtmp};

/// How often streams that are over are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// A media node whose ports are open.
pub struct Node {
    shared: Arc<Shared>,
    workers: Workers,
    rtmp: TcpListener,
    http: TcpListener,
    internal: TcpListener,
    addresses: Addresses,
}

/// Where a node listens; with the ports that the system chose where the configuration says 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// RTMP: publish and play.
    pub rtmp: SocketAddr,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    pub http: SocketAddr,
    /// Probes, metrics, API and relays.
    pub internal: SocketAddr,
}

impl Node {
    /// Opens the ports of a node and starts its threads. Connections are taken from [`Node::run`] on.
    ///
    /// # Errors
    /// A port that cannot be opened, named with its field of the configuration.
    pub async fn bind(config: NodeConfig) -> Result<Self, BindError> {
        open_files::raise(config.limits.max_connections);
        let rtmp = listener::bind("listen.rtmp", config.listen.rtmp)?;
        let http = listener::bind("listen.http", config.listen.http)?;
        let internal = listener::bind("listen.internal", config.listen.internal)?;
        let local = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let addresses = Addresses {
            rtmp: local(&rtmp, config.listen.rtmp),
            http: local(&http, config.listen.http),
            internal: local(&internal, config.listen.internal),
        };
        let origins = match config.origins.is_empty() {
            true => None,
            false => Some(Origins::start(&config.origins).map_err(BindError::origins)?),
        };
        let workers = Workers::start(config.workers).map_err(BindError::Workers)?;
        Ok(Self {
            shared: Arc::new(Shared::new(config, workers.handles(), origins)),
            workers,
            rtmp,
            http,
            internal,
            addresses,
        })
    }

    /// Where the node listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `drain` is cancelled and the node is drained, or until `stop` is.
    ///
    /// # Guarantees
    /// When it returns, all ports are closed and all threads of the node are gone. With `stop` it returns at once.
    pub async fn run(self, drain: CancellationToken, stop: CancellationToken) {
        let Self {
            shared, workers, ..
        } = self;
        let addresses = self.addresses;
        info!(
            node = shared.name, role = ?shared.config.role, rtmp = %addresses.rtmp, http = %addresses.http,
            internal = %addresses.internal, workers = shared.workers.count(), "serving"
        );
        let closing = CancellationToken::new();
        let ended = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            self.rtmp,
            closing.clone(),
            Arc::clone(&shared),
            Port::Rtmp,
        ));
        tasks.spawn(serve(
            self.http,
            closing.clone(),
            Arc::clone(&shared),
            Port::Http,
        ));
        tasks.spawn(serve(
            self.internal,
            ended.clone(),
            Arc::clone(&shared),
            Port::Internal,
        ));
        shared.workers.spawn(sweep(Arc::clone(&shared)));
        tokio::select! {
            () = drain.cancelled() => drain::drain(&shared, &closing, &stop).await,
            () = stop.cancelled() => {}
        }
        tasks.shutdown().await;
        workers.stop().await;
    }
}

#[derive(Clone, Copy)]
enum Port {
    Rtmp,
    Http,
    Internal,
}

async fn serve(listener: TcpListener, closing: CancellationToken, shared: Arc<Shared>, port: Port) {
    let accepted = |stream, peer| {
        let peer = socket::canonical(peer);
        let place = shared.workers.place();
        let shared = Arc::clone(&shared);
        if let Port::Internal = port {
            if let Admission::Served(permit) = shared.internal_connections.admit() {
                place.run(|worker| internal::serve(stream, peer, shared, worker, permit));
            }
            return;
        }
        let admission = shared.connections.admit();
        if !matches!(admission, Admission::Served(_)) {
            shared.metrics.refused.with_label_values(&["limit"]).inc();
        }
        match (admission, port) {
            (Admission::Served(permit), Port::Rtmp) => {
                place.run(|worker| rtmp::serve(stream, peer, shared, worker, permit));
            }
            (Admission::Served(permit), _) => {
                place.run(|worker| http::serve(stream, peer, shared, worker, permit));
            }
            (Admission::Refused(permit), Port::Rtmp) => {
                place.run(|_| rtmp::refuse(stream, peer, shared, permit));
            }
            (Admission::Refused(permit), _) => {
                place.run(|_| http::refuse(stream, shared, permit));
            }
            (Admission::Dropped, _) => drop(stream),
        }
    };
    listener::accept(listener, closing, accepted).await;
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.registry.sweep(Instant::now());
    }
}
