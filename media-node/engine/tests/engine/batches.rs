//! Batches: when they are sealed, how large they are, and the steps in which a socket takes them.

use std::time::{Duration, Instant};

use bytes::Buf;
use media_engine::{Cursor, CursorEvent, EngineSettings, Format, Registry, Start};

use crate::support::*;

#[test]
fn messages_are_collected_for_pulse_and_keyframe_is_not_delayed() {
    let registry = Registry::new(EngineSettings {
        pulse_min: Duration::from_millis(50),
        pulse_max: Duration::from_millis(350),
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    let mut viewer = FlvReader::of(&registry, "a", Start::Newest);
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    for message in headers() {
        publication.append(message);
    }
    publication.append(keyframe(0, 0));
    assert_eq!(publication.pulse(start), None);
    assert_eq!(viewer.taken().len(), 4);
    publication.append(interframe(10, 1));
    assert_eq!(publication.pulse(after(10)), Some(after(50)));
    assert!(viewer.taken().is_empty());
    publication.append(interframe(40, 2));
    assert_eq!(publication.pulse(after(40)), Some(after(50)));
    assert_eq!(publication.pulse(after(50)), None);
    assert_eq!(viewer.taken().len(), 2);
    publication.append(interframe(60, 3));
    publication.append(keyframe(70, 4));
    assert_eq!(publication.pulse(after(70)), None);
    assert_eq!(viewer.taken().len(), 2);
}

#[test]
fn first_keyframe_is_sent_immediately() {
    let registry = Registry::new(EngineSettings::default());
    let mut publication = encoder(&registry, "a", 1);
    let now = Instant::now();
    for message in headers() {
        publication.append(message);
    }
    publication.pulse(now);
    publication.append(keyframe(0, 0));
    assert_eq!(publication.pulse(now), None);
    assert!(publication.stream().state().playable);
    publication.append(interframe(40, 1));
    let due = now + EngineSettings::default().pulse_max;
    assert_eq!(
        publication.pulse(now),
        Some(due),
        "the stream has no readers"
    );
}

#[test]
fn burst_becomes_batches_of_bounded_size() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    for message in headers() {
        publication.append(message);
    }
    publication.append(keyframe(0, 0));
    for n in 1..500 {
        publication.append(long_frame(interframe(n * 40, n), 10_000));
    }
    publication.pulse(Instant::now());
    let stream = publication.stream();
    let mut cursor = stream.subscribe(Format::Flv, Start::Newest, 0);
    let mut sizes = Vec::new();
    while let Some(CursorEvent::Batch(batch)) = cursor.try_next() {
        sizes.push(batch.len());
    }
    assert!(
        sizes.iter().all(|size| *size < (256 << 10) + 20_000),
        "{sizes:?}"
    );
}

#[test]
fn viewer_that_is_behind_takes_small_segments_together() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    send(&mut publication, (1..100).map(|n| interframe(n * 40, n)));
    let mut cursor = publication
        .stream()
        .subscribe(Format::Flv, Start::Newest, 0);
    let mut batches = 0;
    while let Some(CursorEvent::Batch(_)) = cursor.try_next() {
        batches += 1;
    }
    assert_eq!(batches, 100_usize.div_ceil(16));
}

#[test]
fn batch_reports_whether_it_begins_with_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [
            keyframe(0, 0),
            interframe(40, 1),
            keyframe(80, 2),
            interframe(120, 3),
        ],
    );
    let mut cursor = publication
        .stream()
        .subscribe(Format::Rtmp, Start::Oldest, 0);
    let mut keyframes = Vec::new();
    while let Some(CursorEvent::Batch(batch)) = cursor.try_next() {
        keyframes.push(batch.keyframe);
    }
    assert_eq!(keyframes, [true, true]);
}

#[test]
fn long_message_is_chunked_for_rtmp() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    // The timestamps cross the limit beyond which they need the extended timestamp field.
    let start = 0x00FF_FFF0;
    send(
        &mut publication,
        headers().map(|message| at(start, message)),
    );
    for (n, len) in (0..).zip([59_999, 60_000, 60_001, 120_000, 150_000, 1_000_000]) {
        let frame = long_frame(keyframe(start + n * 5, n), len);
        send(&mut publication, [frame.clone()]);
        assert!(
            RtmpReader::of(&registry, "a").taken()[3] == frame,
            "RTMP, {len} bytes"
        );
        assert!(
            FlvReader::of(&registry, "a", Start::Newest).taken()[3] == frame,
            "FLV, {len} bytes"
        );
    }
}

#[test]
fn cursor_is_small() {
    assert!(size_of::<Cursor>() <= 104, "{}", size_of::<Cursor>());
}

/// Takes a batch in steps of `step` bytes, as sockets do.
fn in_steps(mut batch: impl Buf, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while batch.has_remaining() {
        let mut slices = [std::io::IoSlice::new(&[]); 3];
        let count = batch.chunks_vectored(&mut slices);
        let gathered: Vec<u8> = slices[..count]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        assert!(gathered.starts_with(batch.chunk()));
        assert!(!batch.chunk().is_empty());
        let step = step.min(gathered.len());
        bytes.extend_from_slice(&gathered[..step]);
        batch.advance(step);
    }
    assert_eq!(
        batch.chunks_vectored(&mut [std::io::IoSlice::new(&[])]),
        0,
        "step {step}"
    );
    bytes
}

#[test]
fn batch_is_sent_in_steps_of_any_size() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [
            keyframe(0, 0),
            interframe(40, 1),
            audio_frame(41, 2),
            audio_frame(62, 3),
        ],
    );
    for format in [Format::Flv, Format::Rtmp, Format::Relay] {
        let whole = |step: usize| {
            let mut cursor = publication.stream().subscribe(format, Start::Newest, 0);
            let Some(CursorEvent::Batch(batch)) = cursor.try_next() else {
                panic!("a batch");
            };
            assert_eq!(batch.len(), batch.remaining());
            in_steps(batch, step)
        };
        let expected = whole(usize::MAX);
        for step in 1..60 {
            assert_eq!(whole(step), expected);
        }
    }
}
