//! Admission: each accepted connection is served on a worker, or refused when the media node is full.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::{Admission, ConnectionLimit, Permit};
use super::context::NodeContext;
use super::listener;
use super::workers::WorkerSlot;
use crate::delivery::socket::{self, NewConnection};
use crate::host::net::{DetachedStream, TcpListener};
use crate::state::admitted::Admitted;
use crate::tls::TlsAcceptor;
use crate::{http, internal, rtmp};

/// A port of a media node. The public ones perform a TLS handshake where they have an acceptor.
pub(super) enum Port {
    Rtmp(Option<TlsAcceptor>),
    Http(Option<TlsAcceptor>),
    Internal,
    Metrics,
}

/// Accepts and admits connections until `closing` is cancelled, then closes the port.
pub(super) async fn serve(
    listener: TcpListener,
    closing: CancellationToken,
    context: Arc<NodeContext>,
    port: Port,
) {
    let admit = |stream, peer| admit(&context, &port, stream, socket::canonical(peer));
    listener::accept(listener, closing, admit).await;
}

fn admit(context: &NodeContext, port: &Port, stream: DetachedStream, peer: SocketAddr) {
    let slot = context.workers.slot();
    let (is_rtmp, tls) = match port {
        Port::Rtmp(tls) => (true, tls.clone()),
        Port::Http(tls) => (false, tls.clone()),
        Port::Internal => {
            // Always, so that probes are answered: this port limits what its connections become.
            let context = Arc::clone(&context.internal);
            slot.run(move |worker, slot| async move {
                internal::serve(stream, peer, context, worker).await;
                drop(slot);
            });
            return;
        }
        Port::Metrics => {
            let context = Arc::clone(&context.internal);
            slot.run(move |_, slot| async move {
                internal::serve_metrics(stream, peer, context).await;
                drop(slot);
            });
            return;
        }
    };
    let admission = context
        .connections
        .admit(peer.ip(), Instant::now().into_std());
    if let Admission::Refused(limit, _) | Admission::Dropped(limit) = &admission {
        let refused = &context.metrics.refused;
        refused.with_label_values(&[limit.label()]).inc();
    }
    let connection = NewConnection { stream, peer, tls };
    match (admission, is_rtmp) {
        (Admission::Served(permit), true) => {
            let context = Arc::clone(&context.rtmp);
            run(slot, permit, move |worker, admitted| {
                rtmp::serve(connection, context, worker, admitted)
            });
        }
        (Admission::Served(permit), false) => {
            let context = Arc::clone(&context.http);
            run(slot, permit, move |worker, admitted| {
                http::serve(connection, context, worker, admitted)
            });
        }
        // A handshake would cost more than the connection that is refused.
        (Admission::Refused(ConnectionLimit::Address(_), _), _) if connection.tls.is_some() => {
            drop(connection);
        }
        (Admission::Refused(limit, permit), true) => {
            let config = Arc::clone(&context.config);
            run(slot, permit, move |_, admitted| async move {
                rtmp::refuse(connection, &config.limits, limit.reason()).await;
                drop(admitted);
            });
        }
        (Admission::Refused(limit, permit), false) => {
            run(slot, permit, move |_, admitted| async move {
                http::refuse(connection, limit.reason()).await;
                drop(admitted);
            });
        }
        (Admission::Dropped(_), _) => drop(connection),
    }
}

/// Runs a connection's task on its worker.
fn run<F>(slot: WorkerSlot, permit: Permit, start: impl FnOnce(usize, Admitted) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    slot.run(|worker, slot| start(worker, Admitted::new((slot, permit))));
}
