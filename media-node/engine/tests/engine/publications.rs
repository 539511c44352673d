//! Who may publish a stream when another one does, and who takes over from whom.

use std::time::{Duration, Instant};

use media_engine::{
    Appended, DuplicatePolicy, EngineSettings, Epoch, PublicationSource, PublishError, Registry,
    Start,
};

use crate::support::*;

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
}

#[test]
fn superseded_publication_writes_nothing() {
    let registry = Registry::new(settings());
    let mut first = publish(&registry, "a", 5, PublicationSource::Forwarded);
    let mut second = encoder(&registry, "a", 1);
    assert!(is_superseded(&first));
    assert!(second.epoch() > first.epoch());
    assert_eq!(first.append(keyframe(0, 0)), Appended::Superseded);
    assert_eq!(first.pulse(Instant::now()), None);
    drop(first);
    assert!(!is_superseded(&second));
    assert_eq!(second.append(keyframe(0, 0)), Appended::New);
}

/// The clocks of both are behind that of a third one, whose publication has just come to them.
#[test]
fn encoders_of_two_media_nodes_get_different_epochs_after_the_same_one() {
    let epochs = [17, 18].map(|epoch| {
        let registry = Registry::new(settings());
        let _first = publish(&registry, "a", 1 << 40, PublicationSource::Forwarded);
        encoder(&registry, "a", epoch).epoch()
    });
    assert!(epochs.iter().all(|epoch| *epoch > Epoch(1 << 40)));
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn appended_messages_are_sent_before_another_publisher_takes_over() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    first.append(keyframe(0, 0));
    let _second = encoder(&registry, "a", 2);
    assert_eq!(viewer.taken().len(), 4);
}

#[tokio::test]
async fn publication_is_notified_that_it_is_superseded() {
    let registry = Registry::new(settings());
    let first = encoder(&registry, "a", 1);
    let superseded = tokio::spawn(first.superseded());
    tokio::task::yield_now().await;
    assert!(!superseded.is_finished());
    let second = encoder(&registry, "a", 2);
    superseded.await.unwrap();
    first.superseded().await;
    assert!(registry.supersede(&key("a"), Epoch(u64::MAX)));
    second.superseded().await;
    assert!(!registry.supersede(&key("a"), Epoch(u64::MAX)));
}

#[test]
fn duplicates_are_decided_by_epoch_source_and_policy() {
    use PublicationSource::{Encoder, Forwarded, Pulled};
    const TAKEN: Result<(), PublishError> = Ok(());
    const PUBLISHED: Result<(), PublishError> = Err(PublishError::AlreadyPublished);
    const LATER: Result<(), PublishError> = Err(PublishError::Superseded { by: Epoch(5) });
    let cases = [
        // A later epoch.
        (Encoder, 6, Encoder, TAKEN, PUBLISHED),
        (Forwarded, 6, Forwarded, TAKEN, PUBLISHED),
        (Forwarded, 6, Encoder, TAKEN, PUBLISHED),
        (Forwarded, 6, Pulled, TAKEN, PUBLISHED),
        (Pulled, 6, Forwarded, TAKEN, TAKEN),
        (Pulled, 6, Pulled, TAKEN, TAKEN),
        // The same epoch over another route.
        (Forwarded, 5, Forwarded, TAKEN, TAKEN),
        (Forwarded, 5, Pulled, TAKEN, TAKEN),
        (Pulled, 5, Pulled, TAKEN, TAKEN),
        (Pulled, 5, Forwarded, PUBLISHED, PUBLISHED),
        (Forwarded, 5, Encoder, PUBLISHED, PUBLISHED),
        (Pulled, 5, Encoder, PUBLISHED, PUBLISHED),
        // An earlier epoch; an encoder's is never earlier.
        (Encoder, 4, Forwarded, TAKEN, PUBLISHED),
        (Forwarded, 4, Forwarded, LATER, LATER),
        (Pulled, 4, Pulled, LATER, LATER),
    ];
    for (source, epoch, holder, takeover, reject) in cases {
        for (policy, expected) in [
            (DuplicatePolicy::Takeover, takeover),
            (DuplicatePolicy::Reject, reject),
        ] {
            let registry = Registry::new(settings());
            let first = publish(&registry, "a", 5, holder);
            let now = Instant::now();
            let second = registry.publish(&key("a"), Epoch(epoch), source, policy, now);
            let case = format!("{source:?} {epoch} against {holder:?} 5, {policy:?}");
            assert_eq!(
                second.as_ref().map(|_| ()).map_err(|error| *error),
                expected,
                "{case}"
            );
            assert_eq!(is_superseded(&first), second.is_ok(), "{case}");
        }
    }
}

#[test]
fn streams_with_readers_only_do_not_keep_publishers_out() {
    let registry = Registry::new(EngineSettings {
        max_streams: 2,
        ..settings()
    });
    let wanted = ["a", "b"].map(|name| registry.open(&key(name)).unwrap());
    assert_eq!(registry.open(&key("c")).unwrap_err().limit, 2);
    let first = encoder(&registry, "c", 1);
    let _second = encoder(&registry, "a", 1);
    let now = Instant::now();
    let publish = |name| {
        let policy = DuplicatePolicy::Takeover;
        registry.publish(
            &key(name),
            Epoch(1),
            PublicationSource::Encoder,
            policy,
            now,
        )
    };
    assert!(matches!(publish("b"), Err(PublishError::TooManyStreams(_))));
    assert!(matches!(publish("d"), Err(PublishError::TooManyStreams(_))));
    drop(first);
    registry.sweep(now);
    registry.sweep(now + Duration::from_secs(60));
    assert!(publish("b").is_ok());
    drop(wanted);
}
