//! Encoders that wrap, jump, pause and interleave, and consecutive epochs.

use super::*;
use Timing::{Audio, Untimed, Video};

fn source(messages: &[(Timing, u32)]) -> (Vec<u32>, u64) {
    let mut timeline = SourceTimeline::default();
    let placed = messages
        .iter()
        .map(|(timing, encoder)| timeline.place(*timing, *encoder))
        .collect();
    (placed, timeline.jumps())
}

fn untouched(messages: &[(Timing, u32)]) {
    let encoder: Vec<u32> = messages.iter().map(|(_, encoder)| *encoder).collect();
    assert_eq!(source(messages), (encoder, 0));
}

#[test]
fn timestamps_without_jumps_are_unchanged() {
    untouched(&[
        (Untimed, 0),
        (Audio, 0),
        (Video, 33),
        (Audio, 21),
        (Video, 67),
        (Audio, 43),
    ]);
    untouched(&[(Video, 123_456), (Audio, 123_400), (Video, 123_496)]);
}

#[test]
fn audio_far_behind_video_is_interleaving() {
    untouched(&[
        (Video, 9_000),
        (Audio, 4_000),
        (Video, 9_040),
        (Audio, 4_021),
        (Video, 9_080),
    ]);
}

#[test]
fn pause_stays_pause() {
    untouched(&[(Video, 0), (Video, 40), (Video, 5_040), (Audio, 5_000)]);
}

#[test]
fn wrap_at_32_bits_is_no_jump() {
    untouched(&[
        (Video, u32::MAX - 20),
        (Audio, u32::MAX),
        (Video, 19),
        (Audio, 22),
    ]);
}

#[test]
fn jump_back_becomes_one_frame_interval_for_both_tracks() {
    let messages = [
        (Video, 80_000),
        (Audio, 80_010),
        (Video, 80_040),
        (Video, 0),
        (Audio, 10),
        (Video, 40),
        (Audio, 31),
    ];
    let expected = vec![80_000, 80_010, 80_040, 80_080, 80_090, 80_120, 80_111];
    assert_eq!(source(&messages), (expected, 1));
}

#[test]
fn jump_forward_becomes_one_frame_interval() {
    let messages = [
        (Video, 0),
        (Video, 40),
        (Video, 3_600_000),
        (Video, 3_600_040),
    ];
    assert_eq!(source(&messages), (vec![0, 40, 80, 120], 1));
}

#[test]
fn message_from_before_jump_keeps_tracks_together() {
    let messages = [
        (Video, 80_000),
        (Audio, 80_000),
        (Video, 80_040),
        (Video, 0),
        (Audio, 80_021),
        (Video, 40),
        (Audio, 2),
        (Audio, 23),
    ];
    let expected = vec![
        80_000, 80_000, 80_040, 80_080, 80_021, 80_120, 80_082, 80_103,
    ];
    assert_eq!(source(&messages), (expected, 1));
}

#[test]
fn track_that_steps_back_a_little_stands_still() {
    let messages = [(Audio, 100), (Audio, 121), (Audio, 118), (Audio, 140)];
    assert_eq!(source(&messages), (vec![100, 121, 121, 140], 0));
}

#[test]
fn wrap_at_31_or_24_bits_is_one_frame_interval() {
    for end in [0x7FFF_FFF0, 0xFF_FFF0] {
        let messages = [(Video, end - 40), (Video, end), (Video, 24), (Video, 64)];
        let expected = vec![end - 40, end, end + 40, end + 80];
        assert_eq!(source(&messages), (expected, 1));
    }
}

#[test]
fn headers_with_timestamp_zero_open_no_gap_before_first_frame() {
    let messages = [
        (Untimed, 0),
        (Untimed, 0),
        (Video, 9_000_000),
        (Audio, 9_000_005),
    ];
    assert_eq!(source(&messages), (vec![0, 0, 33, 38], 1));
}

#[test]
fn headers_within_stream_get_its_timestamp() {
    let messages = [
        (Video, 5_000),
        (Untimed, 0),
        (Untimed, 5_040),
        (Video, 5_040),
    ];
    assert_eq!(source(&messages), (vec![5_000, 5_000, 5_040, 5_040], 0));
}

#[test]
fn epoch_begins_one_frame_after_the_last_one() {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    assert_eq!(
        [(Video, 7_000), (Video, 7_040)].map(|(t, s)| log.place(t, s)),
        [7_000, 7_040]
    );
    assert_eq!(log.shift(), 0);
    log.begin_epoch();
    assert_eq!(
        [(Video, 0), (Video, 33)].map(|(t, s)| log.place(t, s)),
        [7_080, 7_113]
    );
    assert_eq!(log.shift(), 7_080);
}

#[test]
fn epochs_continue_over_wrap() {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    let end = u32::MAX - 10;
    assert_eq!(log.place(Video, end - 40), end - 40);
    assert_eq!(log.place(Video, end), end);
    log.begin_epoch();
    assert_eq!(log.place(Video, 500), 29);
    assert_eq!(log.place(Video, 540), 69);
}
