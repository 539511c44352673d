//! What a viewer gets: when it joins, while it follows, and when it is outrun.

use std::time::{Duration, Instant};

use crate::support::*;
use bytes::Buf;
use media_engine::{EngineSettings, Format, Next, Registry, Start};
use media_wire::flv::Tracks;

const BOTH: Tracks = Tracks {
    audio: true,
    video: true,
};

#[test]
fn a_viewer_gets_what_was_published() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    assert!(viewer.taken().is_empty(), "nothing to start with yet");
    send(
        &mut publication,
        [keyframe(0, 1), sound(3, 2), inter(40, 3)],
    );
    let [metadata, audio, video] = headers();
    let expected = [
        metadata,
        audio,
        video,
        keyframe(0, 1),
        sound(3, 2),
        inter(40, 3),
    ];
    assert_eq!(viewer.taken(), expected);
    assert_eq!(viewer.tracks, [BOTH]);
}

#[test]
fn late_viewer_starts_at_the_newest_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [
            keyframe(1000, 1),
            inter(1040, 2),
            keyframe(1080, 3),
            inter(1120, 4),
        ],
    );
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let [metadata, audio, video] = headers().map(|message| at(1080, message));
    assert_eq!(
        viewer.taken(),
        [metadata, audio, video, keyframe(1080, 3), inter(1120, 4)]
    );
    send(&mut publication, [sound(1125, 5)]);
    assert_eq!(viewer.taken(), [sound(1125, 5)]);
}

#[test]
fn a_viewer_that_is_outrun_skips_to_a_keyframe_and_is_counted() {
    let registry = Registry::new(EngineSettings {
        window: Duration::from_millis(100),
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    viewer.taken();
    for gop in 1..10 {
        send(
            &mut publication,
            [keyframe(gop * 100, gop), inter(gop * 100 + 50, gop + 100)],
        );
    }
    assert_eq!(viewer.taken(), [keyframe(900, 9), inter(950, 109)]);
    assert_eq!(viewer.skips, 1);
    assert_eq!(publication.stream().stats().skips, 1);
    assert_eq!(viewer.tracks.len(), 1, "one file header");
}

#[test]
fn messages_are_collected_for_a_pulse_and_a_keyframe_is_not_held_up() {
    let registry = Registry::new(EngineSettings {
        pulse_per_viewer: Duration::from_millis(50),
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    for message in headers() {
        publication.append(message);
    }
    publication.append(keyframe(0, 0));
    assert_eq!(publication.pulse(start), None);
    assert_eq!(viewer.taken().len(), 4);
    publication.append(inter(10, 1));
    assert_eq!(publication.pulse(after(10)), Some(after(50)));
    assert!(viewer.taken().is_empty());
    publication.append(inter(40, 2));
    assert_eq!(publication.pulse(after(40)), Some(after(50)));
    assert_eq!(publication.pulse(after(50)), None);
    assert_eq!(viewer.taken().len(), 2);
    publication.append(inter(60, 3));
    publication.append(keyframe(70, 4));
    assert_eq!(publication.pulse(after(70)), None);
    assert_eq!(viewer.taken().len(), 2);
}

#[test]
fn a_long_message_is_one_batch_for_both_formats() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    let frame = long_keyframe(20, 1, 150_000);
    send(&mut publication, [frame.clone()]);
    let mut flv = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    assert_eq!(flv.taken()[3], frame);
    let stream = registry.find(&key("a")).unwrap();
    let mut rtmp = stream.subscribe(Format::Rtmp, Start::Newest, 0);
    let Some(Next::Batch(mut batch)) = rtmp.try_next() else {
        panic!("a batch");
    };
    let bytes = batch.copy_to_bytes(batch.remaining());
    let prelude: usize = headers()
        .iter()
        .map(|message| 12 + message.payload.len())
        .sum();
    assert_eq!(bytes.len(), prelude + 12 + 150_000 + 2);
    let chunk = prelude + 12 + 60_000;
    assert_eq!(bytes[prelude + 12..chunk], frame.payload[..60_000]);
    assert_eq!(bytes[chunk], 0xC6);
    assert_eq!(
        bytes[chunk + 1..chunk + 60_001],
        frame.payload[60_000..120_000]
    );
}
