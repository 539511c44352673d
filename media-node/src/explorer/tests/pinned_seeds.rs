//! Random schedules that failed once. Each stays, with what happens in it.

use super::*;

/// Asserts that a seed passes that failed once.
fn assert_passes(seed: u64) {
    let outcome = explore(&Schedule::of(seed), Planted::Nothing);
    assert_eq!(outcome.violation, None, "{}", failure(seed, &outcome));
}

/// An origin shows its slate just when an encoder begins elsewhere, whose epoch is the earlier one.
#[test]
fn viewers_join_an_encoder_that_began_together_with_the_slate() {
    assert_passes(932_623_118);
}

/// The slate of another origin ends at once, and its viewers wait for the encoder no longer than others.
#[test]
fn viewers_of_an_origin_with_a_slate_get_an_encoder_that_began_just_before_it() {
    assert_passes(179_533_859_081_004);
}

/// The other origin was the carrier before, and its copy waits for an encoder since then.
#[test]
fn origin_with_an_outdated_copy_shows_no_slate_while_the_carrier_hangs() {
    assert_passes(777_000_012);
}

/// An origin that pulls the stream itself has the newest group of pictures only, and the one that cannot be reached has all of it.
#[test]
fn viewers_skip_nothing_to_what_another_origin_pulls() {
    assert_passes(210_700_257_964_336);
    // Its log begins with the sequence headers, and goes on much later.
    assert_passes(260_544_718_503_202);
}

/// The only messages of a standby are at the origin before and after a survey, and not during one.
#[test]
fn publication_that_is_over_before_it_is_found_reaches_viewers_who_stayed() {
    assert_passes(21_476_924_327_600);
}

/// It gives up a log without readers just then, and its init data.
#[test]
fn publication_returns_to_an_origin_that_gives_up_its_log() {
    assert_passes(84_823_156_304_536);
}

/// Two encoders of one edge change places, and the origin has a third one that stands by.
#[test]
fn standby_does_not_take_the_place_of_an_encoder_that_another_one_follows() {
    assert_passes(121_461_213_383_898);
}

/// The edge knows from its status what the origin has, and before it forwards, the origin gives that up. The other origin is cut off.
#[test]
fn origin_that_gives_up_its_log_meanwhile_gets_the_publication_at_once() {
    assert_passes(92_216_543_793_033);
}

/// The encoder with the highest priority leaves before its publication has come to the origin, which waits for that one.
#[test]
fn standby_takes_the_place_of_an_encoder_that_left_before_its_publication_arrived() {
    assert_passes(44_329_656_924_905);
}

/// An encoder ends its stream when another one that stands by has just taken its place.
#[test]
fn messages_after_a_standby_has_taken_over_are_not_lost() {
    assert_passes(63_947_817_394_610);
}

/// The origins are cut off from each other, and the one that remains knows nothing of the later encoder, whose edge moves to it.
#[test]
fn viewers_do_not_return_to_an_earlier_encoder_while_the_later_one_moves() {
    assert_passes(2022);
}

/// Their own edge had it for a moment, and has not forwarded it yet.
#[test]
fn viewers_do_not_return_to_an_earlier_encoder_when_a_short_publication_is_over() {
    assert_passes(132_777_098_037_712);
}

/// An edge accepts an encoder because an origin has replied that it has none, and another edge moves its own encoder there meanwhile.
#[test]
fn viewers_of_a_rejected_encoder_join_the_one_on_air_at_its_newest_keyframe() {
    assert_passes(273_822_421_423_937);
}

/// A standby was on air at the other origin for a moment, whose end came with its beginning, of which this one knows nothing.
#[test]
fn viewers_get_nothing_older_than_the_publication_that_was_superseded() {
    assert_passes(23_454_614_191_134);
}

/// The origin has got all of the window in one pulse, and the segment has no keyframe within.
#[test]
fn viewer_of_an_audio_stream_that_moves_starts_at_its_newest_message() {
    assert_passes(50_790_778_697_377);
}

/// The log begins its timestamps again with the slate, and the viewer skips that and the beginning of the next encoder.
#[test]
fn viewer_may_lag_while_timestamps_begin_again() {
    assert_passes(174_351_894_933_315);
}

/// Its media node hangs, and what it misses are the last timestamps before the log begins them again.
#[test]
fn viewer_may_lag_before_timestamps_begin_again() {
    assert_passes(250_210_627_735_880);
}

/// An origin with a new address gets an encoder, and another one gets one of a higher priority at the same time.
#[test]
fn standby_may_take_its_place_just_when_viewers_are_compared() {
    assert_passes(2_136_773_041_922);
}

