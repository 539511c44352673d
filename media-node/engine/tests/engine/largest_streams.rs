//! Streams that end because the groups of pictures of all do not fit.

use std::time::Instant;

use media_engine::{
    Appended, DuplicatePolicy, EndedStream, EngineSettings, Epoch, OutOfMemory, Publication,
    PublicationSource, PublishError, Registry, Start,
};

use crate::support::*;

const MIB: usize = 1 << 20;

/// Returns publications whose groups of pictures have these sizes, and the registry, which has memory for all of them.
fn streams<const N: usize>(named: [(&str, usize); N]) -> (Registry, [Publication; N]) {
    let registry = Registry::new(EngineSettings {
        media_memory_bytes: 64 * MIB,
        ..settings()
    });
    let publications = named.map(|(name, mebibytes)| {
        let mut publication = encoder(&registry, name, 1);
        let video_only = metadata(&[("videocodecid", 7.0)]);
        send(
            &mut publication,
            [video_only, long_frame(keyframe(0, 0), MIB)],
        );
        let number = 1..u32::try_from(mebibytes).unwrap();
        let frames = number.map(|number| long_frame(interframe(number * 40, number), MIB));
        send(&mut publication, frames);
        publication
    });
    (registry, publications)
}

fn names(ended: &[EndedStream]) -> Vec<&str> {
    ended.iter().map(|ended| ended.key.name()).collect()
}

#[test]
fn largest_stream_ends_when_the_groups_of_all_do_not_fit() {
    let (registry, [mut a, mut b, mut c]) = streams([("a", 2), ("b", 6), ("c", 5)]);
    let mut viewers = ["a", "b", "c"].map(|name| FlvReader::of(&registry, name, Start::Newest));
    assert!(registry.end_largest(14 * MIB).is_empty(), "they fit");
    for viewer in &mut viewers {
        viewer.read();
    }
    registry.limit_memory(8 * MIB);
    let ended = registry.end_largest(8 * MIB);
    assert_eq!(names(&ended), ["b"]);
    assert!(
        ended
            .iter()
            .all(|ended| (6 * MIB..7 * MIB).contains(&ended.bytes))
    );
    assert_eq!(registry.memory().ended, 1);

    let refused = OutOfMemory { limit: 8 * MIB };
    assert!(is_superseded(&b));
    assert_eq!(b.refused(), Some(refused));
    assert_eq!(b.append(interframe(400, 10)), Appended::Superseded);
    assert!(registry.find(&key("b")).is_none());
    for publication in [&mut a, &mut c] {
        assert_eq!(publication.refused(), None);
        send(publication, [interframe(400, 10)]);
    }
    let seen = viewers.each_mut().map(|viewer| {
        viewer.read();
        (viewer.messages.len(), viewer.lags, viewer.ended)
    });
    assert_eq!(seen, [(4, 0, false), (7, 0, true), (7, 0, false)]);

    // The encoder connects again.
    drop((b, viewers));
    let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
    let again = registry.publish(&key("b"), Epoch(2), source, policy, Instant::now());
    assert_eq!(again.err(), Some(PublishError::OutOfMemory(refused)));
}

#[test]
fn streams_without_readers_end_before_larger_ones() {
    let (registry, _publications) = streams([("a", 1), ("b", 6), ("c", 4), ("d", 5), ("e", 1)]);
    let _viewer = FlvReader::of(&registry, "b", Start::Newest);
    assert_eq!(names(&registry.end_largest(15 * MIB)), ["d"]);
    assert_eq!(names(&registry.end_largest(8 * MIB)), ["c", "b"]);
}

#[test]
fn stream_without_a_publisher_and_readers_is_given_up_first() {
    let (registry, [a, _b, _c]) = streams([("a", 3), ("b", 4), ("c", 5)]);
    drop(a);
    assert!(registry.end_largest(10 * MIB).is_empty());
    assert!(registry.find(&key("a")).is_none());
}
