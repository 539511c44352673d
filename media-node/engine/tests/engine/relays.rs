//! Relays between media nodes: each message once, with its epoch, its sequence and its timestamp at the source.

use std::time::{Duration, Instant};

use media_engine::{
    Appended, EngineSettings, Epoch, Mark, Publication, PublicationSource, Registry, Start,
};
use media_wire::flv::{MAX_PAYLOAD, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use media_wire::{MediaKind, Message};

use crate::support::*;

pub(crate) fn upstream(registry: &Registry, start: Start) -> Upstream {
    Upstream::of(registry, "s", start)
}

pub(crate) fn pull(registry: &Registry) -> Pull {
    Pull::new(registry, "s")
}

fn pulled(registry: &Registry, epoch: u64) -> Publication {
    publish(registry, "s", epoch, PublicationSource::Pulled)
}

pub(crate) fn frames(range: std::ops::Range<u32>) -> impl Iterator<Item = Message> {
    range.map(|n| match n % 10 {
        0 => keyframe(n * 40, n),
        5 => audio_frame(n * 40, n),
        _ => interframe(n * 40, n),
    })
}

#[test]
fn chain_of_nodes_relays_each_message_once() {
    let [a, b, c] = [(); 3].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(5000, 0), interframe(5040, 1)]);
    let (mut at_b, mut at_c) = (pull(&b), pull(&c));
    let mut a_to_b = upstream(&a, Start::Newest);
    let mut b_to_c = upstream(&b, Start::Newest);
    let mut viewer = FlvReader::of(&c, "s", Start::Newest);
    for n in 0..100 {
        send(
            &mut origin,
            [
                audio_frame(5050 + n * 40, 2 * n),
                interframe(5080 + n * 40, 2 * n + 1),
            ],
        );
        at_b.take(&mut a_to_b);
        at_c.take(&mut b_to_c);
    }
    let mut reference = FlvReader::of(&a, "s", Start::Newest);
    assert_eq!(viewer.taken(), reference.taken());
    assert_eq!(at_c.stream().position(), origin.stream().position());
    assert_eq!(at_c.stream().stats().gaps, 0);
}

#[test]
fn chain_relays_new_epochs_with_constant_shift() {
    let [a, b, c] = [(); 3].map(|()| Registry::new(settings()));
    // The logs have different former epochs.
    for (registry, end) in [(&b, 1_000), (&c, 77_777)] {
        let mut former = encoder(registry, "s", 1);
        send(&mut former, [keyframe(end, 0)]);
    }
    let (mut at_b, mut at_c) = (pull(&b), pull(&c));
    let mut a_to_b = upstream(&a, Start::Newest);
    let mut b_to_c = upstream(&b, Start::At(Epoch(2), 0));
    let mut at_a = upstream(&a, Start::Newest);
    let mut behind_c = upstream(&c, Start::At(Epoch(2), 0));
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
            at_b.take(&mut a_to_b);
            at_c.take(&mut b_to_c);
        }
        assert_eq!(at_c.publication.as_ref().unwrap().epoch(), Epoch(epoch));
        assert_eq!(
            at_c.stream().state().publication.unwrap().epoch,
            Epoch(epoch)
        );
    }
    assert_eq!(at_a.placed()[3..], expected[33 * 3 + 23..]);
    let mut whole = upstream(&a, Start::At(Epoch(2), 0));
    assert_eq!(whole.placed(), expected);
    assert_eq!(
        whole.marks, 7,
        "one for each epoch, one behind its metadata"
    );
    assert_eq!(behind_c.placed(), expected);
    assert!(behind_c.marks <= 8);
    assert_eq!(at_c.stream().stats().missing, 0);
}

#[test]
fn relay_starts_at_any_message_of_window() {
    let registry = Registry::new(EngineSettings {
        pulse_min: Duration::from_millis(50),
        pulse_max: Duration::from_millis(350),
        ..settings()
    });
    let mut origin = encoder(&registry, "s", 7);
    let _window = origin.stream().keep_window();
    let sent: Vec<_> = headers().into_iter().chain(frames(0..40)).collect();
    for (n, message) in (0..).zip(&sent) {
        origin.append(message.clone());
        if n % 7 == 0 {
            origin.pulse(Instant::now() + Duration::from_secs(n));
        }
    }
    drop(origin);
    for start in 0..sent.len() {
        let mut relay = upstream(&registry, Start::At(Epoch(7), start as u64));
        let messages = relay.placed();
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
fn relay_that_is_ahead_waits_for_later_messages() {
    let registry = Registry::new(settings());
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0)]);
    let mut relay = upstream(&registry, Start::At(Epoch(7), 6));
    assert!(relay.placed().is_empty());
    send(
        &mut origin,
        [interframe(40, 1), interframe(80, 2), interframe(120, 3)],
    );
    let sequences: Vec<_> = relay.placed().iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [4, 5, 6], "the receiver drops the first two");
}

