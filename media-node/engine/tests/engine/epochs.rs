//! Publishers that start, stop and return.

use std::sync::Arc;
use std::time::{Duration, Instant};

use media_engine::{
    Appended, DuplicatePolicy, EngineSettings, Epoch, Format, Publication, PublishError, Registry,
};
use media_engine::{PublicationSource, Start};
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
fn viewers_get_init_data_again_only_when_it_changes() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut relay = Upstream::of(&registry, "a", Start::Newest);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0)]);
    assert_eq!(viewer.taken().len(), 4);
    assert_eq!(rtmp.taken().len(), 4);
    assert_eq!(relay.placed().len(), 4);
    for header in headers() {
        assert_eq!(first.append(header), Appended::Unchanged);
    }
    let mut second = encoder(&registry, "a", 2);
    // The audio header is late, and comes again as it was. The video header is another one.
    let [metadata, audio, _] = headers();
    send(&mut second, [metadata, video_header(2), keyframe(0, 1)]);
    send(&mut second, [audio, audio_frame(10, 2)]);
    let messages = viewer.taken();
    let expected = [at(33, video_header(2)), keyframe(33, 1), audio_frame(43, 2)];
    assert_eq!(messages, expected);
    assert_eq!(rtmp.taken(), expected);
    assert_eq!(relay.placed().len(), 5, "relays get every message");
    let mut joining = self::viewer(&registry);
    assert_eq!(joining.taken().len(), 5);
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
fn timestamps_of_viewer_wrap_at_32_bits() {
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
    assert_eq!(timestamps(&viewer.taken())[3..], times);
    assert_eq!(publication.stream().stats().jumps, 0);
    send(&mut publication, [keyframe(120, 9)]);
    assert_eq!(
        timestamps(&self::viewer(&registry).taken()),
        [0, 120, 120, 120]
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
    let append = |publication: &mut Publication, sequence, message: Message| {
        publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
    };
    for (sequence, message) in (0..).zip(headers().into_iter().chain([keyframe(0, 0)])) {
        append(&mut first, sequence, message);
    }
    let mut stayed = viewer(&registry);
    assert_eq!(stayed.taken().len(), 4);
    let stream = Arc::clone(first.stream());
    drop(first);
    let mut joining = viewer(&registry);
    stream.expect_epoch(Epoch(8));
    let mut rest = publish(&registry, "a", 7, PublicationSource::Pulled);
    append(&mut rest, 4, keyframe(40, 1));
    assert!(!stream.state().playable);
    assert!(joining.taken().is_empty());
    assert_eq!(stayed.taken(), [keyframe(40, 1)]);
    let mut second = publish(&registry, "a", 8, PublicationSource::Pulled);
    for (sequence, message) in (0..).zip(headers().into_iter().chain([keyframe(0, 2)])) {
        append(&mut second, sequence, message);
    }
    assert!(stream.state().playable);
    assert_eq!(joining.taken()[3].payload, keyframe(0, 2).payload);
}

#[test]
fn joining_viewers_get_nothing_from_before_gap_of_resumed_relay() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 7, PublicationSource::Forwarded);
    let append = |publication: &mut Publication, sequence, message: Message| {
        publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
    };
    for (sequence, message) in (0..).zip(headers().into_iter().chain([keyframe(0, 0)])) {
        append(&mut first, sequence, message);
    }
    let stream = Arc::clone(first.stream());
    let mut stayed = viewer(&registry);
    assert_eq!(stayed.taken().len(), 4);
    drop(first);
    let mut second = publish(&registry, "a", 7, PublicationSource::Pulled);
    let mut joining = viewer(&registry);
    assert!(!stream.state().playable);
    assert!(joining.taken().is_empty(), "a gap may follow");
    append(&mut second, 90, audio_frame(13_000, 1));
    assert!(joining.taken().is_empty(), "no keyframe since the gap");
    append(&mut second, 91, keyframe(13_000, 2));
    let payload = |messages: Vec<Message>| messages.last().map(|last| last.payload.clone());
    let messages = joining.taken();
    assert_eq!(messages.len(), 4, "init data and the keyframe");
    assert_eq!(payload(messages), Some(keyframe(0, 2).payload));
    assert_eq!(stayed.taken().len(), 2);

    drop(second);
    let mut third = publish(&registry, "a", 7, PublicationSource::Pulled);
    append(&mut third, 92, interframe(13_040, 3));
    let messages = viewer(&registry).taken();
    assert_eq!(
        messages.len(),
        5,
        "without a gap, the newest keyframe counts"
    );
}

