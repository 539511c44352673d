//! What a viewer gets: when it joins, while it follows, and when it is outrun.

use std::time::{Duration, Instant};

use bytes::Buf;
use media_engine::{Cursor, EngineSettings, Format, Next, Registry, Start};
use media_wire::flv::Tracks;
use media_wire::{MediaKind, Message};

use crate::support::*;

const BOTH: Tracks = Tracks {
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

fn short_window() -> Registry {
    Registry::new(EngineSettings {
        window: Duration::from_millis(100),
        ..settings()
    })
}

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Format::Flv, Start::Newest)
}

#[test]
fn a_viewer_gets_what_was_published() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
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
    assert_eq!(rtmp.taken(), expected);
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
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let [metadata, audio, video] = headers().map(|message| at(1080, message));
    let expected = [metadata, audio, video, keyframe(1080, 3), inter(1120, 4)];
    assert_eq!(viewer.taken(), expected);
    assert_eq!(rtmp.taken(), expected);
    send(&mut publication, [sound(1125, 5)]);
    assert_eq!(viewer.taken(), [sound(1125, 5)]);
    assert_eq!(rtmp.taken(), [sound(1125, 5)]);
}

#[test]
fn the_oldest_keyframe_is_a_start_too() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [keyframe(0, 1), inter(40, 2), keyframe(80, 3), inter(120, 4)],
    );
    let mut viewer = FlvReader::of(&registry, "a", Format::Flv, Start::Oldest);
    assert_eq!(timestamps(&viewer.taken()), [0, 0, 0, 0, 40, 80, 120]);
}

#[test]
fn a_viewer_that_is_outrun_skips_to_a_keyframe_and_is_counted() {
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
            [keyframe(gop * 100, gop), inter(gop * 100 + 50, gop + 100)],
        );
    }
    assert_eq!(viewer.taken(), [keyframe(900, 9), inter(950, 109)]);
    assert_eq!(rtmp.taken(), [keyframe(900, 9), inter(950, 109)]);
    assert_eq!(viewer.skips, 1);
    assert_eq!(publication.stream().stats().skips, 2);
    assert_eq!(viewer.tracks.len(), 1, "one file header");
}

#[test]
fn a_viewer_that_is_outrun_learns_what_changed_meanwhile() {
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
    let [metadata, audio, _] = headers().map(|message| at(900, message));
    let expected = [metadata, audio, at(900, video_header(2)), keyframe(900, 9)];
    assert_eq!(messages, expected);
}

#[test]
fn a_viewer_that_pauses_may_leave_out_what_is_old() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut viewer = viewer(&registry);
    viewer.taken();
    send(
        &mut publication,
        [inter(40, 1), keyframe(80, 2), inter(120, 3)],
    );
    viewer.cursor.catch_up();
    assert_eq!(viewer.taken(), [keyframe(80, 2), inter(120, 3)]);
    send(&mut publication, [inter(160, 4)]);
    viewer.cursor.catch_up();
    assert_eq!(viewer.taken(), [inter(160, 4)], "never back");
    assert_eq!(publication.stream().stats().skips, 0);
}

#[test]
fn a_changed_sequence_header_is_for_those_behind_it_only() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0), at(40, video_header(2))]);
    let mut between = viewer(&registry);
    let frames = between.taken();
    assert_eq!(frames[2], video_header(1), "the keyframe's own header");
    assert_eq!(frames[3..], [keyframe(0, 0), at(40, video_header(2))]);
    send(&mut publication, [keyframe(40, 1)]);
    assert_eq!(between.taken(), [keyframe(40, 1)], "it has read the header");
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
    send(&mut publication, [inter(5_040, 1)]);
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
fn a_group_of_pictures_longer_than_the_log_cannot_be_joined() {
    let registry = Registry::new(EngineSettings {
        window_max_bytes: 2_000,
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    let mut early = viewer(&registry);
    for n in 1..100 {
        send(&mut publication, [inter(n * 40, n)]);
        early.read();
    }
    assert_eq!(
        early.messages.len(),
        3 + 100,
        "who is up to date loses nothing"
    );
    assert!(publication.stream().stats().window_bytes <= 2_000);
    assert!(!publication.stream().state().playable);
    let mut late = viewer(&registry);
    assert!(late.taken().is_empty());
    send(&mut publication, [keyframe(4_000, 100)]);
    assert_eq!(timestamps(&late.taken()), [0, 4_000, 4_000, 4_000]);
    assert!(publication.stream().state().playable);
}

#[test]
fn an_audio_only_stream_can_be_joined_anywhere() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(
        &mut publication,
        [metadata(&[("audiocodecid", 10.0)]), audio_header(1)],
    );
    send(&mut publication, (0..100).map(|n| sound(n * 21, n)));
    let mut viewer = viewer(&registry);
    let messages = viewer.taken();
    assert_eq!(viewer.tracks, [AUDIO]);
    assert_eq!(
        messages[1..],
        [at(99 * 21, audio_header(1)), sound(99 * 21, 99)]
    );
}

#[test]
fn tracks_are_known_after_half_a_second_at_the_latest() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut publication = encoder(&registry, "a", 1);
    // Both are announced, and one comes.
    send(
        &mut publication,
        [headers()[0].clone(), video_header(1), keyframe(0, 0)],
    );
    send(&mut publication, (1..12).map(|n| inter(n * 40, n)));
    assert!(viewer.taken().is_empty());
    send(&mut publication, [inter(500, 12)]);
    assert_eq!(viewer.taken().len(), 2 + 13);
    assert_eq!(viewer.tracks, [VIDEO]);
    send(&mut publication, [audio_header(1), sound(510, 0)]);
    assert_eq!(viewer.taken().len(), 2, "a late track is not dropped");
    let mut late = FlvReader::of(&registry, "a", Format::Flv, Start::Newest);
    late.read();
    assert_eq!(late.tracks, [BOTH]);
}