#[test]
fn relay_starts_at_newest_keyframe_if_its_position_was_evicted() {
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
        let mut relay = upstream(&registry, start);
        let sequences: Vec<_> = relay.placed().iter().map(|placed| placed.1).collect();
        assert_eq!(sequences, [0, 1, 2, 43, 44, 45, 46, 47], "{start:?}");
    }
}

#[test]
fn relay_that_resumes_too_late_loses_the_least() {
    let [a, b] = [(); 2].map(|()| {
        Registry::new(EngineSettings {
            window: Duration::from_secs(2),
            ..settings()
        })
    });
    let mut origin = encoder(&a, "s", 7);
    let mut at_b = pull(&b);
    send(&mut origin, headers());
    send(&mut origin, frames(0..7));
    let mut lost = upstream(&a, Start::Newest);
    at_b.take(&mut lost);
    let mut viewer = FlvReader::of(&b, "s", Start::Newest);
    viewer.read();
    send(&mut origin, frames(7..100));
    let (epoch, next) = at_b.stream().position().unwrap();
    let mut resumed = upstream(&a, Start::Resume(epoch, next));
    at_b.take(&mut resumed);
    // The keyframe at 2000 ms is in the window, but may be evicted before a viewer of the copy has read it.
    let missing = at_b.stream().stats().missing;
    assert_eq!(missing, 53, "frames 7 to 59");
    let messages = viewer.taken();
    let resumed_at = messages.iter().position(|it| *it == keyframe(2_400, 60));
    assert_eq!(
        &messages[resumed_at.unwrap()..],
        frames(60..100).collect::<Vec<_>>()
    );
    assert_eq!(viewer.lags, 0);
    let mut exact = upstream(&a, Start::Resume(epoch, 70));
    assert_eq!(exact.placed()[0].1, 70, "a message of the window");
}

#[test]
fn relay_that_resumes_too_late_starts_behind_the_last_gap() {
    let registry = Registry::new(EngineSettings {
        window: Duration::from_secs(2),
        ..settings()
    });
    let mut publication = publish(&registry, "s", 7, PublicationSource::Forwarded);
    let numbered = (500..)
        .zip(frames(0..75))
        .chain((580..).zip(frames(80..100)));
    relay(&mut publication, numbered);
    let mut resumed = upstream(&registry, Start::Resume(Epoch(7), 510));
    assert_eq!(resumed.placed()[0].1, 580);
}

/// Frames 10, 20 and so on are keyframes, behind three headers.
#[test]
fn relay_that_needs_a_message_starts_at_the_keyframe_before_it_with_the_init_data() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "s", 7);
    let _window = publication.stream().keep_window();
    send(&mut publication, headers());
    send(&mut publication, frames(0..50));
    let sequences = |epoch, sequence| -> Vec<_> {
        let mut relay = upstream(&registry, Start::Before(Epoch(epoch), sequence));
        relay.placed().iter().map(|it| it.1).collect()
    };
    let from = |first: u64| -> Vec<_> { (0..3).chain(first..53).collect() };
    assert_eq!(sequences(7, 46), from(43));
    assert_eq!(sequences(7, 43), from(43));
    assert_eq!(sequences(7, 42), from(33));
    assert_eq!(sequences(7, 60), from(43), "the next one");
    assert_eq!(sequences(7, 2), from(3), "all that is needed");
    assert_eq!(sequences(6, 46), from(3), "all of another publication");
}

#[test]
fn relay_that_needs_a_message_before_a_gap_gets_all() {
    let registry = Registry::new(settings());
    let mut publication = publish(&registry, "s", 7, PublicationSource::Forwarded);
    let _window = publication.stream().keep_window();
    let numbered = (500..)
        .zip(frames(0..75))
        .chain((580..).zip(frames(80..100)));
    relay(&mut publication, numbered);
    for (needed, first) in [(595, 590), (585, 580), (575, 500)] {
        let mut relay = upstream(&registry, Start::Before(Epoch(7), needed));
        assert_eq!(relay.placed()[0].1, first);
    }
}

/// Their media node had the later publication for a moment, and the earlier one goes on.
#[test]
fn relay_whose_viewers_saw_a_later_publication_starts_at_the_newest_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "s", 7);
    send(&mut publication, frames(0..100));
    let first = |epoch| {
        let mut relay = upstream(&registry, Start::Resume(epoch, 5));
        relay.placed()[0].1
    };
    assert_eq!(first(Epoch(8)), 90);
    assert_eq!(first(Epoch(6)), 0, "of an earlier one: they lack all of it");
}

/// A copy of a stream that was published long ago begins with the init data and continues with later messages.
#[test]
fn copy_without_beginning_does_not_count_as_whole() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "s", Start::Newest);
    let mut publication = pulled(&registry, 7);
    let numbered = (0..).zip(headers()).chain((500..).zip(frames(0..35)));
    relay(&mut publication, numbered);
    assert_eq!(viewer.taken()[3], keyframe(1_200, 30));
    let mut relay = upstream(&registry, Start::At(Epoch(7), 0));
    let sequences: Vec<_> = relay.placed().iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [0, 1, 2, 530, 531, 532, 533, 534]);
    let stream = publication.stream();
    let has = |sequence| stream.has_message(Epoch(7), sequence);
    assert_eq!(
        [2, 3, 499, 500, 534, 535].map(has),
        [true, false, false, true, true, false]
    );
}

