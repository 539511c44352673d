//! From node to node: each message once, with its sequence, its epoch and its time at the source.

use media_engine::{Appended, Epoch, Format, Registry, Source, Start};

use crate::support::*;

#[test]
fn a_chain_of_nodes_gives_each_message_once() {
    let [a, b, c] = [(); 3].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(5000, 0), inter(5040, 1)]);
    let mut at_b = publish(&b, "s", 7, Source::Pulled);
    let mut at_c = publish(&c, "s", 7, Source::Pulled);
    let mut a_to_b = FlvReader::of(&a, "s", Format::Relay, Start::Newest);
    let mut b_to_c = FlvReader::of(&b, "s", Format::Relay, Start::Newest);
    let mut viewer = FlvReader::of(&c, "s", Format::Flv, Start::Newest);
    for n in 0..100 {
        send(
            &mut origin,
            [sound(5050 + n * 40, 2 * n), inter(5080 + n * 40, 2 * n + 1)],
        );
        relay(&mut a_to_b, &mut at_b);
        relay(&mut b_to_c, &mut at_c);
    }
    let mut reference = FlvReader::of(&a, "s", Format::Flv, Start::Newest);
    assert_eq!(viewer.taken(), reference.taken());
    assert_eq!(at_c.stream().position(), origin.stream().position());
    assert_eq!(at_c.stream().stats().gaps, 0);
}

#[test]
fn same_epoch_from_two_upstreams_is_spliced_exactly_once() {
    let [a, b] = [(); 2].map(|()| Registry::new(settings()));
    let mut origin = encoder(&a, "s", 7);
    send(&mut origin, headers());
    send(&mut origin, [keyframe(0, 0), inter(40, 1)]);
    let mut viewer = FlvReader::of(&b, "s", Format::Flv, Start::Newest);
    let mut upstream = FlvReader::of(&a, "s", Format::Relay, Start::Newest);
    let mut publication = publish(&b, "s", 7, Source::Pulled);
    relay(&mut upstream, &mut publication);
    send(&mut origin, [inter(80, 2), inter(120, 3)]);
    let (epoch, sequence) = publication.stream().position().unwrap();
    assert_eq!((epoch, sequence), (Epoch(7), 5));
    let mut exact = FlvReader::of(&a, "s", Format::Relay, Start::At(epoch, sequence));
    let mut next = publish(&b, "s", 7, Source::Pulled);
    assert!(publication.is_superseded());
    assert_eq!(
        relay(&mut upstream, &mut publication),
        [Appended::Superseded; 2]
    );
    assert_eq!(relay(&mut exact, &mut next), [Appended::New; 2]);
    let mut newest = FlvReader::of(&a, "s", Format::Relay, Start::Newest);
    let mut third = publish(&b, "s", 7, Source::Pulled);
    send(&mut origin, [inter(160, 4)]);
    let mut appended = vec![Appended::Duplicate; 7];
    appended.push(Appended::New);
    assert_eq!(relay(&mut newest, &mut third), appended);
    let frames = timestamps(&viewer.taken());
    assert_eq!(frames, [0, 0, 0, 0, 40, 80, 120, 160]);
}
