//! Heads of payloads as encoders send them.

use super::*;

fn video(payload: &[u8]) -> (Option<Codec>, bool, bool, u8) {
    let traits = traits(MediaKind::Video, payload);
    (
        traits.codec,
        traits.keyframe,
        traits.sequence_header,
        traits.track,
    )
}

fn audio(payload: &[u8]) -> (Option<Codec>, bool, u8) {
    let traits = traits(MediaKind::Audio, payload);
    (traits.codec, traits.sequence_header, traits.track)
}

#[test]
fn legacy_video_is_told_by_frame_type_codec_and_packet_type() {
    let h264 = Some(Codec::H264);
    assert_eq!(video(&[0x17, 0, 0, 0, 0]), (h264, false, true, 0));
    assert_eq!(video(&[0x17, 1, 0, 0, 0]), (h264, true, false, 0));
    assert_eq!(video(&[0x27, 1, 0, 0, 0]), (h264, false, false, 0));
    assert_eq!(
        video(&[0x17, 2, 0, 0, 0]),
        (h264, false, false, 0),
        "end of sequence"
    );
    assert_eq!(video(&[0x17]), (h264, false, false, 0), "cut off");
    assert_eq!(
        video(&[0x1C, 0, 0, 0, 0]),
        (Some(Codec::Hevc), false, true, 0)
    );
    assert_eq!(
        video(&[0x1C, 1, 0, 0, 0]),
        (Some(Codec::Hevc), true, false, 0)
    );
    assert_eq!(
        video(&[0x12, 0xAA]),
        (Some(Codec::SorensonH263), true, false, 0)
    );
    assert_eq!(video(&[0x14, 0x00]), (Some(Codec::Vp6), true, false, 0));
    assert_eq!(video(&[0x57, 0]), (h264, false, true, 0));
}

#[test]
fn enhanced_video_is_told_by_its_four_cc() {
    assert_eq!(video(b"\x90hvc1\x01"), (Some(Codec::Hevc), false, true, 0));
    assert_eq!(
        video(b"\x91hvc1\0\0\0"),
        (Some(Codec::Hevc), true, false, 0)
    );
    assert_eq!(video(b"\x93av01\x12"), (Some(Codec::Av1), true, false, 0));
    assert_eq!(video(b"\xA3vp09\x12"), (Some(Codec::Vp9), false, false, 0));
    assert_eq!(video(b"\x90avc1\x01"), (Some(Codec::H264), false, true, 0));
    assert_eq!(
        video(b"\x95av01\x01"),
        (Some(Codec::Av1), false, true, 0),
        "MPEG-2 TS"
    );
    assert_eq!(
        video(b"\x94hvc1\x02"),
        (Some(Codec::Hevc), false, false, 0),
        "HDR metadata"
    );
    assert_eq!(
        video(b"\x91new1\0"),
        (Some(Codec::Other(*b"new1")), true, false, 0)
    );
    assert_eq!(
        video(&[0xD1, 0]),
        (None, false, false, 0),
        "a seek command has no FourCC"
    );
}

#[test]
fn the_first_track_of_multitrack_video_decides() {
    // multitrack | one track, coded frames | hvc1 | track
    assert_eq!(
        video(b"\x96\x01hvc1\0nal"),
        (Some(Codec::Hevc), true, false, 0)
    );
    assert_eq!(
        video(b"\x96\x01hvc1\x01nal"),
        (Some(Codec::Hevc), true, false, 1)
    );
    assert_eq!(
        video(b"\x96\x00hvc1\x02cfg"),
        (Some(Codec::Hevc), false, true, 2)
    );
    // many tracks, many codecs: each track has its FourCC first
    assert_eq!(
        video(b"\x96\x21av01\0\0\0\x01x"),
        (Some(Codec::Av1), true, false, 0)
    );
    assert!(is_keyframe(MediaKind::Video, b"\x96\x01hvc1\0nal"));
    assert!(
        !is_keyframe(MediaKind::Video, b"\x96\x01hvc1\x01nal"),
        "another track"
    );
}

#[test]
fn modifiers_are_skipped() {
    // ModEx | size - 1 = 2 | three bytes of nanoseconds | type 0, coded frames | hvc1
    assert_eq!(
        video(b"\x97\x02\0\0\x01\x01hvc1x"),
        (Some(Codec::Hevc), true, false, 0)
    );
    // two modifiers
    assert_eq!(
        video(b"\x97\x00\xAA\x07\x00\xBB\x03av01x"),
        (Some(Codec::Av1), true, false, 0)
    );
    // 16-bit size
    let mut long = vec![0x97, 0xFF, 0x01, 0x00];
    long.extend([0; 257]);
    long.extend(b"\x01vp09x");
    assert_eq!(video(&long), (Some(Codec::Vp9), true, false, 0));
}

#[test]
fn audio_is_told_by_format_or_four_cc() {
    assert_eq!(audio(&[0xAF, 0, 0x12, 0x10]), (Some(Codec::Aac), true, 0));
    assert_eq!(audio(&[0xAF, 1, 0x21]), (Some(Codec::Aac), false, 0));
    assert_eq!(audio(&[0x2F, 0xFF]), (Some(Codec::Mp3), false, 0));
    assert_eq!(audio(b"\x90OpusOpusHead"), (Some(Codec::Opus), true, 0));
    assert_eq!(audio(b"\x91Opusx"), (Some(Codec::Opus), false, 0));
    assert_eq!(audio(b"\x95\x01mp4a\x03x"), (Some(Codec::Aac), false, 3));
    assert_eq!(
        audio(b"\x97\x00\xAA\x01fLaCx"),
        (Some(Codec::Flac), false, 0)
    );
    assert!(!is_keyframe(MediaKind::Audio, &[0x17, 1]));
}

#[test]
fn a_payload_cut_anywhere_is_no_panic_and_no_keyframe_by_accident() {
    let whole = b"\x97\xFF\0\x01\0\0\x06\x21hvc1\x01\0\0\x01x";
    for end in 0..whole.len() {
        let _ = traits(MediaKind::Video, &whole[..end]);
        let _ = traits(MediaKind::Audio, &whole[..end]);
    }
    assert_eq!(traits(MediaKind::Video, &[]), Traits::default());
    assert_eq!(traits(MediaKind::Data, b"\x17\x01"), Traits::default());
}

#[test]
fn codecs_are_shown_by_their_usual_names() {
    assert_eq!(Codec::H264.to_string(), "H.264");
    assert_eq!(Codec::Other(*b"ab\n1").to_string(), "ab\\n1");
}
