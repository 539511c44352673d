//! Admission: each accepted connection is served on a worker, or refused when the media node is full.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use media_wire::proxy_protocol::ProxyHeaderError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::connections::{Admission, ConnectionLimit, Permit};
use super::listener;
use super::port_contexts::PortContexts;
use super::proxy_header::{self, NoHeader};
use super::workers::WorkerSlot;
use crate::delivery::socket::{self, NewConnection};
use crate::host::net::{self, DetachedStream, TcpListener};
use crate::state::admitted::Admitted;
use crate::tls::TlsAcceptor;
use crate::{http, internal, rtmp};

/// Text for a client of a load balancer that sends no PROXY header, and for the administrator who configures it.
const NO_HEADER: &str =
    "this media node expects a PROXY header from your address, see proxies.proxyProtocolCidrs";

/// A port of a media node. The public ones perform a TLS handshake where they have an acceptor.
pub(super) enum Port {
    Rtmp(Option<TlsAcceptor>),
    Http(Option<TlsAcceptor>),
    Internal,
    Metrics,
}

/// The protocol of a public port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PublicProtocol {
    Rtmp,
    Http,
}

/// Accepts and admits connections until `closing` is cancelled, then closes the port.
pub(super) async fn serve(
    listener: TcpListener,
    closing: CancellationToken,
    contexts: Arc<PortContexts>,
    port: Port,
) {
    let admit = |stream, peer| admit(&contexts, &port, stream, socket::canonical(peer));
    listener::accept(listener, closing, admit).await;
}

fn admit(contexts: &Arc<PortContexts>, port: &Port, stream: DetachedStream, peer: SocketAddr) {
    let slot = contexts.node.workers.slot();
    let (protocol, tls) = match port {
        Port::Rtmp(tls) => (PublicProtocol::Rtmp, tls.clone()),
        Port::Http(tls) => (PublicProtocol::Http, tls.clone()),
        Port::Internal => {
            // Always, so that probes are answered: this port limits what its connections become.
            let context = Arc::clone(&contexts.internal);
            slot.run(move |worker, slot| async move {
                internal::serve(stream, peer, context, worker).await;
                drop(slot);
            });
            return;
        }
        Port::Metrics => {
            let context = Arc::clone(&contexts.internal);
            slot.run(move |_, slot| async move {
                internal::serve_metrics(stream, peer, context).await;
                drop(slot);
            });
            return;
        }
    };
    let connection = NewConnection { stream, peer, tls };
    if contexts.node.proxies.is_balancer(peer.ip()) {
        let contexts = Arc::clone(contexts);
        slot.run(move |_, slot| admit_balanced(contexts, protocol, connection, slot));
    } else {
        admit_client(contexts, protocol, connection, Some(peer.ip()), slot);
    }
}

/// Reads the PROXY header of a load balancer's connection, and admits it as that of the client.
async fn admit_balanced(
    contexts: Arc<PortContexts>,
    protocol: PublicProtocol,
    connection: NewConnection,
    slot: WorkerSlot,
) {
    let node = &contexts.node;
    let NewConnection { stream, peer, tls } = connection;
    let deadline = Instant::now() + node.limits.get().handshake_timeout();
    let Ok(mut stream) = net::attach(stream) else {
        return;
    };
    let source = proxy_header::read(&mut stream, deadline, &node.idle, peer.ip()).await;
    let Ok(stream) = net::detach(stream) else {
        return;
    };
    let error = match source {
        Ok(source) => {
            let peer = source.unwrap_or(peer);
            let connection = NewConnection { stream, peer, tls };
            let client = source.map(|source| source.ip());
            return admit_client(&contexts, protocol, connection, client, slot);
        }
        Err(error) => error,
    };
    debug!(%peer, %error, "connection of a load balancer lost");
    if let Some(reason) = error.label() {
        let refused = &node.metrics.connections.refused;
        refused.of([reason]).inc();
    }
    // Without TLS an error reaches the client: nothing has been read from it.
    if let NoHeader::Invalid(ProxyHeaderError::Missing) = error
        && tls.is_none()
        && let Some(permit) = node.connections.refuse()
    {
        let connection = NewConnection { stream, peer, tls };
        refuse(&contexts, protocol, connection, NO_HEADER, slot, permit);
    }
}

/// Serves or refuses a connection. A `client` has limits of its own; the connection of a proxy has none but those of all.
fn admit_client(
    contexts: &PortContexts,
    protocol: PublicProtocol,
    connection: NewConnection,
    client: Option<IpAddr>,
    slot: WorkerSlot,
) {
    let node = &contexts.node;
    // The clients of a reverse proxy are known with their requests.
    let is_client =
        |ip: &IpAddr| protocol == PublicProtocol::Rtmp || !node.proxies.is_reverse_proxy(*ip);
    let client = client.filter(is_client);
    let admission = node.connections.admit(client, Instant::now().into_std());
    if let Admission::Refused(limit, _) | Admission::Dropped(limit) = &admission {
        let refused = &node.metrics.connections.refused;
        refused.of([limit.label()]).inc();
    }
    match (admission, protocol) {
        (Admission::Served(permit), PublicProtocol::Rtmp) => {
            let context = Arc::clone(&contexts.rtmp);
            run(slot, permit, move |worker, admitted| {
                rtmp::serve(connection, context, worker, admitted)
            });
        }
        (Admission::Served(permit), PublicProtocol::Http) => {
            let context = Arc::clone(&contexts.http);
            run(slot, permit, move |worker, admitted| {
                http::serve(connection, context, worker, admitted)
            });
        }
        // A handshake would cost more than the connection that is refused.
        (Admission::Refused(ConnectionLimit::Address(_), _), _) if connection.tls.is_some() => {
            drop(connection);
        }
        (Admission::Refused(limit, permit), _) => {
            refuse(contexts, protocol, connection, limit.reason(), slot, permit);
        }
        (Admission::Dropped(_), _) => drop(connection),
    }
}

/// Refuses a connection with an error of its protocol.
fn refuse(
    contexts: &PortContexts,
    protocol: PublicProtocol,
    connection: NewConnection,
    reason: &'static str,
    slot: WorkerSlot,
    permit: Permit,
) {
    match protocol {
        PublicProtocol::Rtmp => {
            let limits = contexts.node.limits.get();
            run(slot, permit, move |_, admitted| async move {
                rtmp::refuse(connection, &limits, reason).await;
                drop(admitted);
            });
        }
        PublicProtocol::Http => {
            run(slot, permit, move |_, admitted| async move {
                http::refuse(connection, reason).await;
                drop(admitted);
            });
        }
    }
}

/// Runs a connection's task on its worker.
fn run<F>(slot: WorkerSlot, permit: Permit, start: impl FnOnce(usize, Admitted) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    slot.run(|worker, slot| start(worker, Admitted::new((slot, permit))));
}
