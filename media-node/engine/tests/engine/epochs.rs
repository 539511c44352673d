//! Publishers that come, go, and come back.

use std::time::Duration;

use media_engine::{Appended, EngineSettings, Format, Registry, Source, Start};

use crate::support::*;

#[test]
fn a_new_epoch_continues_the_timeline() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0), inter(40, 1), inter(80, 2)]);
    assert_eq!(timestamps(&viewer.taken()), [0, 0, 0, 0, 40, 80]);
    drop(first);
    let mut second = encoder(&registry, "a", 2);
    send(&mut second, headers());
    assert_eq!(second.append(inter(0, 3)), Appended::BeforeKeyframe);
    send(&mut second, [sound(0, 4), keyframe(40, 5), sound(21, 6)]);
    let messages = viewer.taken();
    assert_eq!(timestamps(&messages), [120, 120, 120, 120, 160, 141]);
    assert_eq!(messages[4].payload, keyframe(0, 5).payload);
    assert_eq!(viewer.tracks.len(), 1);
}

#[test]
fn a_second_track_does_not_go_back_behind_its_former_end() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0), inter(40, 1), sound(100, 2)]);
    assert_eq!(viewer.taken().len(), 6);
    drop(first);
    let mut second = encoder(&registry, "a", 2);
    send(
        &mut second,
        [
            keyframe(500, 3),
            sound(440, 4),
            inter(540, 5),
            sound(463, 6),
        ],
    );
    let timestamps = timestamps(&viewer.taken());
    // The keyframe is one frame behind the latest message, and audio one millisecond behind its end instead of 20 before.
    assert_eq!(timestamps, [140, 101, 201, 124]);
}

#[test]
fn timestamps_of_a_viewer_wrap_at_32_bits() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let mut publication = encoder(&registry, "a", 1);
    let start = 0_u32.wrapping_sub(60);
    send(
        &mut publication,
        headers().map(|message| at(start, message)),
    );
    let times: Vec<u32> = (0..5).map(|n| start.wrapping_add(n * 40)).collect();
    send(&mut publication, [keyframe(times[0], 0)]);
    send(&mut publication, (1..5).map(|n| inter(times[n], 1)));
    assert_eq!(timestamps(&viewer.taken())[3..], times);
    assert_eq!(publication.stream().stats().jumps, 0);
}

#[test]
fn viewers_stay_for_the_continuity_window_and_then_end() {
    let registry = Registry::new(EngineSettings {
        continuity: Duration::from_secs(30),
        ..settings()
    });
    let now = std::time::Instant::now();
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    drop(publication);
    registry.sweep(now);
    registry.sweep(now + Duration::from_secs(29));
    assert_eq!(viewer.taken().len(), 4);
    assert!(!viewer.ended);
    registry.sweep(now + Duration::from_secs(30));
    viewer.read();
    assert!(viewer.ended);
    assert!(registry.streams().is_empty());
}

#[test]
fn a_superseded_publication_writes_nothing() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 5, Source::Forwarded);
    let mut second = encoder(&registry, "a", 1);
    assert!(first.is_superseded());
    assert!(second.epoch() > first.epoch());
    assert_eq!(first.append(keyframe(0, 0)), Appended::Superseded);
    drop(first);
    assert!(!second.is_superseded());
    assert_eq!(second.append(keyframe(0, 0)), Appended::New);
}
