//! Two upstreams of one publication, and upstreams that return to a former epoch: every message exactly once.

use std::time::{Duration, Instant};

use media_engine::{Appended, EngineSettings, Epoch, PublicationSource, Registry, Start};
use media_wire::Message;
use proptest::prelude::*;

use crate::relays::{frames, pull, upstream};
use crate::support::*;

#[test]
fn same_epoch_from_two_upstreams_is_spliced_exactly_once() {
    let [a, b] = [(); 2].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0), interframe(40, 1)]);
    let mut viewer = FlvReader::of(&b, "s", Start::Newest);
    let mut former = upstream(&a, Start::Newest);
    let mut first = pull(&b);
    first.take(&mut former);
    send(&mut origin, [interframe(80, 2), interframe(120, 3)]);
    let (epoch, sequence) = first.stream().position().unwrap();
    assert_eq!((epoch, sequence), (Epoch(7), 5));
    let mut exact = upstream(&a, Start::At(epoch, sequence));
    let mut second = pull(&b);
    assert_eq!(second.take(&mut exact), [Appended::New; 2]);
    assert!(is_superseded(first.publication.as_ref().unwrap()));
    assert_eq!(first.take(&mut former), [Appended::Superseded; 2]);
    let mut newest = upstream(&a, Start::Newest);
    let mut third = pull(&b);
    send(&mut origin, [interframe(160, 4)]);
    let mut appended = vec![Appended::Duplicate; 7];
    appended.push(Appended::New);
    assert_eq!(third.take(&mut newest), appended);
    let frames = timestamps(&viewer.taken());
    assert_eq!(frames, [0, 0, 0, 0, 40, 80, 120, 160]);
}

#[test]
fn upstream_that_returns_to_former_epoch_repeats_nothing() {
    let [a, b] = [(); 2].map(|()| Registry::new(settings()));
    let mut viewer = FlvReader::of(&b, "s", Start::Newest);
    let pass = |epoch: u64, messages: &[Message]| {
        let mut origin = encoder(&a, "s", epoch);
        assert_eq!(origin.epoch(), Epoch(epoch));
        send(&mut origin, headers());
        send(&mut origin, messages.to_vec());
    };
    pass(7, &[keyframe(0, 0), interframe(40, 1)]);
    let mut first = upstream(&a, Start::At(Epoch(7), 0));
    let mut at_b = pull(&b);
    at_b.take(&mut first);
    assert_eq!(viewer.taken().len(), 5);
    pass(8, &[keyframe(0, 2), interframe(40, 3)]);
    at_b.take(&mut first);
    assert_eq!(viewer.taken().len(), 2, "unchanged headers are left out");
    drop(at_b);
    let mut again = upstream(&a, Start::At(Epoch(7), 0));
    let mut at_b = pull(&b);
    assert_eq!(at_b.take(&mut again), [Appended::Duplicate; 10]);
    assert_eq!(at_b.stream().position(), Some((Epoch(8), 5)));
    drop(at_b);
    // The former publisher returns, and then the later one.
    let append = |epoch, sequence, message: Message| {
        let mut publication = publish(&b, "s", epoch, PublicationSource::Pulled);
        publication.append_at(sequence, message.timestamp, message.kind, message.payload);
        publication.pulse(Instant::now());
    };
    append(7, 5, keyframe(5_000, 4));
    append(8, 5, keyframe(80, 5));
    let expected = [keyframe(160, 4), keyframe(200, 5)];
    assert_eq!(viewer.taken(), expected, "its decoder has what it needs");
}

/// A step in the life of a receiver with two upstreams.
#[derive(Clone, Copy, Debug)]
enum SpliceStep {
    /// The encoder sends messages.
    Encode(u32),
    /// The second upstream gets the messages of the first one.
    Forward,
    /// The receiver gets the messages of its upstream.
    Receive,
    /// The receiver changes to the other upstream, and starts at its exact position or at the oldest keyframe.
    Switch { exact: bool },
}

fn splice_step() -> impl Strategy<Value = SpliceStep> {
    prop_oneof![
        4 => (1_u32..30).prop_map(SpliceStep::Encode),
        3 => Just(SpliceStep::Forward),
        3 => Just(SpliceStep::Receive),
        2 => any::<bool>().prop_map(|exact| SpliceStep::Switch { exact }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_upstreams_in_any_order_relay_every_message_exactly_once(
        steps in proptest::collection::vec(splice_step(), 1..60),
        history: u32,
    ) {
        let [a, b, c] = [(); 3].map(|()| Registry::new(EngineSettings {
            window: Duration::from_secs(3_600),
            ..settings()
        }));
        // The second upstream has another timeline.
        send(&mut encoder(&b, "s", 1), [keyframe(history, 0)]);
        let mut origin = encoder(&a, "s", 7);
        let mut at_b = pull(&b);
        let mut a_to_b = upstream(&a, Start::Newest);
        let mut at_c = pull(&c);
        let mut current = upstream(&a, Start::Newest);
        let mut from_a = true;
        let mut sent = Vec::new();
        send(&mut origin, headers());
        sent.extend(headers());
        send(&mut origin, [keyframe(0, 0)]);
        sent.push(keyframe(0, 0));
        // The receiver starts at the first keyframe.
        at_b.take(&mut a_to_b);
        at_c.take(&mut current);
        for step in steps.into_iter().chain([SpliceStep::Forward, SpliceStep::Receive]) {
            match step {
                SpliceStep::Encode(count) => {
                    let first = u32::try_from(sent.len()).unwrap();
                    let messages: Vec<_> = frames(first..first + count).collect();
                    sent.extend(messages.clone());
                    send(&mut origin, messages);
                }
                SpliceStep::Forward => {
                    at_b.take(&mut a_to_b);
                }
                SpliceStep::Receive => {
                    at_c.take(&mut current);
                }
                SpliceStep::Switch { exact } => {
                    from_a = !from_a;
                    let (epoch, sequence) = at_c.stream().position().unwrap();
                    let start = if exact { Start::At(epoch, sequence) } else { Start::Oldest };
                    current = upstream(if from_a { &a } else { &b }, start);
                    at_c = pull(&c);
                }
            }
        }
        let mut whole = upstream(&c, Start::At(Epoch(7), 0));
        let expected: Vec<Placed> = (0..).zip(&sent).map(|(sequence, message)| {
            (Epoch(7), sequence, message.timestamp, message.payload.clone())
        }).collect();
        prop_assert_eq!(whole.placed(), expected);
        prop_assert_eq!(at_c.stream().stats().missing, 0);
    }
}
