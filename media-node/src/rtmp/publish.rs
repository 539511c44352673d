//! An RTMP encoder: from its publish command to the end of its stream. With the policy `standby` it may alternate between on air and
//! standby, without noticing.

mod accept;
mod arrivals;
mod bitrate;
mod encoder;
mod end;
mod message_rate;
mod on_air;
mod standby;

use std::convert::Infallible;

use media_config::DuplicatePublish;
use tracing::info;

use super::connection::{AfterStream, ConnectionLost, RtmpConnection};
use super::context::RtmpContext;
use super::request::StreamRequest;
use crate::relay::Contender;
use accept::{AcceptedEncoder, EncoderPlace, accept};
use encoder::EncoderConnection;
use end::PublishEnd;
use on_air::EncoderPublication;
use standby::stand_by;

/// Serves an encoder until its stream ends.
pub(super) async fn serve(
    connection: &mut RtmpConnection,
    context: &RtmpContext,
    request: StreamRequest,
) -> Result<AfterStream, ConnectionLost> {
    let count = |event| context.metrics.clients.publishes.of([event]).inc();
    let accepted = match accept(connection, context, &request).await {
        Ok(accepted) => accepted,
        Err(refusal) => {
            count("refused");
            if let Some(limit) = refusal.limit {
                context.metrics.exceeded(limit);
            }
            let reason = refusal.reason;
            info!(peer = %connection.peer, reason, "publish refused");
            connection.protocol.reject_publish(refusal.kind, &reason);
            connection.flush().await?;
            return Ok(AfterStream::Close);
        }
    };
    count("started");
    connection.protocol.accept_publish();
    let AcceptedEncoder {
        client,
        key,
        priority,
        bitrate,
        place,
        address: _address,
    } = accepted;
    let mut encoder = EncoderConnection::new(connection, context, client, key, priority, bitrate);
    let Err(end) = take_turns(&mut encoder, place).await;
    let (stream, client) = (&encoder.key, &encoder.client);
    let (client, received) = (client.id, client.counters().received);
    info!(%stream, client, ?end, received, "publish ended");
    drop(encoder);
    // The time for the next command begins with it.
    connection.message_timeout.restart();
    count(end.label());
    if let Some(limit) = end.exceeded_limit() {
        context.metrics.exceeded(limit);
    }
    finish(connection, end).await
}

/// Lets the encoder publish and stand by until it ends.
async fn take_turns(
    encoder: &mut EncoderConnection<'_>,
    mut place: EncoderPlace,
) -> Result<Infallible, PublishEnd> {
    encoder.flush().await?;
    let policy = encoder.context.config.stream.duplicate_publish;
    loop {
        place = match place {
            EncoderPlace::OnAir(mut on_air) => match on_air.receive(encoder).await {
                PublishEnd::Superseded if policy == DuplicatePublish::Standby => {
                    leave_air(&on_air, encoder)?
                }
                end => return Err(end),
            },
            EncoderPlace::Standby(standby, contender) => {
                EncoderPlace::OnAir(stand_by(encoder, standby, contender).await?)
            }
        };
    }
}

/// Lets an encoder stand by whose publication was superseded.
fn leave_air(
    on_air: &EncoderPublication,
    encoder: &EncoderConnection<'_>,
) -> Result<EncoderPlace, PublishEnd> {
    let (stream, client, priority) = (&encoder.key, encoder.client.id, encoder.priority);
    let standby = encoder.context.registry.stand_by(stream);
    let mut standby = standby.map_err(PublishEnd::NoStandby)?;
    standby.keep_init_data(on_air.publication());
    info!(%stream, client, priority, "publish stands by");
    let contender = Contender::superseded(priority, on_air.publication().epoch());
    Ok(EncoderPlace::Standby(standby, contender))
}

/// Sends the reason for the end, where the encoder can still receive it.
async fn finish(
    connection: &mut RtmpConnection,
    end: PublishEnd,
) -> Result<AfterStream, ConnectionLost> {
    if end == PublishEnd::Closed {
        return Err(ConnectionLost::Closed);
    }
    let Some((refusal, reason)) = end.refusal() else {
        connection.flush().await?;
        return Ok(match end {
            PublishEnd::Drained => AfterStream::Close,
            _ => AfterStream::Continue,
        });
    };
    connection.protocol.end_publish(refusal, &reason);
    connection.flush().await?;
    Ok(AfterStream::Close)
}
