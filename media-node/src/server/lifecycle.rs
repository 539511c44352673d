//! Lifecycle of a media node: the order in which its parts are opened and closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media_config::NodeConfig;
use media_log::LogLevel;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, error_span, info, warn};

use super::admission::{self, Port};
use super::bind_error::BindError;
use super::context::NodeContext;
use super::live_settings::LiveFile;
use super::port_contexts::PortContexts;
use super::ports::{self, Addresses, OpenPort};
#[cfg(test)]
use super::probe::Probe;
use super::ticks::ticks;
use super::timings::Timings;
use super::workers::Workers;
use super::{drain, media_memory, open_files, returned_memory, viewer_lag, worker_load};
use crate::auth;
use crate::discovery::OriginSet;
use crate::host;
use crate::small_file::reload_every;
use crate::state::clients::StopReason;
use crate::state::metrics::Metrics;
use crate::tls::Tls;

/// Interval of the search for streams that have ended.
const SWEEP: Duration = Duration::from_secs(1);

/// A media node whose ports are open.
pub struct Node {
    contexts: PortContexts,
    workers: Workers,
    ports: Vec<OpenPort>,
    addresses: Addresses,
    tls: Option<Arc<Tls>>,
    live: Option<(LiveFile, LogLevel)>,
    /// Carries the instance name to every log line.
    span: Span,
}

impl Node {
    /// Opens the ports of a media node and starts its threads. [`Node::run`] accepts connections.
    ///
    /// # Errors
    /// When a port cannot be opened, or `auth` or `tls` is invalid; the error names its field of the configuration.
    pub async fn bind(config: NodeConfig) -> Result<Self, BindError> {
        Self::bind_with(config, Timings::default()).await
    }

    /// Opens the ports of a media node with other waits than the default.
    ///
    /// # Errors
    /// As [`Node::bind`].
    pub async fn bind_with(config: NodeConfig, timings: Timings) -> Result<Self, BindError> {
        if let Some(directory) = config.http.directory.as_ref().filter(|path| !path.is_dir()) {
            let directory = directory.display();
            return Err(BindError::invalid(format_args!(
                "http.directory: {directory} is not a folder that can be read"
            )));
        }
        open_files::raise(config.limits.max_connections);
        let metrics = Arc::new(Metrics::new());
        let tls = config.tls.as_ref();
        let tls = tls.map(|settings| Tls::open(settings, &metrics.tls).map(Arc::new));
        let tls = tls.transpose().map_err(BindError::invalid)?;
        let (ports, addresses) = ports::open(&config, tls.as_deref())?;
        let name = match config.name.as_str() {
            "" => host_name(),
            name => name.to_owned(),
        };
        // The level `error`, because a span below the configured log level would be absent.
        let span = error_span!("instance", name);
        let workers = Workers::start(config.workers, &span).map_err(BindError::Workers)?;
        let handles = workers.handles();
        let failures = metrics.origins.dns_failures.clone();
        let origins = if config.origins.is_empty() {
            None
        } else {
            Some(handles.enter_control(|| OriginSet::start(&config.origins, failures)))
                .transpose()
                .map_err(BindError::invalid)?
        };
        let context =
            span.in_scope(|| NodeContext::new(name, config, timings, handles, origins, metrics))?;
        Ok(Self {
            contexts: PortContexts::new(Arc::new(context)),
            workers,
            ports,
            addresses,
            tls,
            live: None,
            span,
        })
    }

    /// Applies the settings of `file` when it changes, and its log level to `log`.
    #[must_use]
    pub fn follow(mut self, file: LiveFile, log: LogLevel) -> Self {
        self.live = Some((file, log));
        self
    }

    /// Gives memory back to the system that clients have left behind, for as long as the media node runs. It is for programs whose
    /// allocator is mimalloc.
    pub fn return_memory(&self) {
        returned_memory::start(&self.workers.handles(), &self.contexts.node.registry);
    }

    /// Returns a token that opens the API of media nodes with this configuration for an hour: the header is
    /// `Authorization: Bearer TOKEN`. Returns `None` where the API asks for none or for tokens of Kubernetes.
    ///
    /// # Errors
    /// When `identity.secretFile` cannot be read.
    pub fn api_token(config: &NodeConfig) -> Result<Option<String>, BindError> {
        let secret_file = config.identity.secret_file.as_deref();
        secret_file
            .map(auth::api_token)
            .transpose()
            .map_err(BindError::invalid)
    }