/// It was cut off, and believes that it has a publication that moved to another origin, and ended there.
#[test]
fn viewer_does_not_join_at_an_origin_that_lost_a_publication_before_its_end() {
    assert_passes(1_328_541_795_359);
}

/// The publication seemed to be over at the origin that it moved to, and was about to arrive there.
#[test]
fn viewers_join_a_publication_that_moves_during_their_survey() {
    assert_passes(24_784_352_826_907);
}

/// The encoder on air hangs shortly before the end, and none stands by. The media node has it until its timeout.
#[test]
fn encoder_that_hangs_is_replaced_before_viewers_are_compared() {
    assert_passes(148_008_116_472_733);
}

/// An origin that was silent is distant, and has an encoder: no slate is fed beside it.
#[test]
fn distant_origin_that_was_silent_is_waited_for() {
    assert_passes(151_464_877_977_448);
}

/// The stream of an edge ends during its request, and its viewers join the next one.
#[test]
fn pull_that_continues_a_log_is_not_for_the_stream_that_comes_after_it() {
    assert_passes(91_999_540_607_781);
}

/// An RTMP server goes on with the audio of the next encoder over the same connection.
#[test]
fn viewer_of_an_audio_encoder_does_not_start_at_a_keyframe_of_the_encoder_before_it() {
    assert_passes(48_504_387_352_867);
}

/// The other origin was cut off from the encoder's edge for a moment, and replies since then: one that hangs is not waited for as if it were
/// the only one.
#[test]
fn origin_that_replies_again_takes_over_from_one_that_hangs_soon_after() {
    assert_passes(151_069_346_427_824);
}

/// Two encoders that stand by go on air at one time, after a third one, of a media node whose clock is ahead: not with the same epoch.
#[test]
fn standbys_that_go_on_air_at_one_time_are_not_spliced() {
    assert_passes(37_224_768_854_687);
}

/// None stands by for it, and its media node has it until its timeout.
#[test]
fn viewer_who_joins_an_encoder_that_hangs_gets_its_last_keyframe() {
    assert_passes(122_021_565_770_500);
}

/// Its media node has had no connection for it until shortly before the end.
#[test]
fn viewer_does_not_rest_while_viewers_are_compared() {
    assert_passes(177_000_000_933);
}

/// Two origins have each one on air, and reach each other again just before its keyframe.
#[test]
fn encoder_that_stands_by_for_less_than_a_frame_begins_its_time_again() {
    assert_passes(138_792_261_853_779);
}

/// After an outage, a request that the edge has given up arrives at the origin behind the one that it forwards by.
#[test]
fn encoder_is_not_rejected_for_an_earlier_request_of_its_own_edge() {
    assert_passes(123_335_181_943_184);
}

/// It has a slate because the path of the encoder's edge fails, which returns in a group of pictures.
#[test]
fn video_that_returns_after_a_slate_begins_at_its_next_keyframe() {
    assert_passes(95_736_253_364_351);
}

/// Two origins that were cut off from each other have each another encoder on air, and the one that viewers have seen hangs for 6 seconds.
#[test]
fn viewers_see_another_encoder_that_is_on_air_while_the_origin_of_theirs_hangs() {
    assert_passes(81_130_828_847_175);
}

/// It ends its stream before its turn, shortly after the encoder on air.
#[test]
fn stream_does_not_wait_longer_for_an_encoder_that_only_stood_by() {
    assert_passes(159_011_984_553_183);
}

/// The one with the highest priority and another one take the place of a third one at one time, and the other one is later.
#[test]
fn standbys_that_are_preferred_at_one_time_change_places_once_more() {
    assert_passes(212_886_392_641_264);
}

/// An edge connects again to its RTMP server after the encoder has ended, while another encoder has started there.
#[test]
fn encoder_at_an_rtmp_server_is_not_superseded_by_one_that_has_ended() {
    assert_passes(720_192);
}

/// An origin that is cut off shows a slate, and the encoder that another one has meanwhile ends once they reach each other again.
#[test]
fn slate_of_an_origin_that_was_cut_off_ends_while_another_one_has_an_encoder() {
    assert_passes(67_928_325_815_899);
}

/// A last viewer joins at an edge of an RTMP server just before the next publication has come to it.
#[test]
fn edge_of_an_rtmp_server_shows_the_end_of_a_publication_until_it_has_the_next_one() {
    assert_passes(6_222_897_145_329);
}
