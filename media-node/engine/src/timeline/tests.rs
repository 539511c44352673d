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

/// Places messages of a log, of which only keyframes are a start.
fn place<const N: usize>(log: &mut LogTimeline, messages: [(Timing, u32); N]) -> [u32; N] {
    messages.map(|(timing, source)| log.place(timing, source, false))
}

fn keyframe(log: &mut LogTimeline, source: u32) -> u32 {
    log.place(Video, source, true)
}

/// Returns a log whose last message has the timestamp and the same source timestamp.
fn log_at(timestamp: u32) -> LogTimeline {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    assert_eq!(keyframe(&mut log, 0), 0);
    let before = timestamp - 40;
    assert_eq!(
        place(&mut log, [(Video, before), (Video, timestamp)]),
        [before, timestamp]
    );
    log
}

#[test]
fn epoch_begins_one_frame_after_the_last_one() {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    assert_eq!(
        place(&mut log, [(Video, 7_000), (Video, 7_040)]),
        [7_000, 7_040]
    );
    assert_eq!(log.shift(), 0);
    log.begin_epoch();
    assert_eq!(place(&mut log, [(Video, 0), (Video, 33)]), [7_080, 7_113]);
    assert_eq!(log.shift(), 7_080);
}

#[test]
fn epoch_renews_log_after_twelve_days_and_not_before() {
    let twelve_days = 1 << 30;
    let mut young = log_at(twelve_days - 100);
    young.begin_epoch();
    assert_eq!(place(&mut young, [(Audio, 500)]), [twelve_days - 60]);
    let mut old = log_at(twelve_days - 40);
    old.begin_epoch();
    assert_eq!(
        place(&mut old, [(Audio, 500), (Video, 480), (Video, 520)]),
        [10_000, 9_980, 10_020]
    );
    old.begin_epoch();
    assert_eq!(place(&mut old, [(Video, 0)]), [10_060], "renewed once");
}

#[test]
fn first_epoch_of_large_timestamps_begins_below_them() {
    for first in [
        1 << 30,
        (1 << 31) - 1,
        1 << 31,
        u32::MAX - 20_000,
        u32::MAX - 3_000,
    ] {
        let mut log = LogTimeline::default();
        log.begin_epoch();
        let next = first.wrapping_add(40);
        assert_eq!(
            place(&mut log, [(Video, first), (Video, next)]),
            [10_000, 10_040]
        );
    }
}

#[test]
fn keyframe_renews_log_before_31_bits_and_other_track_follows() {
    let at = (1 << 31) - (1 << 22);
    let mut log = log_at(at - 40);
    assert_eq!(
        place(&mut log, [(Video, at), (Audio, at + 20)]),
        [at, at + 20]
    );
    assert_eq!(keyframe(&mut log, at + 40), 10_000);
    let late = [(Audio, at - 8_000), (Video, at + 80)];
    assert_eq!(place(&mut log, late), [1_960, 10_040]);
    assert_eq!(keyframe(&mut log, at + 120), 10_080, "renewed once");
}

#[test]
fn log_without_keyframes_is_renewed_before_31_bits() {
    let at = (1 << 31) - (1 << 20);
    let mut log = log_at(at - 40);
    assert_eq!(
        place(&mut log, [(Audio, at - 1), (Video, at)]),
        [at - 1, 10_000]
    );
    assert_eq!(place(&mut log, [(Audio, at - 20)]), [9_980]);
}

/// A relay may find its stream again after weeks.
#[test]
fn source_that_goes_over_31_bits_in_one_step_renews_log() {
    let mut log = log_at(5_000);
    let far = (1 << 31) + 77;
    assert_eq!(
        place(&mut log, [(Video, far), (Video, far + 40)]),
        [10_000, 10_040]
    );
}

#[test]
fn age_goes_on_when_log_is_renewed() {
    let at = (1 << 31) - (1 << 22);
    let mut log = log_at(at);
    let before = log.age(at);
    assert_eq!(before, i64::from(at));
    let renewed = keyframe(&mut log, at + 40);
    assert_eq!(log.age(renewed), before + 40);
    assert_eq!(log.age(renewed - 20), before + 20);
}

#[test]
fn first_frame_just_below_32_bits_renews_log_although_relayed_header_has_zero() {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    assert_eq!(place(&mut log, [(Untimed, 0)]), [0]);
    assert_eq!(keyframe(&mut log, u32::MAX - 3_000), 10_000);
}

#[test]
fn track_that_begins_just_before_zero_does_not_renew_log() {
    let mut log = LogTimeline::default();
    log.begin_epoch();
    let before = 0_u32.wrapping_sub(5);
    assert_eq!(place(&mut log, [(Video, 0), (Audio, before)]), [0, before]);
    assert_eq!(log.age(before), -5);
}
