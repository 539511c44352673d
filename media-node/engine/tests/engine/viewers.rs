//! The messages of a viewer: when it joins, while it keeps up, and when it lags.

use std::time::Duration;

use bytes::Bytes;
use media_engine::{EngineSettings, PublicationSource, Registry, Start};
use media_wire::{MediaKind, Message};

use crate::relays::frames;
use crate::support::*;
use crate::tracks::BOTH;

fn short_window() -> Registry {
    Registry::new(EngineSettings {
        window: Duration::from_millis(100),
        ..settings()
    })
}

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
}

#[test]
fn viewer_gets_published_messages() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    assert!(viewer.taken().is_empty(), "nothing to start with yet");
    send(
        &mut publication,
        [keyframe(0, 1), audio_frame(3, 2), interframe(40, 3)],
    );
    let [metadata, audio, video] = headers();
    let expected = [
        metadata,
        audio,
        video,
        keyframe(0, 1),
        audio_frame(3, 2),
        interframe(40, 3),
    ];
    assert_eq!(viewer.taken(), expected);
    assert_eq!(viewer.tracks, [BOTH]);
    assert_eq!(rtmp.taken(), expected);
}

#[test]
fn late_viewer_starts_at_newest_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [
            keyframe(1000, 1),
            interframe(1040, 2),
            keyframe(1080, 3),
            interframe(1120, 4),
        ],
    );
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let [metadata, audio, video] = headers().map(|message| at(1080, message));
    let expected = [
        metadata,
        audio,
        video,
        keyframe(1080, 3),
        interframe(1120, 4),
    ];
    assert_eq!(viewer.taken(), expected);
    assert_eq!(rtmp.taken(), expected);
    send(&mut publication, [audio_frame(1125, 5)]);
    assert_eq!(viewer.taken(), [audio_frame(1125, 5)]);
    assert_eq!(rtmp.taken(), [audio_frame(1125, 5)]);
}

/// On a busy computer a viewer runs late, when the publication already has many segments.
#[test]
fn waiting_viewer_gets_whole_publication() {
    let audio_only = [metadata(&[("audiocodecid", 10.0)]), audio_header(1)];
    let audio_frames = (0..100).map(|n| audio_frame(n * 20, n));
    let video_frames = frames(0..35);
    let publications: [Vec<Message>; 2] = [
        audio_only.into_iter().chain(audio_frames).collect(),
        headers().into_iter().chain(video_frames).collect(),
    ];
    let registry = Registry::new(settings());
    for (messages, epoch) in publications.iter().zip(1..) {
        let mut viewer = viewer(&registry);
        let mut rtmp = RtmpReader::of(&registry, "a");
        let mut publication = encoder(&registry, "a", epoch);
        send(&mut publication, messages.clone());
        let payloads = |messages: Vec<Message>| -> Vec<_> {
            let payloads = messages.into_iter().map(|message| message.payload);
            payloads.collect()
        };
        assert_eq!(payloads(viewer.taken()), payloads(messages.clone()));
        assert_eq!(payloads(rtmp.taken()), payloads(messages.clone()));
    }
}

#[test]
fn waiting_viewer_starts_at_newest_keyframe_if_beginning_was_evicted() {
    let registry = short_window();
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, frames(0..35));
    let messages = viewer.taken();
    assert_eq!(messages[3], keyframe(1_200, 30));
    assert_eq!(messages.len(), 3 + 5);
    assert_eq!(viewer.lags, 0, "it had not started");
}

#[test]
fn viewer_starts_at_oldest_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [
            keyframe(0, 1),
            interframe(40, 2),
            keyframe(80, 3),
            interframe(120, 4),
        ],
    );
    let mut viewer = FlvReader::of(&registry, "a", Start::Oldest);
    assert_eq!(timestamps(&viewer.taken()), [0, 0, 0, 0, 40, 80, 120]);
}

#[test]
fn lagging_viewer_jumps_to_keyframe_and_is_counted() {
    let registry = short_window();
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    viewer.taken();
    rtmp.taken();
    for gop in 1..10 {
        send(
            &mut publication,
            [
                keyframe(gop * 100, gop),
                interframe(gop * 100 + 50, gop + 100),
            ],
        );
    }
    assert_eq!(viewer.taken(), [keyframe(900, 9), interframe(950, 109)]);
    assert_eq!(rtmp.taken(), [keyframe(900, 9), interframe(950, 109)]);
    assert_eq!(viewer.lags, 1);
    assert_eq!(publication.stream().stats().lags, 2);
    assert_eq!(viewer.tracks.len(), 1, "one file header");
}

