//! Encoders that stand by: what they keep, and where they may start.

use std::time::{Duration, Instant};

use media_engine::{
    DuplicatePolicy, EngineSettings, Epoch, PublicationSource, Registry, StandbyError,
    StandbyMessage,
};
use media_wire::Message;

use crate::support::*;

fn registry() -> Registry {
    Registry::new(settings())
}

fn payloads(messages: impl IntoIterator<Item = Message>) -> Vec<bytes::Bytes> {
    let payloads = messages.into_iter().map(|message| message.payload);
    payloads.collect()
}

#[test]
fn standby_keeps_the_latest_init_data_and_no_media() {
    let registry = registry();
    let mut standby = registry.stand_by(&key("a")).unwrap();
    let messages =
        headers()
            .into_iter()
            .chain([interframe(40, 1), audio_frame(50, 2), video_header(2)]);
    for message in messages {
        assert!(matches!(standby.receive(message), StandbyMessage::Taken));
    }
    let start = standby.receive(keyframe(80, 3));
    assert!(matches!(start, StandbyMessage::Start(message) if message == keyframe(80, 3)));
    let [metadata, audio, _] = headers();
    let kept = standby.init_data(80);
    let times: Vec<_> = kept.iter().map(|message| message.timestamp).collect();
    assert_eq!(times, [0, 80, 80]);
    assert_eq!(payloads(kept), payloads([metadata, audio, video_header(2)]));
    assert_eq!(standby.stream().stats().window_bytes, 0);
}

#[test]
fn standby_without_video_starts_at_any_audio_frame() {
    let registry = registry();
    let mut standby = registry.stand_by(&key("a")).unwrap();
    standby.receive(audio_header(1));
    let start = standby.receive(audio_frame(0, 1));
    assert!(matches!(start, StandbyMessage::Start(_)));
}

#[test]
fn superseded_publication_hands_its_init_data_to_its_standby() {
    let registry = registry();
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0)]);
    let mut second = encoder(&registry, "a", 2);
    send(&mut second, [video_header(9), keyframe(0, 1)]);
    let mut standby = registry.stand_by(&key("a")).unwrap();
    standby.keep_init_data(&first);
    assert_eq!(payloads(standby.init_data(0)), payloads(headers()));
}

#[test]
fn init_data_above_the_limit_is_refused_to_a_standby() {
    let registry = registry();
    let mut standby = registry.stand_by(&key("a")).unwrap();
    let long = long_frame(video_header(1), (64 << 10) + 1);
    assert!(matches!(
        standby.receive(long),
        StandbyMessage::InitDataTooLong { limit: 65_536, .. }
    ));
}

#[test]
fn ninth_standby_is_refused_until_one_leaves() {
    let registry = registry();
    let stand_by = || registry.stand_by(&key("a"));
    let mut standbys: Vec<_> = (0..8).map(|_| stand_by().unwrap()).collect();
    assert!(matches!(stand_by(), Err(StandbyError::TooManyStandbys(_))));
    standbys.pop();
    let again = stand_by().unwrap();
    assert_eq!(again.stream().standbys(), 8);
}

#[test]
fn silence_and_priority_are_those_of_the_publication_on_air() {
    let registry = registry();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Priority(7));
    let published = registry.publish(&key("a"), Epoch(1), source, policy, start);
    let mut publication = published.unwrap();
    let stream = registry.find(&key("a")).unwrap();
    assert_eq!(stream.state().publication.unwrap().priority, 7);
    assert_eq!(stream.silence(at(3)), Some(Duration::from_secs(3)));
    publication.append(keyframe(0, 0));
    publication.pulse(at(4));
    publication.pulse(at(5));
    assert_eq!(stream.silence(at(6)), Some(Duration::from_secs(2)));
    drop(publication);
    assert_eq!(stream.silence(at(6)), None);
}

#[test]
fn init_data_of_a_standby_is_limited_while_memory_is_full() {
    let registry = Registry::new(EngineSettings {
        media_memory_bytes: 4 << 20,
        ..settings()
    });
    let _on_air = encoder(&registry, "a", 1);
    let mut standby = registry.stand_by(&key("a")).unwrap();
    let mut others = registry.incomplete_messages();
    others.count(5 << 20);
    let mut taken = |track| standby.receive(track_header(track, 64 << 10));
    for track in 1..=16 {
        assert!(matches!(taken(track), StandbyMessage::Taken), "{track}");
    }
    assert!(matches!(taken(17), StandbyMessage::OutOfMemory(_)));
}
