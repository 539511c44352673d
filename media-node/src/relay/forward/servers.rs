//! Forwarding to a foreign RTMP server: what an encoder publishes here is published there.

use bytes::{Buf, Bytes};
use http::HeaderValue;
use media_engine::{Cursor, CursorEvent, Format, Start};
use media_wire::Message;
use media_wire::relay::{RelayItem, RelayReader};
use media_wire::rtmp::ClientEvent;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::super::active_relay::ActiveRelay;
use super::super::rtmp_server::{Direction, RtmpLink, RtmpServer, RtmpServerError};
use super::source::ForwardSource;
use crate::state::clients::{ClientGuard, ClientRole};

/// Forwards a publication to the first server that accepts it, until it ends.
pub(super) async fn forward_to_servers(source: &ForwardSource) {
    let (context, stream) = (&source.context, source.stream.key());
    let _active = ActiveRelay::new(&context.metrics.forwards);
    let mut backoff = context.backoff();
    let (mut start, mut warned) = (Start::At(source.epoch, 0), false);
    while !source.ended.is_cancelled() {
        let due = Instant::now() + backoff.next();
        for server in &context.settings.rtmp_servers {
            let mut forward = ServerForward {
                source,
                messages: 0,
            };
            match forward.run(server, start).await {
                Ok(()) => return,
                Err(error) if forward.messages > 0 => {
                    info!(%stream, server = server.address(), %error, "forwarding lost");
                    context.metrics.failures.inc();
                    backoff.reset();
                    warned = false;
                    start = Start::Newest;
                    break;
                }
                Err(error) => {
                    context.metrics.failures.inc();
                    if !std::mem::replace(&mut warned, true) {
                        warn!(%stream, server = server.address(), %error, "the server does not accept the stream");
                    }
                }
            }
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = source.ended.cancelled() => {}
        }
    }
}

struct ServerForward<'a> {
    source: &'a ForwardSource,
    messages: u64,
}

impl ServerForward<'_> {
    /// Forwards until the publication has ended or another one has taken over.
    async fn run(&mut self, server: &RtmpServer, start: Start) -> Result<(), RtmpServerError> {
        let (context, stream) = (&self.source.context, &self.source.stream);
        let limit = context.settings.limits.get().max_command_bytes();
        let mut link = tokio::select! {
            link = server.open(stream.key(), Direction::Publish, limit) => link?,
            // Its last messages would take the place of an encoder that has started at the server since.
            () = self.source.ended.cancelled() => return Ok(()),
        };
        info!(stream = %stream.key(), server = server.address(), "forwarding");
        let agent = HeaderValue::from_static("rtmp");
        let client = context.add_client(link.peer(), ClientRole::Viewer, stream.key(), &agent);
        let mut cursor = stream.subscribe(Format::Relay, start, self.source.worker);
        let mut reader = RelayReader::new(context.settings.limits.get().max_message_bytes());
        loop {
            let next = tokio::select! {
                next = cursor.next() => next,
                event = link.event() => match event? {
                    ClientEvent::Status(status) if status.is_error() => {
                        return Err(RtmpServerError::Refused(status.code));
                    }
                    _ => continue,
                },
                () = self.source.ended.cancelled() => {
                    return self.finish(link, &mut cursor, &mut reader, &client).await;
                }
            };
            let CursorEvent::Batch(mut batch) = next else {
                return link.finish().await;
            };
            let bytes = batch.copy_to_bytes(batch.remaining());
            if !self.send(&mut link, &mut reader, &client, bytes).await? {
                return link.finish().await;
            }
        }
    }

    /// Sends what is left in the log, and the end.
    async fn finish(
        &mut self,
        mut link: RtmpLink,
        cursor: &mut Cursor,
        reader: &mut RelayReader,
        client: &ClientGuard,
    ) -> Result<(), RtmpServerError> {
        while let Some(CursorEvent::Batch(mut batch)) = cursor.try_next() {
            let bytes = batch.copy_to_bytes(batch.remaining());
            if !self.send(&mut link, reader, client, bytes).await? {
                break;
            }
        }
        link.finish().await
    }

    /// Sends the messages of a batch. Returns false at the first message of another publication.
    async fn send(
        &mut self,
        link: &mut RtmpLink,
        reader: &mut RelayReader,
        client: &ClientGuard,
        bytes: Bytes,
    ) -> Result<bool, RtmpServerError> {
        client.sent(bytes.len());
        reader.feed(bytes);
        // This media node wrote the bytes, so none of them is invalid.
        while let Ok(Some(item)) = reader.receive() {
            match item {
                RelayItem::Epoch(epoch) if epoch > self.source.epoch => return Ok(false),
                RelayItem::Epoch(_) => {}
                RelayItem::Message {
                    kind,
                    timestamp,
                    payload,
                    ..
                } => {
                    let message = Message {
                        kind,
                        timestamp,
                        payload,
                    };
                    link.send(&message).await?;
                    self.messages += 1;
                }
            }
        }
        Ok(true)
    }
}