#[test]
fn viewers_stay_for_continuity_window_and_then_end() {
    let registry = Registry::new(EngineSettings {
        continuity: Duration::from_secs(30),
        ..settings()
    });
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    drop(publication);
    registry.sweep(after(0));
    registry.sweep(after(29));
    assert_eq!(viewer.taken().len(), 4);
    assert!(!viewer.ended);
    let mut again = encoder(&registry, "a", 2);
    registry.sweep(after(31));
    send(&mut again, [keyframe(0, 1)]);
    assert_eq!(viewer.taken().len(), 1);
    drop(again);
    registry.sweep(after(40));
    registry.sweep(after(69));
    viewer.read();
    assert!(!viewer.ended);
    let watch = viewer.cursor.stream().watch();
    registry.sweep(after(70));
    viewer.read();
    assert!(viewer.ended);
    assert!(watch.borrow().ended);
    assert!(registry.streams().is_empty());
}

#[test]
fn viewer_reads_remaining_messages_before_end() {
    let registry = Registry::new(EngineSettings {
        continuity: Duration::ZERO,
        ..settings()
    });
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    publication.append(interframe(40, 1));
    drop(publication);
    registry.sweep(Instant::now());
    assert_eq!(
        viewer.taken().len(),
        5,
        "what was open when the publisher went is not lost"
    );
    assert!(viewer.ended);
}

#[test]
fn stream_without_publisher_and_readers_is_removed_by_next_sweep() {
    let registry = Registry::new(settings());
    let wanted = registry.open(&key("a")).unwrap();
    registry.sweep(Instant::now());
    assert!(registry.find(&key("a")).is_some());
    registry.sweep(Instant::now() + Duration::from_secs(3_600));
    assert!(!wanted.state().ended, "who waits decides how long");
    drop(wanted);
    registry.sweep(Instant::now());
    assert!(registry.find(&key("a")).is_none());
}

#[test]
fn superseded_publication_writes_nothing() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 5, PublicationSource::Forwarded);
    let mut second = encoder(&registry, "a", 1);
    assert!(is_superseded(&first));
    assert!(second.epoch() > first.epoch());
    assert_eq!(first.append(keyframe(0, 0)), Appended::Superseded);
    assert_eq!(first.pulse(Instant::now()), None);
    drop(first);
    assert!(!is_superseded(&second));
    assert_eq!(second.append(keyframe(0, 0)), Appended::New);
}

#[test]
fn appended_messages_are_sent_before_another_publisher_takes_over() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    first.append(keyframe(0, 0));
    let _second = encoder(&registry, "a", 2);
    assert_eq!(viewer.taken().len(), 4);
}

#[tokio::test]
async fn publication_is_notified_that_it_is_superseded() {
    let registry = Registry::new(settings());
    let first = encoder(&registry, "a", 1);
    let superseded = tokio::spawn(first.superseded());
    tokio::task::yield_now().await;
    assert!(!superseded.is_finished());
    let second = encoder(&registry, "a", 2);
    superseded.await.unwrap();
    first.superseded().await;
    assert!(registry.supersede(&key("a"), Epoch(u64::MAX)));
    second.superseded().await;
    assert!(!registry.supersede(&key("a"), Epoch(u64::MAX)));
}

