//! The tracks of a viewer only go forward, and by one frame interval where the encoder's timestamps jump.

use media_engine::{Registry, Start};
use media_wire::{MediaKind, Message};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Copy, Debug)]
enum EncoderStep {
    Audio(u32),
    Video(u32),
    Jump(u32),
    NewEncoder(u32),
}

fn encoder_step() -> impl Strategy<Value = EncoderStep> {
    prop_oneof![
        10 => (1_u32..100).prop_map(EncoderStep::Audio),
        10 => (1_u32..100).prop_map(EncoderStep::Video),
        1 => any::<u32>().prop_map(EncoderStep::Jump),
        1 => any::<u32>().prop_map(EncoderStep::NewEncoder),
    ]
}

/// The longest step of a track: the longest pause of an encoder, and the steps of this test.
const LONGEST: u32 = 10_000 + 4_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tracks_go_forward_whatever_encoders_do(steps in proptest::collection::vec(encoder_step(), 1..120)) {
        let registry = Registry::new(settings());
        let mut viewer = FlvReader::of(&registry, "a", Start::Newest);
        let mut rtmp = RtmpReader::of(&registry, "a");
        let mut publication = encoder(&registry, "a", 1);
        let (mut audio, mut video) = (0_u32, 0_u32);
        let mut messages: Vec<Message> = Vec::new();
        let mut over_rtmp: Vec<Message> = Vec::new();
        let mut sent = 0;
        for (n, step) in (0..).zip([EncoderStep::NewEncoder(0)].into_iter().chain(steps)) {
            match step {
                EncoderStep::Audio(ms) => {
                    audio = audio.wrapping_add(ms);
                    send(&mut publication, [audio_frame(audio, n)]);
                    sent += 1;
                }
                EncoderStep::Video(ms) => {
                    video = video.wrapping_add(ms);
                    send(&mut publication, [interframe(video, n)]);
                    sent += 1;
                }
                EncoderStep::Jump(to) => {
                    audio = to.wrapping_add(20);
                    video = to;
                }
                EncoderStep::NewEncoder(start) => {
                    drop(publication);
                    publication = encoder(&registry, "a", 1);
                    (audio, video) = (start, start);
                    send(&mut publication, headers());
                    send(&mut publication, [keyframe(video, n)]);
                    // The headers are the same as the first ones.
                    sent += if n == 0 { 4 } else { 1 };
                }
            }
            messages.extend(viewer.taken());
            over_rtmp.extend(rtmp.taken());
        }
        prop_assert_eq!(messages.len(), sent);
        prop_assert!(messages == over_rtmp);
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let track = messages.iter().filter(|message| message.kind == kind);
            let frames: Vec<_> = track.filter(|message| !message.is_sequence_header()).collect();
            for pair in frames.windows(2) {
                let way = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                prop_assert!(way <= LONGEST, "{kind:?} goes {}", way.cast_signed());
            }
        }
    }
}
