//! Admission: each accepted connection is served on a worker, or refused when the media node is full.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connections::{Admission, Permit};
use super::context::NodeContext;
use super::listener;
use super::workers::WorkerSlot;
use crate::delivery::socket;
use crate::{http, internal, rtmp};

/// A port of a media node.
#[derive(Clone, Copy)]
pub(super) enum Port {
    Rtmp,
    Http,
    Internal,
}

/// Accepts and admits connections until `closing` is cancelled, then closes the port.
pub(super) async fn serve(
    listener: TcpListener,
    closing: CancellationToken,
    context: Arc<NodeContext>,
    port: Port,
) {
    let admit = |stream, peer| admit(&context, port, stream, socket::canonical(peer));
    listener::accept(listener, closing, admit).await;
}

fn admit(context: &NodeContext, port: Port, stream: TcpStream, peer: SocketAddr) {
    let slot = context.workers.slot();
    if let Port::Internal = port {
        // Always, so that probes are answered: this port limits what its connections become.
        let context = Arc::clone(&context.internal);
        slot.run(move |worker| internal::serve(stream, peer, context, worker));
        return;
    }
    let admission = context.connections.admit(peer.ip(), Instant::now());
    if let Admission::Refused(limit, _) | Admission::Dropped(limit) = &admission {
        let refused = &context.metrics.refused;
        refused.with_label_values(&[limit.label()]).inc();
    }
    match (admission, port) {
        (Admission::Served(permit), Port::Rtmp) => {
            let context = Arc::clone(&context.rtmp);
            run(slot, permit, move |worker| {
                rtmp::serve(stream, peer, context, worker)
            });
        }
        (Admission::Served(permit), _) => {
            let context = Arc::clone(&context.http);
            run(slot, permit, move |worker| {
                http::serve(stream, peer, context, worker)
            });
        }
        (Admission::Refused(limit, permit), Port::Rtmp) => {
            let config = Arc::clone(&context.config);
            run(slot, permit, move |_| async move {
                rtmp::refuse(stream, peer, &config.limits, limit.reason()).await;
            });
        }
        (Admission::Refused(limit, permit), _) => {
            run(slot, permit, move |_| http::refuse(stream, limit.reason()));
        }
        (Admission::Dropped(_), _) => drop(stream),
    }
}

/// Runs a connection's task on its worker. The permit is returned when the task ends.
fn run<F>(slot: WorkerSlot, permit: Permit, start: impl FnOnce(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    slot.run(|worker| {
        let task = start(worker);
        async move {
            task.await;
            drop(permit);
        }
    });
}
