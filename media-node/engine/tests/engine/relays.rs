//! From node to node: each message once, with its sequence, its epoch and its time at the source.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media_engine::{
    Appended, EngineSettings, Epoch, Format, Mark, Publication, Registry, Source, Start,
};
use media_wire::flv::{Item, MAX_PAYLOAD, TAG_HEAD, TAG_TAIL};
use media_wire::{MediaKind, Message};

use crate::support::*;

pub(crate) fn reader(registry: &Registry, start: Start) -> FlvReader {
    FlvReader::of(registry, "s", Format::Relay, start)
}

pub(crate) fn pulled(registry: &Registry, epoch: u64) -> Publication {
    publish(registry, "s", epoch, Source::Pulled)
}

/// What a relay's receiver knows of a message.
pub(crate) type Placed = (Epoch, u64, u32, Bytes);

/// All that a relay gives: epoch, sequence, timestamp at the source and payload.
pub(crate) fn placed(reader: &mut FlvReader) -> Vec<Placed> {
    let mut next = None;
    let mut placed = Vec::new();
    for item in reader.taken_items() {
        match item {
            Item::Header(_) => {}
            Item::Mark(mark) => next = Some(mark),
            Item::Tag(message) => {
                let mark = next.as_mut().expect("a mark before the first tag");
                let source = match message.kind {
                    MediaKind::Data => 0,
                    _ => message.timestamp.wrapping_sub(mark.shift),
                };
                placed.push((mark.epoch, mark.sequence, source, message.payload));
                mark.sequence += 1;
            }
        }
    }
    placed
}

pub(crate) fn frames(range: std::ops::Range<u32>) -> impl Iterator<Item = Message> {
    range.map(|n| match n % 10 {
        0 => keyframe(n * 40, n),
        5 => sound(n * 40, n),
        _ => inter(n * 40, n),
    })
}

#[test]
fn a_chain_of_nodes_gives_each_message_once() {
    let [a, b, c] = [(); 3].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(5000, 0), inter(5040, 1)]);
    let (mut at_b, mut at_c) = (pulled(&b, 7), pulled(&c, 7));
    let mut a_to_b = reader(&a, Start::Newest);
    let mut b_to_c = reader(&b, Start::Newest);
    let mut viewer = FlvReader::of(&c, "s", Format::Flv, Start::Newest);
    for n in 0..100 {
        send(
            &mut origin,
            [sound(5050 + n * 40, 2 * n), inter(5080 + n * 40, 2 * n + 1)],
        );
        relay(&mut a_to_b, &mut at_b);
        relay(&mut b_to_c, &mut at_c);
    }
    let mut reference = FlvReader::of(&a, "s", Format::Flv, Start::Newest);
    assert_eq!(viewer.taken(), reference.taken());
    assert_eq!(at_c.stream().position(), origin.stream().position());
    assert_eq!(at_c.stream().stats().gaps, 0);
}

#[test]
fn a_chain_passes_new_epochs_on_with_a_constant_shift() {
    let [a, b, c] = [(); 3].map(|()| Registry::new(settings()));
    // Each node has another history.
    for (registry, end) in [(&b, 1_000), (&c, 77_777)] {
        let mut former = encoder(registry, "s", 1);
        send(&mut former, [keyframe(end, 0)]);
    }
    let (mut at_b, mut at_c) = (pulled(&b, 2), pulled(&c, 2));
    let mut a_to_b = reader(&a, Start::Newest);
    let mut b_to_c = reader(&b, Start::At(Epoch(2), 0));
    let mut at_a = reader(&a, Start::Newest);
    let mut behind_c = reader(&c, Start::At(Epoch(2), 0));
    let mut expected = Vec::new();
    for epoch in 2..6 {
        let mut origin = encoder(&a, "s", epoch);
        let sent: Vec<_> = headers().into_iter().chain(frames(0..30)).collect();
        expected.extend((0..).zip(&sent).map(|(sequence, message)| {
            (
                Epoch(epoch),
                sequence,
                message.timestamp,
                message.payload.clone(),
            )
        }));
        for messages in sent.chunks(5) {
            send(&mut origin, messages.to_vec());
            relay(&mut a_to_b, &mut at_b);
            relay(&mut b_to_c, &mut at_c);
        }
        assert_eq!(at_c.epoch(), Epoch(epoch));
        assert_eq!(
            at_c.stream().state().publication.unwrap().epoch,
            Epoch(epoch)
        );
    }
    assert_eq!(placed(&mut at_a)[3..], expected[33 * 3 + 23..]);
    let mut whole = reader(&a, Start::At(Epoch(2), 0));
    assert_eq!(placed(&mut whole), expected);
    assert_eq!(
        whole.marks.len(),
        7,
        "one for each epoch, one behind its metadata"
    );
    assert_eq!(placed(&mut behind_c), expected);
    assert!(behind_c.marks.len() <= 8);
    assert_eq!(at_c.stream().stats().missing, 0);
}

