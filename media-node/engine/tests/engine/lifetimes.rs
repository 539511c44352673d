//! How long a stream lives, with and without a publisher, and who reads it.

use std::time::{Duration, Instant};

use media_engine::{EngineSettings, Format, Registry, Start};

use crate::support::*;

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
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

#[test]
fn stream_that_waits_for_its_publisher_without_readers_keeps_no_publisher_out() {
    let registry = Registry::new(EngineSettings {
        max_streams: 2,
        ..settings()
    });
    let _viewer = FlvReader::of(&registry, "watched", Start::Newest);
    for name in ["watched", "idle"] {
        let mut publication = encoder(&registry, name, 1);
        send(&mut publication, [keyframe(0, 0)]);
    }
    let _newcomer = encoder(&registry, "new", 1);
    assert!(registry.find(&key("idle")).is_none());
    assert!(registry.find(&key("watched")).is_some());
}

#[test]
fn log_without_publisher_and_readers_is_given_up_before_the_stream_ends() {
    let registry = Registry::new(settings());
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    let mut watched = FlvReader::of(&registry, "watched", Start::Newest);
    for name in ["unread", "watched"] {
        let mut publication = encoder(&registry, name, 1);
        send(&mut publication, headers());
        for number in 0..50 {
            send(
                &mut publication,
                [long_frame(keyframe(number * 40, number), 10_000)],
            );
        }
    }
    assert!(registry.memory().used > 1_000_000);
    registry.sweep(after(0));
    registry.sweep(after(5));
    assert!(registry.memory().used > 1_000_000);
    registry.sweep(after(6));
    let used = registry.memory().used;
    assert!(500_000 < used && used < 600_000, "{used}");
    assert_eq!(watched.taken().len(), 3 + 50);

    // Its timestamps continue when the encoder returns.
    let mut late = FlvReader::of(&registry, "unread", Start::Newest);
    let mut again = encoder(&registry, "unread", 2);
    send(&mut again, headers());
    send(&mut again, [keyframe(0, 50)]);
    let taken = late.taken();
    assert_eq!(taken.len(), 4);
    let last = taken.last().expect("a keyframe");
    assert!(last.timestamp > 49 * 40, "{}", last.timestamp);
}

#[test]
fn readers_are_counted() {
    let registry = Registry::new(settings());
    let stream = registry.open(&key("a")).unwrap();
    let mut watch = stream.watch_readers();
    assert!(!watch.has_changed().unwrap());
    let flv = stream.subscribe(Format::Flv, Start::Newest, 0);
    let rtmp = stream.subscribe(Format::Rtmp, Start::Newest, 5);
    let relay = stream.subscribe(Format::Relay, Start::Newest, 9);
    let state = *watch.borrow_and_update();
    assert_eq!((state.viewers, state.relays), (2, 1));
    assert_eq!(registry.viewers(), 2);
    drop((flv, rtmp, relay));
    let state = *watch.borrow_and_update();
    assert_eq!((state.viewers, state.relays), (0, 0));
    assert_eq!(registry.viewers(), 0);
}