#[test]
fn a_stream_that_gets_video_late_starts_at_a_keyframe_from_then_on() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, [audio_header(1)]);
    send(&mut publication, (0..50).map(|n| sound(n * 21, n)));
    let mut early = viewer(&registry);
    early.taken();
    assert_eq!(early.tracks, [AUDIO]);
    send(
        &mut publication,
        [
            at(1050, video_header(1)),
            keyframe(1050, 50),
            sound(1060, 51),
        ],
    );
    assert_eq!(early.taken().len(), 3);
    let mut late = viewer(&registry);
    assert_eq!(timestamps(&late.taken()), [1050, 1050, 1050, 1060]);
    assert_eq!(late.tracks, [BOTH]);
}

#[test]
fn messages_are_collected_for_a_pulse_and_a_keyframe_is_not_held_up() {
    let registry = Registry::new(EngineSettings {
        pulse_per_viewer: Duration::from_millis(50),
        ..settings()
    });
    let mut publication = encoder(&registry, "a", 1);
    let mut viewer = viewer(&registry);
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
fn the_first_keyframe_is_shown_at_once() {
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
    publication.append(inter(40, 1));
    let due = now + EngineSettings::default().pulse_max;
    assert_eq!(publication.pulse(now), Some(due), "nobody reads");
}

#[test]
fn a_burst_becomes_batches_of_bounded_size() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    for message in headers() {
        publication.append(message);
    }
    publication.append(keyframe(0, 0));
    for n in 1..500 {
        publication.append(long_frame(inter(n * 40, n), 10_000));
    }
    publication.pulse(Instant::now());
    let stream = publication.stream();
    let mut cursor = stream.subscribe(Format::Flv, Start::Newest, 0);
    let mut sizes = Vec::new();
    while let Some(Next::Batch(batch)) = cursor.try_next() {
        sizes.push(batch.len());
    }
    assert!(
        sizes.iter().all(|size| *size < (256 << 10) + 20_000),
        "{sizes:?}"
    );
}

#[test]
fn who_lags_takes_small_segments_together() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    send(&mut publication, (1..100).map(|n| inter(n * 40, n)));
    let mut cursor = publication
        .stream()
        .subscribe(Format::Flv, Start::Newest, 0);
    let mut batches = 0;
    while let Some(Next::Batch(_)) = cursor.try_next() {
        batches += 1;
    }
    assert_eq!(batches, 100_usize.div_ceil(16));
}

#[test]
fn a_batch_says_whether_it_begins_at_a_keyframe() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [keyframe(0, 0), inter(40, 1), keyframe(80, 2), inter(120, 3)],
    );
    let mut cursor = publication
        .stream()
        .subscribe(Format::Rtmp, Start::Oldest, 0);
    let mut keyframes = Vec::new();
    while let Some(Next::Batch(batch)) = cursor.try_next() {
        keyframes.push(batch.keyframe);
    }
    assert_eq!(keyframes, [true, true]);
}

#[test]
fn a_long_message_is_chunked_for_rtmp() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    // Time passes the border from which on it needs the extended field.
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
        assert!(viewer(&registry).taken()[3] == frame, "FLV, {len} bytes");
    }
}

#[test]
fn a_cursor_is_small() {
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
fn a_batch_can_be_sent_in_any_steps() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(
        &mut publication,
        [keyframe(0, 0), inter(40, 1), sound(41, 2), sound(62, 3)],
    );
    for format in [Format::Flv, Format::Rtmp, Format::Relay] {
        let whole = |step: usize| {
            let mut cursor = publication.stream().subscribe(format, Start::Newest, 0);
            let Some(Next::Batch(batch)) = cursor.try_next() else {
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
