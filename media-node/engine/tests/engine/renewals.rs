//! Logs that are about to reach 2^31 milliseconds: their timestamps begin again, once for each viewer, at a keyframe.

use std::time::Duration;

use media_engine::{EngineSettings, Epoch, Publication, PublicationSource, Registry, Start};
use media_wire::Message;

use crate::support::*;

/// Two seconds before a keyframe renews the log.
const NEAR: u32 = (1 << 31) - (1 << 22) - 2_000;

/// Returns a registry with a stream that is almost old enough, and the publication that continues it.
fn old_stream() -> (Registry, Publication) {
    let registry = Registry::new(EngineSettings {
        window: Duration::from_secs(1),
        ..settings()
    });
    let mut publication = publish(&registry, "s", 7, PublicationSource::Forwarded);
    let start = headers().into_iter().chain([keyframe(0, 0)]);
    relay(&mut publication, (0..).zip(start));
    (registry, publication)
}

/// Ten seconds of a keyframe every 400 ms, from [`NEAR`] on.
fn frames() -> Vec<(u64, Message)> {
    let frames = (0..250).map(|n| match n % 10 {
        0 => keyframe(NEAR + n * 40, n),
        5 => audio_frame(NEAR + n * 40 - 15, n),
        _ => interframe(NEAR + n * 40, n),
    });
    (4..).zip(frames).collect()
}

/// Fails unless a viewer got all frames, and timestamps below 2^31 that begin again once, at a keyframe.
fn assert_renewed_once(received: &[Message], sent: &[(u64, Message)]) {
    let payloads = |messages: &[Message]| -> Vec<_> {
        messages
            .iter()
            .map(|message| message.payload.clone())
            .collect()
    };
    let sent: Vec<_> = sent.iter().map(|(_, message)| message.clone()).collect();
    assert_eq!(payloads(received), payloads(&sent));
    assert!(received.iter().all(|message| message.timestamp < 1 << 31));
    let steps = received.windows(2).map(|pair| {
        let [before, after] = [&pair[0], &pair[1]];
        (
            after.timestamp.wrapping_sub(before.timestamp).cast_signed(),
            after,
        )
    });
    let backward: Vec<_> = steps
        .filter(|(step, _)| *step < -1_000 || *step > 1_000)
        .collect();
    assert_eq!(backward.len(), 1, "{backward:?}");
    let (_, renewed) = backward[0];
    assert!(renewed.is_keyframe());
    assert_eq!(renewed.timestamp, 10_000);
}

#[test]
fn every_viewer_of_a_relay_chain_sees_one_renewal_at_a_keyframe() {
    let (a, mut origin) = old_stream();
    let [b, c] = [(); 2].map(|()| Registry::new(settings()));
    let (mut at_b, mut at_c) = (Pull::new(&b, "s"), Pull::new(&c, "s"));
    let mut a_to_b = Upstream::of(&a, "s", Start::Newest);
    let mut b_to_c = Upstream::of(&b, "s", Start::Newest);
    at_b.take(&mut a_to_b);
    at_c.take(&mut b_to_c);
    let mut flv = [&a, &b, &c].map(|node| FlvReader::of(node, "s", Start::Newest));
    let mut rtmp = [&a, &b, &c].map(|node| RtmpReader::of(node, "s"));
    flv.iter_mut().for_each(|viewer| drop(viewer.taken()));
    rtmp.iter_mut().for_each(|viewer| drop(viewer.taken()));
    let sent = frames();
    let mut received = [const { Vec::new() }; 6];
    for message in &sent {
        relay(&mut origin, [message.clone()]);
        at_b.take(&mut a_to_b);
        at_c.take(&mut b_to_c);
        for (viewer, received) in flv.iter_mut().zip(&mut received[..3]) {
            received.extend(viewer.taken());
        }
        for (viewer, received) in rtmp.iter_mut().zip(&mut received[3..]) {
            received.extend(viewer.taken());
        }
    }
    for received in &received {
        assert_renewed_once(received, &sent);
    }
    let stats = at_c.stream().stats();
    assert_eq!((stats.gaps, stats.missing), (0, 0));
    assert_eq!(at_c.stream().position(), origin.stream().position());
}

#[test]
fn relay_resumes_across_a_renewal_with_the_timestamps_of_the_source() {
    let (registry, mut origin) = old_stream();
    let sent = frames();
    let renewed = sent
        .iter()
        .position(|(_, message)| message.timestamp >= NEAR + 2_000);
    let (before, after) = sent.split_at(renewed.unwrap() + 3);
    relay(&mut origin, before.to_vec());
    let mut upstream = Upstream::of(
        &registry,
        "s",
        Start::At(Epoch(7), before[renewed.unwrap() - 5].0),
    );
    relay(&mut origin, after[..5].to_vec());
    let expected: Vec<_> = sent[renewed.unwrap() - 5..renewed.unwrap() + 8]
        .iter()
        .map(|(sequence, message)| {
            (
                Epoch(7),
                *sequence,
                message.timestamp,
                message.payload.clone(),
            )
        })
        .collect();
    assert_eq!(upstream.placed(), expected);
}

#[test]
fn renewed_log_evicts_what_is_older_than_its_window() {
    let (registry, mut origin) = old_stream();
    relay(&mut origin, frames());
    let stats = registry.find(&key("s")).unwrap().stats();
    assert!(stats.window_segments <= 40, "{}", stats.window_segments);
    let mut late = FlvReader::of(&registry, "s", Start::Oldest);
    // The last frame is at 17,960 ms, and the first keyframe of the last second at 17,200 ms.
    assert_eq!(late.taken()[3].timestamp, 17_200);
}

#[test]
fn encoder_that_restarts_after_twelve_days_renews_the_log() {
    let (registry, mut origin) = old_stream();
    let mut viewer = FlvReader::of(&registry, "s", Start::Newest);
    let twelve_days = 1 << 30;
    relay(
        &mut origin,
        [
            (4, keyframe(twelve_days, 1)),
            (5, interframe(twelve_days + 40, 2)),
        ],
    );
    let last = viewer.taken().last().map(|message| message.timestamp);
    assert_eq!(last, Some(twelve_days + 40));
    let mut next = encoder(&registry, "s", 8);
    send(&mut next, [keyframe(0, 3), interframe(40, 4)]);
    assert_eq!(timestamps(&viewer.taken()), [10_000, 10_040]);
    drop(next);
    let mut third = encoder(&registry, "s", 9);
    send(&mut third, [keyframe(0, 5)]);
    assert_eq!(timestamps(&viewer.taken()), [10_080]);
}
