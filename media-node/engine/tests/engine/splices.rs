//! Two upstreams of one publication, and upstreams that change their mind: every message exactly once.

use std::time::{Duration, Instant};

use media_engine::{Appended, EngineSettings, Epoch, Format, Mark, Registry, Start};
use media_wire::Message;
use proptest::prelude::*;

use crate::relays::{Placed, frames, placed, pulled, reader};
use crate::support::*;

#[test]
fn same_epoch_from_two_upstreams_is_spliced_exactly_once() {
    let [a, b] = [(); 2].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0), inter(40, 1)]);
    let mut viewer = FlvReader::of(&b, "s", Format::Flv, Start::Newest);
    let mut upstream = reader(&a, Start::Newest);
    let mut publication = pulled(&b, 7);
    relay(&mut upstream, &mut publication);
    send(&mut origin, [inter(80, 2), inter(120, 3)]);
    let (epoch, sequence) = publication.stream().position().unwrap();
    assert_eq!((epoch, sequence), (Epoch(7), 5));
    let mut exact = reader(&a, Start::At(epoch, sequence));
    let mut next = pulled(&b, 7);
    assert!(publication.is_superseded());
    assert_eq!(
        relay(&mut upstream, &mut publication),
        [Appended::Superseded; 2]
    );
    assert_eq!(relay(&mut exact, &mut next), [Appended::New; 2]);
    let mut newest = reader(&a, Start::Newest);
    let mut third = pulled(&b, 7);
    send(&mut origin, [inter(160, 4)]);
    let mut appended = vec![Appended::Duplicate; 7];
    appended.push(Appended::New);
    assert_eq!(relay(&mut newest, &mut third), appended);
    let frames = timestamps(&viewer.taken());
    assert_eq!(frames, [0, 0, 0, 0, 40, 80, 120, 160]);
}

#[test]
fn an_upstream_that_falls_back_to_an_epoch_and_returns_repeats_nothing() {
    let [a, b] = [(); 2].map(|()| Registry::new(settings()));
    let mut viewer = FlvReader::of(&b, "s", Format::Flv, Start::Newest);
    let mut at_b = pulled(&b, 7);
    let pass = |epoch: u64, messages: &[Message]| {
        let mut origin = encoder(&a, "s", epoch);
        assert_eq!(origin.epoch(), Epoch(epoch));
        send(&mut origin, headers());
        send(&mut origin, messages.to_vec());
    };
    pass(7, &[keyframe(0, 0), inter(40, 1)]);
    let mut upstream = reader(&a, Start::At(Epoch(7), 0));
    relay(&mut upstream, &mut at_b);
    assert_eq!(viewer.taken().len(), 5);
    pass(8, &[keyframe(0, 2), inter(40, 3)]);
    relay(&mut upstream, &mut at_b);
    assert_eq!(viewer.taken().len(), 5);
    let mut again = reader(&a, Start::At(Epoch(7), 0));
    let appended = relay(&mut again, &mut at_b);
    assert_eq!(appended, [Appended::Duplicate; 10]);
    assert_eq!(at_b.stream().position(), Some((Epoch(8), 5)));
    // The former publisher returns, and then the later one.
    let mut append = |epoch, sequence, message: Message| {
        at_b.follow(Mark {
            epoch: Epoch(epoch),
            sequence,
            shift: 0,
        });
        at_b.append_relayed(message);
        at_b.pulse(Instant::now());
    };
    append(7, 5, keyframe(5_000, 4));
    append(8, 5, keyframe(80, 5));
    let [metadata, audio, video] = headers();
    let expected = [
        metadata.clone(),
        at(160, audio.clone()),
        at(160, video.clone()),
        keyframe(160, 4),
        metadata,
        at(200, audio),
        at(200, video),
        keyframe(200, 5),
    ];
    assert_eq!(viewer.taken(), expected, "with what its decoder needs");
}

/// A step of a receiver that has two upstreams.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The encoder sends some messages.
    Encode(u32),
    /// The second upstream gets what the first one has.
    Forward,
    /// The receiver takes what its upstream has.
    Receive,
    /// It changes its upstream; the other one is told where to start, or not.
    Switch { exact: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u32..30).prop_map(Step::Encode),
        3 => Just(Step::Forward),
        3 => Just(Step::Receive),
        2 => any::<bool>().prop_map(|exact| Step::Switch { exact }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_upstreams_in_any_order_give_every_message_exactly_once(
        steps in proptest::collection::vec(step(), 1..60),
        history: u32,
    ) {
        let [a, b, c] = [(); 3].map(|()| Registry::new(EngineSettings {
            window: Duration::from_secs(3_600),
            ..settings()
        }));
        // The second upstream's timeline is another one.
        send(&mut encoder(&b, "s", 1), [keyframe(history, 0)]);
        let mut origin = encoder(&a, "s", 7);
        let mut at_b = pulled(&b, 7);
        let mut a_to_b = reader(&a, Start::Newest);
        let mut at_c = pulled(&c, 7);
        let mut upstream = reader(&a, Start::Newest);
        let mut from_a = true;
        let mut sent = Vec::new();
        send(&mut origin, headers());
        sent.extend(headers());
        send(&mut origin, [keyframe(0, 0)]);
        sent.push(keyframe(0, 0));
        // The receiver begins at the first keyframe.
        relay(&mut a_to_b, &mut at_b);
        relay(&mut upstream, &mut at_c);
        for step in steps.into_iter().chain([Step::Forward, Step::Receive]) {
            match step {
                Step::Encode(count) => {
                    let first = u32::try_from(sent.len()).unwrap();
                    let messages: Vec<_> = frames(first..first + count).collect();
                    sent.extend(messages.clone());
                    send(&mut origin, messages);
                }
                Step::Forward => {
                    relay(&mut a_to_b, &mut at_b);
                }
                Step::Receive => {
                    relay(&mut upstream, &mut at_c);
                }
                Step::Switch { exact } => {
                    from_a = !from_a;
                    let (epoch, sequence) = at_c.stream().position().unwrap();
                    let start = if exact { Start::At(epoch, sequence) } else { Start::Oldest };
                    upstream = reader(if from_a { &a } else { &b }, start);
                    at_c = pulled(&c, 7);
                }
            }
        }
        let mut whole = reader(&c, Start::At(Epoch(7), 0));
        let expected: Vec<Placed> = (0..).zip(&sent).map(|(sequence, message)| {
            (Epoch(7), sequence, message.timestamp, message.payload.clone())
        }).collect();
        prop_assert_eq!(placed(&mut whole), expected);
        prop_assert_eq!(at_c.stream().stats().missing, 0);
    }
}
