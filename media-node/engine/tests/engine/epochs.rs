//! Publishers that start, stop and return: one timeline, and who joins it where.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media_engine::{Appended, EngineSettings, Epoch, PublicationSource, Registry, Start};
use media_wire::{MediaKind, Message};

use crate::support::*;

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
}

#[test]
fn new_epoch_continues_timeline() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(
        &mut first,
        [keyframe(0, 0), interframe(40, 1), interframe(80, 2)],
    );
    assert_eq!(timestamps(&viewer.taken()), [0, 0, 0, 0, 40, 80]);
    assert_eq!(timestamps(&rtmp.taken()), [0, 0, 0, 0, 40, 80]);
    drop(first);
    let mut second = encoder(&registry, "a", 2);
    send(&mut second, headers());
    assert_eq!(second.append(interframe(0, 3)), Appended::BeforeKeyframe);
    send(
        &mut second,
        [audio_frame(0, 4), keyframe(40, 5), audio_frame(21, 6)],
    );
    let messages = viewer.taken();
    assert_eq!(timestamps(&messages), [120, 160, 141]);
    assert_eq!(messages[1].payload, keyframe(0, 5).payload);
    assert_eq!(viewer.tracks.len(), 1);
    assert_eq!(rtmp.taken(), messages);
}

#[test]
fn restarting_encoder_is_one_timeline() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut messages = Vec::new();
    for epoch in 1..=5 {
        let mut publication = encoder(&registry, "a", epoch);
        send(&mut publication, headers());
        for n in 0..50 {
            let video = if n % 25 == 0 { keyframe } else { interframe };
            send(
                &mut publication,
                [
                    video(n * 40, n),
                    audio_frame(n * 40 + 3, n),
                    audio_frame(n * 40 + 24, n),
                ],
            );
            messages.extend(viewer.taken());
        }
    }
    assert_eq!(messages.len(), 3 + 5 * 150, "unchanged headers once");
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let track = messages.iter().filter(|message| message.kind == kind);
        let frames: Vec<_> = track
            .filter(|message| !message.is_sequence_header())
            .collect();
        let steps = frames
            .windows(2)
            .map(|pair| pair[1].timestamp - pair[0].timestamp);
        assert!(
            steps.clone().all(|step| (1..=80).contains(&step)),
            "{:?}",
            steps.max()
        );
    }
}

#[test]
fn second_track_never_goes_back_before_its_end() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(
        &mut first,
        [keyframe(0, 0), interframe(40, 1), audio_frame(100, 2)],
    );
    assert_eq!(viewer.taken().len(), 6);
    drop(first);
    let mut second = encoder(&registry, "a", 2);
    send(
        &mut second,
        [
            keyframe(500, 3),
            audio_frame(440, 4),
            interframe(540, 5),
            audio_frame(463, 6),
        ],
    );
    let timestamps = timestamps(&viewer.taken());
    // The keyframe is one frame after the latest message. Audio is one millisecond after its former end, not 20 before.
    assert_eq!(timestamps, [140, 101, 201, 124]);
}

#[test]
fn timestamps_of_viewer_go_on_when_those_of_the_encoder_wrap_at_32_bits() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    let start = 0_u32.wrapping_sub(60);
    send(
        &mut publication,
        headers().map(|message| at(start, message)),
    );
    let times: Vec<u32> = (0..5).map(|n| start.wrapping_add(n * 40)).collect();
    send(&mut publication, [keyframe(times[0], 0)]);
    send(&mut publication, (1..5).map(|n| interframe(times[n], 1)));
    assert_eq!(
        timestamps(&viewer.taken())[3..],
        [10_000, 10_040, 10_080, 10_120, 10_160]
    );
    assert_eq!(publication.stream().stats().jumps, 0);
    send(&mut publication, [keyframe(120, 9)]);
    assert_eq!(
        timestamps(&self::viewer(&registry).taken()),
        [0, 10_180, 10_180, 10_180]
    );
}