#[test]
fn viewer_that_lags_in_an_outage_continues_after_it() {
    let registry = short_window();
    let mut first = publish(&registry, "a", 7, PublicationSource::Forwarded);
    relay(
        &mut first,
        (0..).zip(headers().into_iter().chain([keyframe(0, 0)])),
    );
    let mut viewer = viewer(&registry);
    viewer.taken();
    relay(&mut first, [(4, interframe(40, 1))]);
    drop(first);
    // A relay continues after what it has lost.
    let mut second = publish(&registry, "a", 7, PublicationSource::Pulled);
    let frames = [
        keyframe(13_000, 50),
        interframe(13_040, 51),
        keyframe(13_080, 52),
    ];
    relay(&mut second, (90..).zip(frames));
    let payloads = |messages: Vec<Message>| -> Vec<Bytes> {
        messages.into_iter().map(|it| it.payload).collect()
    };
    let expected = [keyframe(0, 50), interframe(0, 51), keyframe(0, 52)];
    assert_eq!(payloads(viewer.taken()), expected.map(|it| it.payload));
    assert_eq!(viewer.lags, 1);
}

#[test]
fn lagging_viewer_gets_changed_init_data() {
    let registry = short_window();
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut viewer = viewer(&registry);
    viewer.taken();
    send(
        &mut publication,
        [at(90, video_header(2)), keyframe(100, 1)],
    );
    for gop in 2..10 {
        send(&mut publication, [keyframe(gop * 100, gop)]);
    }
    let messages = viewer.taken();
    assert_eq!(messages, [at(900, video_header(2)), keyframe(900, 9)]);
}

#[test]
fn paused_viewer_skips_old_segments() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut viewer = viewer(&registry);
    viewer.taken();
    send(
        &mut publication,
        [interframe(40, 1), keyframe(80, 2), interframe(120, 3)],
    );
    viewer.cursor.catch_up();
    assert_eq!(viewer.taken(), [keyframe(80, 2), interframe(120, 3)]);
    send(&mut publication, [interframe(160, 4)]);
    viewer.cursor.catch_up();
    assert_eq!(viewer.taken(), [interframe(160, 4)], "never back");
    assert_eq!(publication.stream().stats().lags, 0);
}

#[test]
fn changed_sequence_header_applies_only_after_its_position() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0), at(40, video_header(2))]);
    let mut between = viewer(&registry);
    let frames = between.taken();
    assert_eq!(frames[2], video_header(1), "the keyframe's own header");
    assert_eq!(frames[3..], [keyframe(0, 0)]);
    send(&mut publication, [keyframe(40, 1)]);
    let next = [at(40, video_header(2)), keyframe(40, 1)];
    assert_eq!(between.taken(), next);
    let mut behind = viewer(&registry);
    assert_eq!(
        behind.taken()[2..],
        [at(40, video_header(2)), keyframe(40, 1)]
    );
}

/// FFmpeg takes `onMetaData` with any other timestamp for a subtitle track.
#[test]
fn metadata_is_always_stamped_with_zero() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut publication = encoder(&registry, "a", 1);
    let late = |mut message: Message| {
        message.timestamp = 5_000;
        message
    };
    send(&mut publication, headers().map(late));
    send(
        &mut publication,
        [keyframe(5_000, 0), late(metadata(&[("width", 320.0)]))],
    );
    send(&mut publication, [interframe(5_040, 1)]);
    let expected = [0, 5_000, 5_000, 5_000, 0, 5_040];
    assert_eq!(timestamps(&viewer.taken()), expected);
    assert_eq!(timestamps(&rtmp.taken()), expected);
    let cue_point = message(
        MediaKind::Data,
        5_060,
        b"\x02\x00\x0AonCuePoint\x05".to_vec(),
    );
    send(&mut publication, [cue_point.clone()]);
    assert_eq!(viewer.taken(), [cue_point], "other data keeps its time");
}

#[test]
fn gop_longer_than_log_cannot_be_joined() {
    let registry = Registry::new(EngineSettings {
        window_max_bytes: 2_000,
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut early = viewer(&registry);
    for n in 1..100 {
        send(&mut publication, [interframe(n * 40, n)]);
        early.read();
    }
    assert_eq!(
        early.messages.len(),
        3 + 100,
        "a viewer that keeps up loses nothing"
    );
    assert!(publication.stream().stats().window_bytes <= 2_000);
    assert!(!publication.stream().state().playable);
    let mut late = viewer(&registry);
    assert!(late.taken().is_empty());
    send(&mut publication, [keyframe(4_000, 100)]);
    assert_eq!(timestamps(&late.taken()), [0, 4_000, 4_000, 4_000]);
    assert!(publication.stream().state().playable);
}