#[test]
fn duplicates_are_decided_by_epoch_source_and_policy() {
    use PublicationSource::{Encoder, Forwarded, Pulled};
    const TAKEN: Result<(), PublishError> = Ok(());
    const PUBLISHED: Result<(), PublishError> = Err(PublishError::AlreadyPublished);
    const LATER: Result<(), PublishError> = Err(PublishError::Superseded { by: Epoch(5) });
    let cases = [
        // A later epoch.
        (Encoder, 6, Encoder, TAKEN, PUBLISHED),
        (Forwarded, 6, Forwarded, TAKEN, PUBLISHED),
        (Forwarded, 6, Encoder, TAKEN, PUBLISHED),
        (Forwarded, 6, Pulled, TAKEN, PUBLISHED),
        (Pulled, 6, Forwarded, TAKEN, TAKEN),
        (Pulled, 6, Pulled, TAKEN, TAKEN),
        // The same epoch over another route.
        (Forwarded, 5, Forwarded, TAKEN, TAKEN),
        (Forwarded, 5, Pulled, TAKEN, TAKEN),
        (Pulled, 5, Pulled, TAKEN, TAKEN),
        (Pulled, 5, Forwarded, PUBLISHED, PUBLISHED),
        (Forwarded, 5, Encoder, PUBLISHED, PUBLISHED),
        (Pulled, 5, Encoder, PUBLISHED, PUBLISHED),
        // An earlier epoch; an encoder's is never earlier.
        (Encoder, 4, Forwarded, TAKEN, PUBLISHED),
        (Forwarded, 4, Forwarded, LATER, LATER),
        (Pulled, 4, Pulled, LATER, LATER),
    ];
    for (source, epoch, holder, takeover, reject) in cases {
        for (policy, expected) in [
            (DuplicatePolicy::Takeover, takeover),
            (DuplicatePolicy::Reject, reject),
        ] {
            let registry = Registry::new(settings());
            let first = publish(&registry, "a", 5, holder);
            let now = Instant::now();
            let second = registry.publish(&key("a"), Epoch(epoch), source, policy, now);
            let case = format!("{source:?} {epoch} against {holder:?} 5, {policy:?}");
            assert_eq!(
                second.as_ref().map(|_| ()).map_err(|error| *error),
                expected,
                "{case}"
            );
            assert_eq!(is_superseded(&first), second.is_ok(), "{case}");
        }
    }
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

#[test]
fn streams_with_readers_only_do_not_keep_publishers_out() {
    let registry = Registry::new(EngineSettings {
        max_streams: 2,
        ..settings()
    });
    let wanted = ["a", "b"].map(|name| registry.open(&key(name)).unwrap());
    assert_eq!(registry.open(&key("c")).unwrap_err().limit, 2);
    let first = encoder(&registry, "c", 1);
    let _second = encoder(&registry, "a", 1);
    let now = Instant::now();
    let publish = |name| {
        let policy = DuplicatePolicy::Takeover;
        registry.publish(
            &key(name),
            Epoch(1),
            PublicationSource::Encoder,
            policy,
            now,
        )
    };
    assert!(matches!(publish("b"), Err(PublishError::TooManyStreams(_))));
    assert!(matches!(publish("d"), Err(PublishError::TooManyStreams(_))));
    drop(first);
    registry.sweep(now);
    registry.sweep(now + Duration::from_secs(60));
    assert!(publish("b").is_ok());
    drop(wanted);
}

#[test]
fn readers_are_counted() {
    let registry = Registry::new(settings());
    let stream = registry.open(&key("a")).unwrap();
    let mut watch = stream.watch();
    assert!(!watch.has_changed().unwrap());
    let flv = stream.subscribe(Format::Flv, Start::Newest, 0);
    let rtmp = stream.subscribe(Format::Rtmp, Start::Newest, 5);
    let relay = stream.subscribe(Format::Relay, Start::Newest, 9);
    let state = watch.borrow_and_update().clone();
    assert_eq!((state.viewers, state.relays), (2, 1));
    assert_eq!(registry.viewers(), 2);
    drop((flv, rtmp, relay));
    let state = watch.borrow_and_update().clone();
    assert_eq!((state.viewers, state.relays), (0, 0));
    assert_eq!(registry.viewers(), 0);
}

#[test]
fn init_data_above_limit_is_refused() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    let mut header = |len: usize| {
        let mut payload = vec![0x17, 0, 0, 0, 0];
        payload.resize(len, 0);
        publication.append(message(MediaKind::Video, 0, payload))
    };
    let limit = settings().max_init_message_bytes;
    assert_eq!(header(limit), Appended::New);
    let len = limit + 1;
    assert_eq!(header(len), Appended::InitDataTooLong { len, limit });
}

#[test]
fn large_init_data_reaches_every_format_unchanged() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut publication = encoder(&registry, "a", 1);
    let mut payload = vec![0x17, 0, 0, 0, 0];
    payload.resize(64 << 10, 0x55);
    let header = message(MediaKind::Video, 0, payload);
    let [metadata, audio, _] = headers();
    let frames = [keyframe(0, 0), audio_frame(10, 1)];
    send(&mut publication, [metadata, audio, header.clone()]);
    send(&mut publication, frames);
    let mut joining = self::viewer(&registry);
    let mut rtmp_joining = RtmpReader::of(&registry, "a");
    assert_eq!(viewer.taken()[2], header);
    assert_eq!(rtmp.taken()[2], header);
    assert_eq!(joining.taken()[2], header);
    assert_eq!(rtmp_joining.taken()[2], header);
}

#[test]
fn publication_without_message_and_reader_keeps_no_stream() {
    let registry = Registry::new(EngineSettings {
        max_streams: 1,
        ..settings()
    });
    for name in ["a", "b", "c"] {
        drop(encoder(&registry, name, 1));
    }
    registry.sweep(Instant::now());
    assert!(registry.streams().is_empty());

    let mut with_message = encoder(&registry, "d", 1);
    send(&mut with_message, [keyframe(0, 0)]);
    drop(with_message);
    registry.sweep(Instant::now());
    assert_eq!(registry.streams().len(), 1, "viewers can wait for it");
}
