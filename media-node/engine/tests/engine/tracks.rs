//! Which tracks a viewer is told that its stream has, and when that is decided.

use std::time::{Duration, Instant};

use media_engine::{Registry, Start};
use media_wire::flv::Tracks;

use crate::support::*;

pub(crate) const BOTH: Tracks = Tracks {
    audio: true,
    video: true,
};
const AUDIO: Tracks = Tracks {
    audio: true,
    video: false,
};
const VIDEO: Tracks = Tracks {
    audio: false,
    video: true,
};

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
}

#[test]
fn audio_only_stream_can_be_joined_anywhere() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(
        &mut publication,
        [metadata(&[("audiocodecid", 10.0)]), audio_header(1)],
    );
    send(&mut publication, (0..100).map(|n| audio_frame(n * 21, n)));
    let mut viewer = viewer(&registry);
    let messages = viewer.taken();
    assert_eq!(viewer.tracks, [AUDIO]);
    assert_eq!(
        messages[1..],
        [at(99 * 21, audio_header(1)), audio_frame(99 * 21, 99)]
    );
}

#[test]
fn tracks_are_decided_after_half_a_second_at_the_latest() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    // Two tracks are announced, and only one is sent.
    send(
        &mut publication,
        [headers()[0].clone(), video_header(1), keyframe(0, 0)],
    );
    send(&mut publication, (1..12).map(|n| interframe(n * 40, n)));
    assert!(viewer.taken().is_empty());
    send(&mut publication, [interframe(500, 12)]);
    assert_eq!(viewer.taken().len(), 2 + 13);
    assert_eq!(viewer.tracks, [VIDEO]);
    send(&mut publication, [audio_header(1), audio_frame(510, 0)]);
    assert_eq!(viewer.taken().len(), 2, "a late track is not dropped");
    let mut late = FlvReader::of(&registry, "a", Start::Newest);
    late.read();
    assert_eq!(late.tracks, [BOTH]);
}

#[test]
fn stream_with_late_video_starts_at_keyframe_from_then_on() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, [audio_header(1)]);
    send(&mut publication, (0..50).map(|n| audio_frame(n * 21, n)));
    let mut early = viewer(&registry);
    early.taken();
    assert_eq!(early.tracks, [AUDIO]);
    send(
        &mut publication,
        [
            at(1050, video_header(1)),
            keyframe(1050, 50),
            audio_frame(1060, 51),
        ],
    );
    assert_eq!(early.taken().len(), 3);
    let mut late = viewer(&registry);
    assert_eq!(timestamps(&late.taken()), [1050, 1050, 1050, 1060]);
    assert_eq!(late.tracks, [BOTH]);
}

/// Its next frame may come after the time that a viewer waits.
#[test]
fn tracks_of_a_stream_that_is_silent_after_its_keyframe_are_decided_by_a_sweep() {
    let registry = Registry::new(settings());
    let mut early = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    let begin = Instant::now();
    let after = |milliseconds| begin + Duration::from_millis(milliseconds);
    // Two tracks are announced, and only one is sent.
    send(&mut publication, [headers()[0].clone(), video_header(1)]);
    registry.sweep(after(2_000));
    publication.append(keyframe(0, 0));
    publication.pulse(after(2_000));
    assert!(early.taken().is_empty());
    registry.sweep(after(2_400));
    assert!(!publication.stream().state().playable);
    registry.sweep(after(3_000));
    assert!(publication.stream().state().playable);
    let mut late = viewer(&registry);
    for viewer in [&mut early, &mut late] {
        assert_eq!(viewer.taken().len(), 3);
        assert_eq!(viewer.tracks, [VIDEO]);
    }
}
