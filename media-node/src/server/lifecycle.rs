//! Lifecycle of a media node: what is opened, in which order, and what is closed in which.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media_config::NodeConfig;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, error_span, info};

use super::admission::{self, Port};
use super::context::NodeContext;
use super::listener::{self, BindError};
use super::timings::Timings;
use super::workers::Workers;
use super::{drain, open_files};
use crate::discovery::OriginSet;
use crate::state::clients::StopReason;

/// Interval of the search for streams that have ended.
const SWEEP: Duration = Duration::from_secs(1);

/// A media node whose ports are open.
pub struct Node {
    context: Arc<NodeContext>,
    workers: Workers,
    rtmp: TcpListener,
    http: TcpListener,
    internal: TcpListener,
    addresses: Addresses,
    /// Carries the instance name to every log line.
    span: Span,
}

/// The addresses that a media node listens on, with the ports that the system chose where the configuration has 0.
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
    /// Opens the ports of a media node and starts its threads. [`Node::run`] accepts connections.
    ///
    /// # Errors
    /// When a port cannot be opened, or `auth` is invalid; the error names its field of the configuration.
    pub async fn bind(config: NodeConfig) -> Result<Self, BindError> {
        Self::bind_with(config, Timings::default()).await
    }

    /// Opens the ports of a media node with other waits than the default.
    ///
    /// # Errors
    /// As [`Node::bind`].
    pub async fn bind_with(config: NodeConfig, timings: Timings) -> Result<Self, BindError> {
        open_files::raise(config.limits.max_connections);
        let rtmp = listener::bind("listen.rtmp", config.listen.rtmp)?;
        let http = listener::bind("listen.http", config.listen.http)?;
        let internal = listener::bind("listen.internal", config.listen.internal)?;
        let local =
            |listener: &TcpListener, configured| listener.local_addr().unwrap_or(configured);
        let addresses = Addresses {
            rtmp: local(&rtmp, config.listen.rtmp),
            http: local(&http, config.listen.http),
            internal: local(&internal, config.listen.internal),
        };
        let name = match config.name.as_str() {
            "" => host_name(),
            name => name.to_owned(),
        };
        // The level `error`, because a span below the configured log level would be absent.
        let span = error_span!("instance", name);
        let workers = Workers::start(config.workers, &span).map_err(BindError::Workers)?;
        let handles = workers.handles();
        let origins = match config.origins.is_empty() {
            true => None,
            false => Some(handles.enter(|| OriginSet::start(&config.origins)))
                .transpose()
                .map_err(BindError::origins)?,
        };
        let context = span
            .in_scope(|| NodeContext::new(name, config, timings, handles, origins))
            .map_err(BindError::auth)?;
        Ok(Self {
            context: Arc::new(context),
            workers,
            rtmp,
            http,
            internal,
            addresses,
            span,
        })
    }

    /// Returns the addresses that the media node listens on.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `drain` is cancelled and the drain has ended, or until `stop` is cancelled.
    ///
    /// # Guarantees
    /// When it returns, all ports are closed and all threads have ended: another media node can be started with the same
    /// configuration. After `stop` it returns without a drain.
    pub async fn run(self, drain: CancellationToken, stop: CancellationToken) {
        let span = self.span.clone();
        self.serve(drain, stop).instrument(span).await;
    }

    async fn serve(self, drain: CancellationToken, stop: CancellationToken) {
        let Self {
            context, addresses, ..
        } = self;
        info!(
            role = ?context.config.role, rtmp = %addresses.rtmp, http = %addresses.http,
            internal = %addresses.internal, workers = context.workers.count(), "serving"
        );
        let closing = CancellationToken::new();
        let mut ports = JoinSet::new();
        for (listener, port, closing) in [
            (self.rtmp, Port::Rtmp, closing.clone()),
            (self.http, Port::Http, closing.clone()),
            // Open to the end: relays, probes and metrics are served while the media node drains.
            (self.internal, Port::Internal, CancellationToken::new()),
        ] {
            let context = Arc::clone(&context);
            ports.spawn(admission::serve(listener, closing, context, port).in_current_span());
        }
        context.workers.spawn(sweep(Arc::clone(&context)));
        context
            .workers
            .spawn(disconnect_revoked(Arc::clone(&context)));
        let auth = Arc::clone(&context.auth);
        tokio::select! {
            () = drain.cancelled() => drain::drain(&context, &closing, &stop).await,
            () = stop.cancelled() => {}
        }
        ports.shutdown().await;
        self.workers.stop().await;
        // All clients have disconnected, and their hooks are being called.
        auth.close().await;
    }
}

/// Removes the streams that have ended.
async fn sweep(context: Arc<NodeContext>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        context.registry.sweep(Instant::now());
    }
}

/// Disconnects the clients whose key has been removed.
async fn disconnect_revoked(context: Arc<NodeContext>) {
    let mut ticks = interval(context.timings.key_poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for id in context.auth.revoked() {
            if let Some(client) = context.clients.find(id) {
                info!(stream = %client.stream, client = id, "disconnected: its key has been removed");
                client.stop(StopReason::Kicked);
            }
        }
    }
}

fn host_name() -> String {
    let read: io::Result<String> = std::fs::read_to_string("/proc/sys/kernel/hostname");
    match read {
        Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
        _ => "media-node".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopped_media_node_leaves_nothing_in_memory() {
        let mut config = NodeConfig::default();
        config.listen.rtmp = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen.http = config.listen.rtmp;
        config.listen.internal = config.listen.rtmp;
        config.origins.addresses = vec!["127.0.0.1:1".to_owned()];
        let node = Node::bind(config).await.unwrap();
        let context = Arc::downgrade(&node.context);
        let rtmp = Arc::downgrade(&node.context.rtmp);
        let clients = Arc::downgrade(&node.context.clients);
        let stop = CancellationToken::new();
        stop.cancel();
        node.run(CancellationToken::new(), stop).await;
        assert!(context.upgrade().is_none() && rtmp.upgrade().is_none());
        assert!(clients.upgrade().is_none());
    }
}