    /// Returns a probe of the media node, which remains after its end.
    #[cfg(test)]
    pub(crate) fn probe(&self) -> Probe {
        Probe(Arc::downgrade(&self.contexts.node))
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
        let contexts = Arc::new(self.contexts);
        let context = Arc::clone(&contexts.node);
        log_start(&context, &self.addresses);
        let closing = CancellationToken::new();
        let mut ports = JoinSet::new();
        for OpenPort { listener, port } in self.ports {
            let closing = match port {
                // Open to the end: relays, probes and metrics are served while the media node drains.
                Port::Internal | Port::Metrics => CancellationToken::new(),
                Port::Rtmp(_) | Port::Http(_) => closing.clone(),
            };
            let contexts = Arc::clone(&contexts);
            ports.spawn(admission::serve(listener, closing, contexts, port).in_current_span());
        }
        start_tasks(&context, self.tls, self.live);
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

/// Starts the tasks that a media node repeats until it ends: on the control thread, and those that measure a worker on each of them.
fn start_tasks(
    context: &Arc<NodeContext>,
    tls: Option<Arc<Tls>>,
    live: Option<(LiveFile, LogLevel)>,
) {
    let (workers, registry) = (&context.workers, &context.registry);
    let poll = context.timings.key_poll;
    if let Some(tls) = tls {
        workers.spawn_control(reload_every(poll, move || tls.reload()));
    }
    if let Some((file, log)) = live {
        workers.spawn_control(follow_live_settings(file, log, Arc::clone(context)));
    }
    workers.spawn_control(sweep(Arc::clone(context)));
    workers.spawn_control(viewer_lag::sample_viewers(Arc::clone(context)));
    let (limits, period) = (context.limits.clone(), context.timings.memory_poll);
    workers.spawn_control(media_memory::follow(registry.clone(), limits, period));
    workers.spawn_control(disconnect_revoked(Arc::clone(context)));
    let identity = Arc::clone(&context.identity);
    workers.spawn_control(reload_every(poll, move || identity.reload()));
    worker_load::start(workers, registry, &context.metrics, worker_load::PERIOD);
}

fn log_start(context: &NodeContext, addresses: &Addresses) {
    let shown = |address: Option<SocketAddr>| address.map(tracing::field::display);
    let Addresses {
        rtmp,
        http,
        rtmps,
        https,
        internal,
        metrics,
    } = *addresses;
    info!(
        role = ?context.config.role, rtmp = shown(rtmp), http = shown(http), rtmps = shown(rtmps), https = shown(https),
        %internal, %metrics, workers = context.workers.count(), "serving"
    );
}

/// Applies the live settings when their file changes.
async fn follow_live_settings(mut file: LiveFile, log: LogLevel, context: Arc<NodeContext>) {
    loop {
        sleep(context.timings.key_poll).await;
        let read = host::run_blocking(move || (file.reload(), file)).await;
        // A panic was printed by its thread.
        let Some((reloaded, same_file)) = read else {
            return;
        };
        file = same_file;
        let Some(reloaded) = reloaded else { continue };
        let applied = reloaded
            .map_err(|error| error.to_string())
            .and_then(|live| context.apply_live_settings(live, &log));
        let path = file.path().display();
        let result = match applied {
            Ok(()) => {
                info!(%path, "live settings applied");
                "success"
            }
            Err(error) => {
                warn!(%path, error, "live settings cannot be used, keeping the former ones");
                "error"
            }
        };
        context.metrics.node.settings_reloads.of([result]).inc();
    }
}

/// Removes the streams that have ended, and logs when the memory for streams is short. Streams that wait since the last round
/// get the slate.
async fn sweep(context: Arc<NodeContext>) {
    let mut ticks = ticks(SWEEP);
    let mut is_short = false;
    loop {
        ticks.tick().await;
        context.relay.begin_slates();
        context.registry.sweep(Instant::now().into_std());
        context.publishers.forget_ended();
        is_short = media_memory::log_pressure(is_short, &context.registry);
    }
}

/// Disconnects the clients whose key has been removed.
async fn disconnect_revoked(context: Arc<NodeContext>) {
    let mut ticks = ticks(context.timings.key_poll);
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
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        config.listen.rtmp = Some(free);
        config.listen.http = Some(free);
        config.listen.internal = free;
        config.listen.metrics = Some(free);
        config.origins.addresses = vec!["127.0.0.1:1".to_owned()];
        let node = Node::bind(config).await.unwrap();
        let context = Arc::downgrade(&node.contexts.node);
        let rtmp = Arc::downgrade(&node.contexts.rtmp);
        let clients = Arc::downgrade(&node.contexts.node.clients);
        let stop = CancellationToken::new();
        stop.cancel();
        node.run(CancellationToken::new(), stop).await;
        assert!(context.upgrade().is_none() && rtmp.upgrade().is_none());
        assert!(clients.upgrade().is_none());
    }
}
