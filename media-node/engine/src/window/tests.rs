//! The memory that a log keeps alive.

use std::sync::Weak;

use bytes::Bytes;
use media_wire::flv::Tracks;
use media_wire::relay::Mark;
use media_wire::{MediaKind, Message};

use super::*;
use crate::segment::{OpenSegment, SegmentStart};

fn segment(sequence: u64, time: u32, keyframe: bool) -> Segment {
    let mut open = OpenSegment::default();
    let message = Message {
        kind: MediaKind::Video,
        timestamp: time,
        payload: Bytes::from_static(&[0; 1_000]),
    };
    open.push(&message, time.into(), 0, || SegmentStart {
        mark: Mark {
            epoch: Epoch(1),
            sequence,
            shift: 0,
        },
        timestamp: time,
        age: time.into(),
        renewals: 0,
        keyframe,
        init_only: false,
        init_data: Arc::default(),
    });
    open.seal(0).unwrap()
}

fn window(max_bytes: usize) -> Window {
    Window::new(Duration::from_millis(500), max_bytes, Arc::default())
}

fn video() -> Option<Tracks> {
    Some(Tracks {
        audio: false,
        video: true,
    })
}

#[test]
fn stalled_reader_keeps_one_segment_alive() {
    let mut window = window(1 << 20);
    let mut all: Vec<Weak<Segment>> = Vec::new();
    let mut stalled = None;
    for n in 0..100 {
        let keyframe = n % 10 == 0;
        drop(window.push(
            segment(n, u32::try_from(n).unwrap() * 40, keyframe),
            video(),
            true,
        ));
        let newest = window.get(n).unwrap();
        all.push(Arc::downgrade(newest));
        if n == 5 {
            stalled = Some(Arc::clone(newest));
        }
    }
    let alive: Vec<usize> = (0..all.len())
        .filter(|n| all[*n].strong_count() > 0)
        .collect();
    // 500 ms before the newest are 12 segments.
    let expected: Vec<usize> = [5].into_iter().chain(87..100).collect();
    assert_eq!(alive, expected);
    drop(stalled);
}

#[test]
fn newest_gop_is_kept_however_old_it_is() {
    let mut window = window(1 << 20);
    for n in 0..100 {
        drop(window.push(
            segment(n, u32::try_from(n).unwrap() * 40, n == 20),
            video(),
            true,
        ));
    }
    assert_eq!((window.first(), window.newest_start()), (20, Some(20)));
}

#[test]
fn bytes_are_bounded_even_if_no_viewer_can_join_then() {
    let ten = 10 * segment(0, 0, false).memory();
    let mut window = window(ten);
    for n in 0..100 {
        drop(window.push(segment(n, 0, n == 20), video(), true));
        assert!(window.bytes() <= ten);
    }
    assert_eq!(window.len(), 10);
    assert_eq!(window.newest_start(), None);
    let mut small = Window::new(Duration::ZERO, 10, Arc::default());
    let large = small.push(segment(0, 0, true), video(), false);
    assert!(large.is_empty(), "one segment is always kept");
}