#[test]
fn relay_waits_for_its_publication() {
    let registry = Registry::new(settings());
    let mut former = encoder(&registry, "s", 7);
    send(&mut former, [keyframe(0, 0)]);
    let mut next = publish(&registry, "s", 8, PublicationSource::Forwarded);
    let mut relay = upstream(&registry, Start::At(Epoch(8), 100));
    assert!(relay.placed().is_empty(), "not the end of the former one");
    let frame = keyframe(900, 1);
    next.append_at(100, frame.timestamp, frame.kind, frame.payload.clone());
    next.pulse(Instant::now());
    assert_eq!(relay.placed(), [(Epoch(8), 100, 900, frame.payload)]);
}

#[test]
fn relay_reads_end_of_epoch_and_then_next_epoch() {
    let registry = Registry::new(settings());
    let mut former = encoder(&registry, "s", 7);
    send(&mut former, [keyframe(0, 0), interframe(40, 1)]);
    let mut next = encoder(&registry, "s", 8);
    send(&mut next, [keyframe(0, 2)]);
    for (start, expected) in [(1, vec![(7, 1), (8, 0)]), (2, vec![(8, 0)])] {
        let mut relay = upstream(&registry, Start::At(Epoch(7), start));
        let placed = relay.placed();
        let numbers: Vec<_> = placed.iter().map(|placed| (placed.0.0, placed.1)).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn relay_gets_messages_before_first_keyframe() {
    let registry = Registry::new(settings());
    let mut relay = upstream(&registry, Start::Newest);
    let mut origin = encoder(&registry, "s", 7);
    send(&mut origin, headers());
    assert_eq!(relay.placed().len(), 3);
    send(&mut origin, [audio_frame(0, 0)]);
    let mut late = upstream(&registry, Start::Newest);
    assert_eq!(late.placed().len(), 4);
}

#[test]
fn after_gap_video_waits_for_keyframe_and_audio_does_not() {
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
    assert_eq!(append(101, interframe(40, 1)), Appended::New);
    assert_eq!(append(104, interframe(160, 4)), Appended::BeforeKeyframe);
    assert_eq!(append(105, audio_frame(165, 5)), Appended::New);
    assert_eq!(append(103, audio_frame(120, 3)), Appended::Duplicate);
    assert_eq!(append(106, keyframe(200, 6)), Appended::New);
    assert_eq!(append(110, keyframe(400, 7)), Appended::AfterGap(3));
    let stream = registry.find(&key("s")).unwrap();
    assert_eq!((stream.stats().gaps, stream.stats().missing), (2, 5));
    let mut relay = upstream(&registry, Start::At(Epoch(7), 100));
    let sequences: Vec<_> = relay.placed().iter().map(|placed| placed.1).collect();
    assert_eq!(sequences, [100, 101, 105, 106, 110]);
}

#[test]
fn lagging_relay_gets_changed_init_data() {
    let [a, b] = [(); 2].map(|()| {
        Registry::new(EngineSettings {
            window: Duration::from_millis(100),
            ..settings()
        })
    });
    let mut origin = encoder(&a, "s", 7);
    let mut upstream = upstream(&a, Start::Newest);
    let mut at_b = pull(&b);
    send(&mut origin, headers());
    send(&mut origin, frames(0..12));
    at_b.take(&mut upstream);
    send(&mut origin, [at(480, video_header(2))]);
    send(&mut origin, frames(12..45));
    at_b.take(&mut upstream);
    assert_eq!(at_b.stream().stats().gaps, 1, "after the header");
    let mut viewer = FlvReader::of(&b, "s", Start::Newest);
    let messages = viewer.taken();
    assert_eq!(messages[2].payload, video_header(2).payload);
    assert_eq!(messages[3], keyframe(1_600, 40));
    assert_eq!(at_b.stream().position(), origin.stream().position());
}

#[test]
fn mark_of_encoder_is_refused() {
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
    let body = &tag[TAG_HEADER_LEN..tag.len() - PREVIOUS_TAG_SIZE_LEN];
    for payload in [body, &body[..body.len() - 1], &body[..20]] {
        let message = message(MediaKind::Data, 0, payload.to_vec());
        assert_eq!(origin.append(message), Appended::Invalid);
    }
    send(&mut origin, [interframe(40, 1)]);
    let mut relay = upstream(&registry, Start::Newest);
    let placed = relay.placed();
    assert!(placed.iter().all(|placed| placed.0 == Epoch(7)));
    assert_eq!(
        placed.last().map(|placed| placed.1),
        Some(4),
        "no sequence is spent on it"
    );
}

#[test]
fn empty_and_too_long_messages_are_refused() {
    let registry = Registry::new(settings());
    let mut origin = encoder(&registry, "s", 7);
    for len in [0, MAX_PAYLOAD + 1] {
        let message = message(MediaKind::Audio, 0, vec![0xAF; len]);
        assert_eq!(origin.append(message), Appended::Invalid);
    }
}
