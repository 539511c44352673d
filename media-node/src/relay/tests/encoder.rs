//! Encoders without a protocol. Their frames are numbered, so that a lost or repeated one is noticed.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use media_engine::Publication;
use media_wire::amf0::{Value, encode_all};
use media_wire::{MediaKind, Message};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::cluster::LIMIT;
use crate::relay::{Forwarding, PublishRejection};

/// Frames of a group of pictures.
pub(super) const GOP: u32 = 25;

/// An encoder of 100 frames a second.
pub(super) struct RelayEncoder {
    stop: Option<oneshot::Sender<()>>,
    /// Held while it sends a frame.
    turn: Arc<Mutex<()>>,
    task: JoinHandle<EncoderEnd>,
    sent: watch::Receiver<u32>,
    pub(super) epoch: u64,
}

/// Why an encoder ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EncoderEnd {
    Stopped,
    Superseded,
    Rejected(PublishRejection),
}

impl RelayEncoder {
    pub(super) fn start(publication: Publication, forwarding: Forwarding) -> Self {
        let epoch = publication.epoch().0;
        let (stop, stopped) = oneshot::channel();
        let (count, sent) = watch::channel(0);
        let turn = Arc::default();
        let own_turn = Arc::clone(&turn);
        let task = tokio::spawn(encode(publication, forwarding, stopped, count, own_turn));
        Self {
            stop: Some(stop),
            turn,
            task,
            sent,
            epoch,
        }
    }

    /// Returns the number of frames that were sent, which is the number of the next one.
    pub(super) fn sent(&self) -> u32 {
        *self.sent.borrow()
    }

    /// Waits until this many frames were sent.
    pub(super) async fn until(&mut self, sent: u32) {
        let reached = self.sent.wait_for(|number| *number >= sent);
        timeout(LIMIT, reached).await.unwrap().unwrap();
    }

    /// Keeps it from sending until the result is dropped.
    pub(super) async fn pause(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Stops, and returns the number of frames that were sent.
    pub(super) async fn stop(mut self) -> u32 {
        drop(self.stop.take());
        assert_eq!(self.ended().await, EncoderEnd::Stopped);
        self.sent()
    }

    pub(super) async fn ended(&mut self) -> EncoderEnd {
        let ended = timeout(LIMIT, &mut self.task).await;
        ended.expect("ended in time").unwrap()
    }
}

async fn encode(
    mut publication: Publication,
    forwarding: Forwarding,
    mut stopped: oneshot::Receiver<()>,
    count: watch::Sender<u32>,
    turn: Arc<Mutex<()>>,
) -> EncoderEnd {
    let mut ticks = interval(Duration::from_millis(10));
    // When the host is busy, the encoder stood still as well as those who receive its frames.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let epoch = publication.epoch().0;
    let header = Bytes::from_static(&[0x17, 0, 0, 0, 0, 1, 100, 0, 31]);
    publication.append(metadata());
    let message = |timestamp, payload| Message {
        kind: MediaKind::Video,
        timestamp,
        payload,
    };
    publication.append(message(0, header));
    let end = loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break EncoderEnd::Stopped,
            () = publication.superseded() => break EncoderEnd::Superseded,
            rejection = forwarding.rejected() => break EncoderEnd::Rejected(rejection),
            _ = ticks.tick() => {
                let _turn = turn.lock().await;
                let number = *count.borrow();
                publication.append(message(number * 10, frame(epoch, number)));
                publication.pulse(std::time::Instant::now());
                count.send_replace(number + 1);
            }
        }
    };
    // As in an RTMP session: the relay sends what is left.
    drop(publication);
    drop(forwarding);
    end
}

/// Returns metadata that announces video only, so that the engine does not wait for audio.
fn metadata() -> Message {
    let properties = vec![("videocodecid".to_owned(), Value::Number(7.0))];
    let payload = encode_all(&[Value::from("onMetaData"), Value::EcmaArray(properties)]);
    Message {
        kind: MediaKind::Data,
        timestamp: 0,
        payload: payload.into(),
    }
}

fn frame(epoch: u64, number: u32) -> Bytes {
    let mut payload = BytesMut::new();
    let keyframe = number.is_multiple_of(GOP);
    payload.put_slice(&[if keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
    payload.put_u64(epoch);
    payload.put_u32(number);
    // Larger than the small packets of a narrow path.
    payload.put_bytes(0xAA, 1500);
    payload.freeze()
}
