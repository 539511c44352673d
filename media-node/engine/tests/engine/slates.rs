//! Slates: when one may begin, what takes its place, and when it ends.

use std::time::{Duration, Instant};

use media_engine::{
    Appended, DuplicatePolicy, EngineSettings, Epoch, Publication, PublicationSource, PublishError,
    Registry, Stream,
};

use crate::support::*;

const CONTINUITY: Duration = Duration::from_secs(30);

fn registry() -> Registry {
    Registry::new(EngineSettings {
        continuity: CONTINUITY,
        ..settings()
    })
}

fn slate(registry: &Registry, epoch: u64) -> Result<Publication, PublishError> {
    let (source, policy) = (PublicationSource::Slate, DuplicatePolicy::Reject);
    registry.publish(&key("a"), Epoch(epoch), source, policy, Instant::now())
}

/// Returns a registry whose stream waits for an encoder since `now`. The former one had the epoch 10.
fn waiting(now: Instant) -> Registry {
    let registry = registry();
    let mut encoder = encoder(&registry, "a", 10);
    send(&mut encoder, headers());
    send(&mut encoder, [keyframe(0, 0)]);
    drop(encoder);
    assert!(registry.waiting().is_empty(), "no sweep has seen it yet");
    registry.sweep(now);
    registry
}

fn source(stream: &Stream) -> Option<PublicationSource> {
    let publication = stream.state().publication;
    publication.map(|publication| publication.source)
}

#[test]
fn slate_begins_only_in_a_stream_that_waits_for_an_encoder() {
    let registry = registry();
    assert!(slate(&registry, 20).is_err(), "no stream");
    let mut published = encoder(&registry, "a", 10);
    send(&mut published, [keyframe(0, 0)]);
    assert!(slate(&registry, 20).is_err(), "an encoder");
    drop(published);
    assert!(slate(&registry, 20).is_err(), "no sweep");
    registry.sweep(Instant::now());
    assert!(slate(&registry, 20).is_ok());
}

#[test]
fn copy_of_another_media_node_gets_no_slate() {
    let registry = registry();
    drop(publish(&registry, "a", 10, PublicationSource::Pulled));
    registry.sweep(Instant::now());
    assert!(registry.waiting().is_empty());
    assert!(slate(&registry, 20).is_err());
}

#[test]
fn slate_does_not_prolong_the_time_to_wait() {
    let now = Instant::now();
    let registry = waiting(now);
    let [stream] = registry.waiting().try_into().unwrap();
    let mut slate = slate(&registry, 20).unwrap();
    assert!(registry.waiting().is_empty(), "it has a slate");
    registry.sweep(now + CONTINUITY - Duration::from_millis(1));
    assert!(!stream.state().ended);
    assert!(!stream.state().has_encoder());
    assert_eq!(slate.append(video_header(2)), Appended::New);
    registry.sweep(now + CONTINUITY);
    assert!(stream.state().ended);
    assert!(registry.find(&key("a")).is_none());
}

#[test]
fn every_other_publication_takes_over_from_a_slate() {
    use PublicationSource::{Encoder, Forwarded, Pulled};
    for (source_of_next, epoch) in [
        (Encoder, 30),
        (Forwarded, 10),
        (Forwarded, 30),
        (Pulled, 10),
    ] {
        let now = Instant::now();
        let registry = waiting(now);
        let [stream] = registry.waiting().try_into().unwrap();
        let slate = slate(&registry, 20).unwrap();
        let policy = DuplicatePolicy::Reject;
        let next = registry.publish(&key("a"), Epoch(epoch), source_of_next, policy, now);
        let next = next.unwrap();
        assert!(is_superseded(&slate));
        drop(slate);
        assert_eq!(source(&stream), Some(source_of_next));
        registry.sweep(now + CONTINUITY);
        assert!(!stream.state().ended, "the stream has a publisher");
        drop(next);
    }
}

#[test]
fn older_publication_that_returns_after_a_slate_goes_on_where_it_was() {
    let registry = waiting(Instant::now());
    let mut slate = slate(&registry, 20).unwrap();
    send(&mut slate, [keyframe(0, 100)]);
    let mut first = publish(&registry, "a", 10, PublicationSource::Forwarded);
    let frame = keyframe(40, 1);
    let again = first.append_at(3, 0, frame.kind, frame.payload.clone());
    assert_eq!(again, Appended::Duplicate);
    let next = first.append_at(4, 40, frame.kind, frame.payload);
    assert_eq!(next, Appended::New);
    first.pulse(Instant::now());
    let stream = registry.find(&key("a")).unwrap();
    assert!(stream.state().playable);
}

#[test]
fn newest_keyframe_comes_with_recent_audio_of_its_publication() {
    let registry = registry();
    let mut first = encoder(&registry, "a", 10);
    send(&mut first, [keyframe(0, 0), audio_frame(0, 1)]);
    let stream = registry.find(&key("a")).unwrap();
    let newest = stream.newest_keyframe().unwrap();
    assert_eq!(newest.audio.unwrap().payload, audio_frame(0, 1).payload);
    let mut second = encoder(&registry, "a", 20);
    send(&mut second, [keyframe(0, 2)]);
    let newest = stream.newest_keyframe().unwrap();
    assert_eq!(newest.keyframe.payload, keyframe(0, 2).payload);
    assert_eq!(newest.audio, None, "that of the former publication");
    send(&mut second, [audio_frame(10, 3), keyframe(40, 4)]);
    let newest = stream.newest_keyframe().unwrap();
    assert_eq!(newest.audio.unwrap().payload, audio_frame(10, 3).payload);
}

#[test]
fn publication_elsewhere_ends_a_slate_whatever_its_epoch() {
    let registry = waiting(Instant::now());
    let slate = slate(&registry, 20).unwrap();
    assert!(registry.supersede(&key("a"), Epoch(10)));
    assert!(is_superseded(&slate));
}

#[test]
fn copy_of_a_slate_ends_no_publication_of_an_encoder() {
    for source in [PublicationSource::Encoder, PublicationSource::Forwarded] {
        let registry = registry();
        let policy = DuplicatePolicy::Takeover;
        let begin = |epoch, source| {
            registry.publish(&key("a"), Epoch(epoch), source, policy, Instant::now())
        };
        let publication = begin(10, source).unwrap();
        let copy = begin(20, PublicationSource::PulledSlate);
        assert_eq!(copy.err(), Some(PublishError::AlreadyPublished));
        assert!(!is_superseded(&publication));
    }
}
