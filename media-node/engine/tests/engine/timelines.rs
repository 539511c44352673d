//! Whatever encoders do to time, a viewer's tracks only go forward, and by little where the encoder jumps.

use media_engine::{Registry, Start};
use media_wire::{MediaKind, Message};
use proptest::prelude::*;

use crate::support::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Audio(u32),
    Video(u32),
    Jump(u32),
    NewEncoder(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1_u32..100).prop_map(Step::Audio),
        10 => (1_u32..100).prop_map(Step::Video),
        1 => any::<u32>().prop_map(Step::Jump),
        1 => any::<u32>().prop_map(Step::NewEncoder),
    ]
}

/// The longest way that one step of a track can make here: a pause that an encoder is believed.
const LONGEST: u32 = 10_000 + 4_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tracks_go_forward_whatever_encoders_do(steps in proptest::collection::vec(step(), 1..120)) {
        let registry = Registry::new(settings());
        let mut viewer = FlvReader::of(&registry, "a", Start::Newest);
        let mut rtmp = RtmpReader::of(&registry, "a");
        let mut publication = encoder(&registry, "a", 1);
        let (mut audio, mut video) = (0_u32, 0_u32);
        let mut messages: Vec<Message> = Vec::new();
        let mut over_rtmp: Vec<Message> = Vec::new();
        let mut sent = 0;
        for (n, step) in (0..).zip([Step::NewEncoder(0)].into_iter().chain(steps)) {
            match step {
                Step::Audio(ms) => {
                    audio = audio.wrapping_add(ms);
                    send(&mut publication, [sound(audio, n)]);
                    sent += 1;
                }
                Step::Video(ms) => {
                    video = video.wrapping_add(ms);
                    send(&mut publication, [inter(video, n)]);
                    sent += 1;
                }
                Step::Jump(to) => {
                    audio = to.wrapping_add(20);
                    video = to;
                }
                Step::NewEncoder(start) => {
                    drop(publication);
                    publication = encoder(&registry, "a", 1);
                    (audio, video) = (start, start);
                    send(&mut publication, headers());
                    send(&mut publication, [keyframe(video, n)]);
                    sent += 4;
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