#[test]
fn a_relay_starts_at_any_message_of_the_window() {
    let registry = Registry::new(EngineSettings {
        pulse_per_viewer: Duration::from_millis(50),
        ..settings()
    });
    let mut origin = encoder(&registry, "s", 7);
    let sent: Vec<_> = headers().into_iter().chain(frames(0..40)).collect();
    for (n, message) in (0..).zip(&sent) {
        origin.append(message.clone());
        if n % 7 == 0 {
            origin.pulse(Instant::now() + Duration::from_secs(n));
        }
    }
    drop(origin);
    for start in 0..sent.len() {
        let mut relay = reader(&registry, Start::At(Epoch(7), start as u64));
        let messages = placed(&mut relay);
        let expected = (0..).zip(&sent).skip(start).map(|(sequence, message)| {
            (
                Epoch(7),
                sequence,
                message.timestamp,
                message.payload.clone(),
            )
        });
        assert!(messages.into_iter().eq(expected), "from {start}");
    }
}

#[test]
fn a_relay_that_is_ahead_waits_for_what_it_does_not_have() {
    let registry = Registry::new(settings());
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0)]);
    let mut relay = reader(&registry, Start::At(Epoch(7), 6));
    assert!(placed(&mut relay).is_empty());
    send(&mut origin, [inter(40, 1), inter(80, 2), inter(120, 3)]);
    let sequences: Vec<_> = placed(&mut relay).iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [4, 5, 6], "the receiver drops the first two");
}

#[test]
fn a_relay_that_asks_for_what_is_gone_starts_at_the_newest_keyframe() {
    let registry = Registry::new(EngineSettings {
        window: Duration::from_millis(100),
        ..settings()
    });
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, frames(0..45));
    for start in [
        Start::At(Epoch(7), 3),
        Start::At(Epoch(6), 3),
        Start::At(Epoch(8), 3),
    ] {
        let mut relay = reader(&registry, start);
        let sequences: Vec<_> = placed(&mut relay).iter().map(|placed| placed.1).collect();
        assert_eq!(sequences, [0, 1, 2, 43, 44, 45, 46, 47], "{start:?}");
    }
}

/// A copy of a stream that has long been on begins with what viewers need first, and goes on somewhere later.
#[test]
fn a_copy_without_the_beginning_is_not_taken_for_the_whole() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "s", Format::Flv, Start::Newest);
    let mut publication = pulled(&registry, 7);
    let numbered = (0..).zip(headers()).chain((500..).zip(frames(0..35)));
    for (sequence, message) in numbered {
        publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
    }
    assert_eq!(viewer.taken()[3], keyframe(1_200, 30));
    let mut relay = reader(&registry, Start::At(Epoch(7), 0));
    let sequences: Vec<_> = placed(&mut relay).iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [0, 1, 2, 530, 531, 532, 533, 534]);
}

#[test]
fn a_relay_waits_for_the_publication_that_it_knows() {
    let registry = Registry::new(settings());
    let mut former = encoder(&registry, "s", 7);
    send(&mut former, [keyframe(0, 0)]);
    let mut next = publish(&registry, "s", 8, Source::Forwarded);
    let mut relay = reader(&registry, Start::At(Epoch(8), 100));
    assert!(
        placed(&mut relay).is_empty(),
        "not the end of the former one"
    );
    let frame = keyframe(900, 1);
    next.append_at(100, frame.timestamp, frame.kind, frame.payload.clone());
    next.pulse(Instant::now());
    assert_eq!(placed(&mut relay), [(Epoch(8), 100, 900, frame.payload)]);
}