#[test]
fn old_segments_are_evicted_over_wrap() {
    let registry = Registry::new(EngineSettings {
        window: Duration::from_millis(200),
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    let start = 0_u32.wrapping_sub(4_000);
    for n in 0..200 {
        send(&mut publication, [keyframe(start.wrapping_add(n * 40), n)]);
        assert!(publication.stream().stats().window_segments <= 6);
    }
}

#[test]
fn viewers_join_only_newest_epoch() {
    let registry = Registry::new(settings());
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0), interframe(40, 1)]);
    let mut stayed = viewer(&registry);
    assert_eq!(stayed.taken().len(), 5);
    let mut second = encoder(&registry, "a", 2);
    let mut before = viewer(&registry);
    assert!(!second.stream().state().playable);
    assert!(
        before.taken().is_empty(),
        "the new publisher has sent no message"
    );
    send(&mut second, [audio_header(9)]);
    assert!(!second.stream().state().playable);
    let mut joining = viewer(&registry);
    assert!(joining.taken().is_empty());
    send(&mut second, [video_header(9), keyframe(0, 2)]);
    let messages = joining.taken();
    let [_, audio, video] = headers().map(|message| at(80, message));
    assert_eq!(messages.len(), 3, "no metadata of the old epoch");
    assert_ne!(messages[0], audio);
    assert_ne!(messages[1], video);
    assert_eq!(messages[2], keyframe(80, 2));
    assert_eq!(before.taken(), messages);
    assert_eq!(stayed.taken().len(), 3);
}

#[test]
fn joining_viewers_get_nothing_of_pulled_rest_of_former_publication() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 7, PublicationSource::Pulled);
    relay(
        &mut first,
        (0..).zip(headers().into_iter().chain([keyframe(0, 0)])),
    );
    let mut stayed = viewer(&registry);
    assert_eq!(stayed.taken().len(), 4);
    let stream = Arc::clone(first.stream());
    drop(first);
    let mut joining = viewer(&registry);
    stream.expect_epoch(Epoch(8));
    let mut rest = publish(&registry, "a", 7, PublicationSource::Pulled);
    relay(&mut rest, [(4, keyframe(40, 1))]);
    assert!(!stream.state().playable);
    assert!(joining.taken().is_empty());
    assert_eq!(stayed.taken(), [keyframe(40, 1)]);
    let mut second = publish(&registry, "a", 8, PublicationSource::Pulled);
    relay(
        &mut second,
        (0..).zip(headers().into_iter().chain([keyframe(0, 2)])),
    );
    assert!(stream.state().playable);
    assert_eq!(joining.taken()[3].payload, keyframe(0, 2).payload);
}

#[test]
fn joining_viewers_get_nothing_from_before_gap_of_resumed_relay() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 7, PublicationSource::Forwarded);
    relay(
        &mut first,
        (0..).zip(headers().into_iter().chain([keyframe(0, 0)])),
    );
    let stream = Arc::clone(first.stream());
    let mut stayed = viewer(&registry);
    assert_eq!(stayed.taken().len(), 4);
    drop(first);
    let mut second = publish(&registry, "a", 7, PublicationSource::Pulled);
    let mut joining = viewer(&registry);
    assert!(!stream.state().playable);
    assert!(joining.taken().is_empty(), "a gap may follow");
    relay(&mut second, [(90, audio_frame(13_000, 1))]);
    assert!(joining.taken().is_empty(), "no keyframe since the gap");
    relay(&mut second, [(91, keyframe(13_000, 2))]);
    let payload = |messages: Vec<Message>| messages.last().map(|last| last.payload.clone());
    let messages = joining.taken();
    assert_eq!(messages.len(), 4, "init data and the keyframe");
    assert_eq!(payload(messages), Some(keyframe(0, 2).payload));
    assert_eq!(stayed.taken().len(), 2);

    drop(second);
    let mut third = publish(&registry, "a", 7, PublicationSource::Pulled);
    relay(&mut third, [(92, interframe(13_040, 3))]);
    let messages = viewer(&registry).taken();
    assert_eq!(
        messages.len(),
        5,
        "without a gap, the newest keyframe counts"
    );
}

