//! An encoder that stands by: its messages are read and not kept. At a keyframe it goes on air, if it may.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use media_engine::{Standby, StandbyMessage};
use media_wire::Message;
use media_wire::StreamKey;
use media_wire::relay::Epoch;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use super::super::context::RtmpContext;
use super::encoder::EncoderConnection;
use super::end::PublishEnd;
use super::on_air::EncoderPublication;
use crate::relay::{Contender, PublishRejection, Resolution, SwitchReason};

/// The longest time between two surveys of what is on air elsewhere. What is on air here is noticed immediately.
const MAX_POLL: Duration = Duration::from_millis(500);

/// The surveys within `failoverAfterMilliseconds`.
const POLLS: u32 = 8;

/// Stands by until the encoder goes on air.
pub(super) async fn stand_by(
    encoder: &mut EncoderConnection<'_>,
    mut standby: Standby,
    contender: Contender,
) -> Result<EncoderPublication, PublishEnd> {
    let context = encoder.context;
    let mut conflict = Conflict::new(context, encoder.key.clone(), contender);
    let mut states = standby.stream().watch();
    loop {
        while let Some(message) = encoder.next_message().await? {
            // As on air, the worker's viewers get their turn.
            consume_budget().await;
            match standby.receive(message) {
                StandbyMessage::Taken => {}
                StandbyMessage::Start(message) => {
                    if let Some(turn) = conflict.turn.take() {
                        if let Some(on_air) = go_on_air(encoder, &standby, turn, message)? {
                            return Ok(on_air);
                        }
                        conflict.hurry();
                    }
                }
                StandbyMessage::InitDataTooLong { len, limit } => {
                    return Err(PublishEnd::InitDataTooLong { len, limit });
                }
                StandbyMessage::OutOfMemory(error) => return Err(PublishEnd::OutOfMemory(error)),
            }
        }
        encoder.flush().await?;
        let now = Instant::now();
        conflict.contender.steady = encoder.arrivals.is_steady(context.steady, now);
        tokio::select! {
            biased;
            changed = states.changed() => {
                if changed.is_err() || states.borrow_and_update().ended {
                    standby = stand_by_again(encoder, &standby)?;
                    states = standby.stream().watch();
                }
                conflict.hurry();
            }
            () = conflict.resolved() => {}
            input = encoder.input(now + MAX_POLL) => if input?.is_some() {
                encoder.drain(true);
            },
        }
    }
}

/// Stands by for the stream that has the key now: the former one has ended.
fn stand_by_again(
    encoder: &EncoderConnection<'_>,
    former: &Standby,
) -> Result<Standby, PublishEnd> {
    let standby = encoder.context.registry.stand_by(&encoder.key);
    let mut standby = standby.map_err(PublishEnd::NoStandby)?;
    standby.keep_init_data_of(former);
    Ok(standby)
}

/// Begins a publication with a keyframe. Returns `None` if the encoder stands by for longer.
fn go_on_air(
    encoder: &mut EncoderConnection<'_>,
    standby: &Standby,
    turn: Turn,
    keyframe: Message,
) -> Result<Option<EncoderPublication>, PublishEnd> {
    let (context, key, priority) = (encoder.context, &encoder.key, encoder.priority);
    let address = encoder.connection.peer.ip();
    let mut on_air = match EncoderPublication::begin(context, key, turn.epoch, priority, address) {
        Ok(on_air) => on_air,
        Err(error) => {
            debug!(stream = %encoder.key, client = encoder.client.id, %error, "standby does not go on air");
            return Ok(None);
        }
    };
    let (epoch, reason) = (on_air.publication().epoch().0, turn.reason.label());
    info!(stream = %encoder.key, client = encoder.client.id, epoch, priority, reason, "standby goes on air");
    let switches = &context.metrics.clients.standby_switches;
    switches.of([reason]).inc();
    let init_data = standby.init_data(keyframe.timestamp);
    for message in init_data.into_iter().chain([keyframe]) {
        match on_air.append(message, encoder) {
            Err(PublishEnd::Superseded) => return Ok(None),
            appended => appended?,
        }
    }
    Ok(Some(on_air))
}

/// The right to go on air at the next keyframe.
#[derive(Clone, Copy)]
struct Turn {
    epoch: Epoch,
    reason: SwitchReason,
}

/// The conflict with the publication that is on air, resolved again and again.
struct Conflict<'a> {
    context: &'a RtmpContext,
    key: StreamKey,
    contender: Contender,
    turn: Option<Turn>,
    poll: Duration,
    due: Instant,
    /// What is on air has changed during the resolution that is running.
    outdated: bool,
    running: Option<BoxFuture<'a, Result<Resolution, PublishRejection>>>,
}

impl<'a> Conflict<'a> {
    fn new(context: &'a RtmpContext, key: StreamKey, contender: Contender) -> Self {
        let poll = context.config.stream.failover_after() / POLLS;
        Self {
            context,
            key,
            contender,
            turn: None,
            poll: poll.min(MAX_POLL),
            due: Instant::now(),
            outdated: false,
            running: None,
        }
    }

    /// Lets the next resolution begin immediately.
    fn hurry(&mut self) {
        self.outdated = true;
        self.due = Instant::now();
    }

    /// Waits for the next resolution, which decides whether there is a turn. Cancel safe.
    async fn resolved(&mut self) {
        if self.running.is_none() {
            sleep_until(self.due).await;
            self.outdated = false;
            let (relay, key, contender) = (
                &self.context.relay,
                self.key.clone(),
                self.contender.clone(),
            );
            let resolution = async move { relay.resolve_conflict(&key, &contender).await };
            self.running = Some(resolution.boxed());
        }
        let Some(running) = &mut self.running else {
            return;
        };
        let resolution = running.await;
        self.running = None;
        self.due = if self.outdated {
            Instant::now()
        } else {
            Instant::now() + self.poll
        };
        self.turn = match resolution {
            Ok(Resolution::OnAir(epoch, reason)) => Some(Turn { epoch, reason }),
            Ok(Resolution::Standby(on_air)) => {
                self.contender.previous = Some(on_air);
                None
            }
            Err(_) => None,
        };
    }
}
