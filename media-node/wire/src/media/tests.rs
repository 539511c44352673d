//! Headers of payloads as encoders send them.

use super::*;

fn video(payload: &[u8]) -> (Option<Codec>, bool, bool, u8) {
    let header = MediaHeader::parse(MediaKind::Video, payload);
    (
        header.codec,
        header.packet_type == PacketType::Keyframe,
        header.packet_type == PacketType::SequenceHeader,
        header.track,
    )
}

fn audio(payload: &[u8]) -> (Option<Codec>, bool, u8) {
    let header = MediaHeader::parse(MediaKind::Audio, payload);
    let sequence_header = header.packet_type == PacketType::SequenceHeader;
    (header.codec, sequence_header, header.track)
}

fn packet_type(payload: &[u8]) -> PacketType {
    MediaHeader::parse(MediaKind::Video, payload).packet_type
}

fn is_keyframe(kind: MediaKind, payload: &[u8]) -> bool {
    MediaHeader::parse(kind, payload).is_first_keyframe()
}

#[test]
fn legacy_video_is_recognized_by_frame_type_codec_and_packet_type() {
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
    assert_eq!(
        video(&[0x57, 0]),
        (h264, false, false, 0),
        "a seek command, whose second byte is no packet type"
    );
}

#[test]
fn enhanced_video_is_recognized_by_its_four_cc() {
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
fn first_track_of_multitrack_video_decides() {
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
fn video_packets_other_than_frames_are_recognized() {
    let ends: [&[u8]; 4] = [
        b"\x17\x02\0\0\0",
        b"\x92hvc1",
        b"\x96\x02hvc1\0",       // multitrack
        b"\x97\x00\xAA\x02hvc1", // after a modifier
    ];
    for payload in ends {
        assert_eq!(
            packet_type(payload),
            PacketType::SequenceEnd,
            "{payload:02x?}"
        );
    }
    let metadata: [&[u8]; 4] = [
        b"\xD4hvc1\x02\x00\x09colorInfo",
        b"\x94hvc1\x02\x00\x09colorInfo",
        b"\x96\x04hvc1\0\x02\x00\x09colorInfo",
        b"\xD7\x00\xAA\x04hvc1\x02\x00\x09colorInfo",
    ];
    for payload in metadata {
        assert_eq!(
            packet_type(payload),
            PacketType::VideoMetadata,
            "{payload:02x?}"
        );
    }
    let commands: [&[u8]; 4] = [
        b"\x57\x00",
        b"\x52\x01",
        b"\xD1\x00",
        b"\xD7\x00\xAA\x01\x00",
    ];
    for payload in commands {
        assert_eq!(packet_type(payload), PacketType::Other, "{payload:02x?}");
    }
}

#[test]
fn audio_is_recognized_by_format_or_four_cc() {
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
    let channels: [&[u8]; 3] = [
        b"\x94Opus\x01\x06\0\0\0\x3F",
        b"\x95\x04Opus\x00\x01\x06\0\0\0\x3F",
        b"\x97\x00\xAA\x04Opus\x01\x06\0\0\0\x3F",
    ];
    for payload in channels {
        let header = MediaHeader::parse(MediaKind::Audio, payload);
        assert_eq!(header.packet_type, PacketType::MultichannelConfig);
    }
}

#[test]
fn truncated_payload_is_no_keyframe() {
    let whole = b"\x97\xFF\0\x01\0\0\x06\x21hvc1\x01\0\0\x01x";
    for end in 0..whole.len() {
        assert!(!is_keyframe(MediaKind::Video, &whole[..end]));
        let _ = MediaHeader::parse(MediaKind::Audio, &whole[..end]);
    }
    let parse = MediaHeader::parse;
    assert_eq!(parse(MediaKind::Video, &[]), MediaHeader::default());
    assert_eq!(parse(MediaKind::Data, b"\x17\x01"), MediaHeader::default());
}

#[test]
fn codecs_display_their_usual_names() {
    assert_eq!(Codec::H264.to_string(), "H.264");
    assert_eq!(Codec::Other(*b"ab\n1").to_string(), "ab\\n1");
}