#[test]
fn joining_viewers_do_not_wait_for_relay_that_has_nothing_new() {
    let registry = Registry::new(settings());
    let media = headers().into_iter().chain([keyframe(0, 0)]);
    relay(
        &mut publish(&registry, "a", 7, PublicationSource::Forwarded),
        (0..).zip(media),
    );
    let mut again = publish(&registry, "a", 7, PublicationSource::Forwarded);
    let mut waiting = viewer(&registry);
    for resumes in [false, true] {
        if resumes {
            again.resume_until(4);
        }
        again.continue_at(5);
        assert!(viewer(&registry).taken().is_empty(), "a message is missing");
        again.continue_at(4);
        assert!(again.stream().state().playable);
        assert_eq!(viewer(&registry).taken().len(), 4);
    }
    assert_eq!(waiting.taken().len(), 4);
}

#[test]
fn joining_viewers_wait_for_end_of_what_another_media_node_has_had() {
    let registry = Registry::new(settings());
    let mut before = viewer(&registry);
    let mut waiting = FlvReader::of(&registry, "a", Start::Oldest);
    let mut forwarded = publish(&registry, "a", 7, PublicationSource::Forwarded);
    forwarded.resume_until(93);
    let stream = Arc::clone(forwarded.stream());
    let mut append = |sequence, message: Message| {
        forwarded.append_at(sequence, message.timestamp, message.kind, message.payload);
        forwarded.pulse(Instant::now());
    };
    let had = headers()
        .into_iter()
        .chain([keyframe(0, 0), interframe(40, 1)]);
    for (sequence, message) in (87..).zip(had) {
        append(sequence, message);
    }
    let mut joining = viewer(&registry);
    assert!(!stream.state().playable);
    assert!(before.taken().is_empty() && joining.taken().is_empty());
    assert!(waiting.taken().is_empty());
    append(92, keyframe(80, 2));
    append(93, interframe(120, 3));
    for viewer in [&mut before, &mut joining, &mut waiting] {
        assert_eq!(viewer.taken()[3..], [keyframe(80, 2), interframe(120, 3)]);
    }
}

/// Without keyframes a segment may hold all that the other media node has had, and what is new behind it.
#[test]
fn viewers_who_join_an_audio_stream_do_not_begin_with_what_another_media_node_has_had() {
    let registry = Registry::new(settings());
    let mut forwarded = publish(&registry, "a", 7, PublicationSource::Forwarded);
    forwarded.resume_until(100);
    let frame = |n: u32| audio_frame(n * 100, n);
    let had = [audio_header(0)].into_iter().chain((0..16).map(frame));
    for (sequence, message) in (87..).zip(had) {
        forwarded.append_at(sequence, message.timestamp, message.kind, message.payload);
    }
    forwarded.pulse(Instant::now());
    let mut joining = viewer(&registry);
    assert!(!forwarded.stream().state().playable);
    assert!(joining.taken().is_empty());
    let next = frame(16);
    forwarded.append_at(104, next.timestamp, next.kind, next.payload);
    forwarded.pulse(Instant::now());
    assert_eq!(joining.taken()[1..], [frame(16)]);
}

#[test]
fn earlier_epoch_is_accepted_after_later_one_has_ended() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut first = publish(&registry, "a", 5, PublicationSource::Forwarded);
    send(&mut first, [keyframe(1_000, 0)]);
    drop(first);
    let mut earlier = publish(&registry, "a", 4, PublicationSource::Forwarded);
    send(&mut earlier, [keyframe(0, 1), interframe(600, 2)]);
    assert_eq!(timestamps(&viewer.taken()), [1_033, 1_633]);
}