#[test]
fn a_relay_reads_the_end_of_an_epoch_and_then_the_next() {
    let registry = Registry::new(settings());
    let mut former = encoder(&registry, "s", 7);
    send(&mut former, [keyframe(0, 0), inter(40, 1)]);
    let mut next = encoder(&registry, "s", 8);
    send(&mut next, [keyframe(0, 2)]);
    for (start, expected) in [(1, vec![(7, 1), (8, 0)]), (2, vec![(8, 0)])] {
        let mut relay = reader(&registry, Start::At(Epoch(7), start));
        let placed = placed(&mut relay);
        let numbers: Vec<_> = placed.iter().map(|placed| (placed.0.0, placed.1)).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn a_relay_gets_what_came_before_the_first_keyframe() {
    let registry = Registry::new(settings());
    let mut relay = reader(&registry, Start::Newest);
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    assert_eq!(placed(&mut relay).len(), 3);
    send(&mut origin, [sound(0, 0)]);
    let mut late = reader(&registry, Start::Newest);
    assert_eq!(placed(&mut late).len(), 4);
}

#[test]
fn after_a_gap_video_waits_for_a_keyframe_and_audio_does_not() {
    let registry = Registry::new(settings());
    let mut publication = pulled(&registry, 7);
    let mut append = |sequence, message: Message| {
        let appended =
            publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
        appended
    };
    assert_eq!(
        append(100, keyframe(0, 0)),
        Appended::New,
        "a start is no gap"
    );
    assert_eq!(append(101, inter(40, 1)), Appended::New);
    assert_eq!(append(104, inter(160, 4)), Appended::BeforeKeyframe);
    assert_eq!(append(105, sound(165, 5)), Appended::New);
    assert_eq!(append(103, sound(120, 3)), Appended::Duplicate);
    assert_eq!(append(106, keyframe(200, 6)), Appended::New);
    assert_eq!(append(110, keyframe(400, 7)), Appended::AfterGap(3));
    let stream = registry.find(&key("s")).unwrap();
    assert_eq!((stream.stats().gaps, stream.stats().missing), (2, 5));
    let mut relay = reader(&registry, Start::At(Epoch(7), 100));
    let sequences: Vec<_> = placed(&mut relay).iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [100, 101, 105, 106, 110]);
}

#[test]
fn a_relay_that_is_outrun_passes_on_what_changed_meanwhile() {
    let [a, b] = [(); 2].map(|()| {
        Registry::new(EngineSettings {
            window: Duration::from_millis(100),
            ..settings()
        })
    });
    let mut origin = encoder(&a, "s", 7);
    let mut upstream = reader(&a, Start::Newest);
    let mut publication = pulled(&b, 7);
    send(&mut origin, headers());
    send(&mut origin, frames(0..12));
    relay(&mut upstream, &mut publication);
    send(&mut origin, [at(480, video_header(2))]);
    send(&mut origin, frames(12..45));
    relay(&mut upstream, &mut publication);
    assert_eq!(publication.stream().stats().gaps, 1, "behind the header");
    let mut viewer = FlvReader::of(&b, "s", Format::Flv, Start::Newest);
    let messages = viewer.taken();
    assert_eq!(messages[2].payload, video_header(2).payload);
    assert_eq!(messages[3], keyframe(1_600, 40));
    assert_eq!(publication.stream().position(), origin.stream().position());
}

#[test]
fn an_encoder_cannot_speak_the_nodes_language() {
    let registry = Registry::new(settings());
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0)]);
    let forged = Mark {
        epoch: Epoch(u64::MAX),
        sequence: 1,
        shift: 2,
    };
    let tag = forged.encode();
    let body = &tag[TAG_HEAD..tag.len() - TAG_TAIL];
    for payload in [body, &body[..body.len() - 1], &body[..20]] {
        let message = message(MediaKind::Data, 0, payload.to_vec());
        assert_eq!(origin.append(message), Appended::Unfit);
    }
    send(&mut origin, [inter(40, 1)]);
    let mut relay = reader(&registry, Start::Newest);
    let placed = placed(&mut relay);
    assert!(placed.iter().all(|placed| placed.0 == Epoch(7)));
    assert_eq!(
        placed.last().map(|placed| placed.1),
        Some(4),
        "no sequence is spent on it"
    );
}

#[test]
fn what_is_empty_or_too_long_for_flv_is_not_taken() {
    let registry = Registry::new(settings());
    let mut origin = encoder(&registry, "s", 7);
    for len in [0, MAX_PAYLOAD + 1] {
        let message = message(MediaKind::Audio, 0, vec![0xAF; len]);
        assert_eq!(origin.append(message), Appended::Unfit);
    }
}
