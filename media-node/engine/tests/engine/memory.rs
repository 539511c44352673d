//! The memory of all streams together: what they give up when it is short, and who is refused.

use std::time::{Duration, Instant};

use media_engine::{
    Appended, CursorEvent, DuplicatePolicy, EngineSettings, Epoch, Format, OutOfMemory,
    Publication, PublicationSource, PublishError, Registry, Start,
};

use media_wire::Message;

use crate::support::*;

const MIB: usize = 1 << 20;

fn registry(media_memory_bytes: usize) -> Registry {
    Registry::new(EngineSettings {
        media_memory_bytes,
        ..settings()
    })
}

fn try_encoder(registry: &Registry, name: &str) -> Result<Publication, PublishError> {
    try_encoder_at(registry, name, Instant::now())
}

fn try_encoder_at(
    registry: &Registry,
    name: &str,
    now: Instant,
) -> Result<Publication, PublishError> {
    let (source, policy) = (PublicationSource::Encoder, DuplicatePolicy::Takeover);
    registry.publish(&key(name), Epoch(1), source, policy, now)
}

/// Metadata of a stream without audio, which viewers need not wait for.
fn video_only() -> Message {
    metadata(&[("videocodecid", 7.0)])
}

/// Sends a group of pictures: a keyframe with this timestamp, and interframes 40 ms apart. `bytes` is the size of each.
fn send_group(publication: &mut Publication, timestamp: u32, frames: u32, bytes: usize) {
    let frame = |number| match number {
        0 => keyframe(timestamp, timestamp),
        number => interframe(timestamp + number * 40, timestamp + number),
    };
    send(
        publication,
        (0..frames).map(|number| long_frame(frame(number), bytes)),
    );
}

/// Returns the timestamp of the first frame that a viewer gets who joins now, if there is one.
fn first_frame(registry: &Registry, name: &str) -> Option<u32> {
    let mut late = FlvReader::of(registry, name, Start::Newest);
    let is_keyframe = |message: &Message| message.payload.starts_with(&[0x17, 1]);
    let first = late.taken().into_iter().find(is_keyframe);
    first.map(|message| message.timestamp)
}

#[test]
fn logs_shrink_to_keep_within_the_memory_and_every_viewer_can_join() {
    let registry = registry(8 * MIB);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut streams = names.map(|name| {
        let viewer = FlvReader::of(&registry, name, Start::Newest);
        (encoder(&registry, name, 1), viewer)
    });
    for group in 0..12 {
        for (publication, viewer) in &mut streams {
            send_group(publication, group * 320, 8, 32 << 10);
            viewer.read();
        }
        assert!(registry.memory().used <= 8 * MIB);
    }
    let memory = registry.memory();
    assert!(memory.evicted_early > 0 && memory.refused == 0);
    let target = 8 * MIB / 8 * 5;
    assert!(
        memory.used > target - MIB / 2 && memory.used < target + MIB / 2,
        "they shrink no more than needed: {}",
        memory.used
    );
    for (name, (publication, viewer)) in names.iter().zip(&streams) {
        assert_eq!(first_frame(&registry, name), Some(11 * 320));
        assert!(publication.stream().stats().window_bytes >= 8 * (32 << 10));
        assert_eq!((viewer.messages.len(), viewer.lags), (12 * 8, 0));
    }
}

#[test]
fn large_stream_does_not_shorten_small_ones() {
    let registry = registry(16 * MIB);
    let mut large = encoder(&registry, "large", 1);
    let mut small = ["a", "b", "c", "d"].map(|name| encoder(&registry, name, 1));
    for group in 0..20 {
        for publication in &mut small {
            send_group(publication, group * 320, 8, 1 << 10);
        }
        send_group(&mut large, group * 320, 8, 200 << 10);
        assert!(registry.memory().used <= 16 * MIB);
    }
    assert!(registry.memory().evicted_early > 0);
    for publication in &small {
        assert_eq!(publication.stream().stats().window_segments, 20 * 8);
    }
}

#[test]
fn publication_that_does_not_fit_beside_the_others_is_refused() {
    let registry = registry(4 * MIB);
    let mut streams = ["a", "b", "c"].map(|name| encoder(&registry, name, 1));
    let refused = Err(OutOfMemory { limit: 4 * MIB });
    let error = try_encoder(&registry, "d").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the memory for media, 4 MiB, is in use by other streams"
    );
    let now = Instant::now();
    assert_eq!(registry.check_memory_for(&key("d"), now), refused);
    assert_eq!(registry.check_memory_for(&key("a"), now), Ok(()));
    assert!(registry.find(&key("d")).is_none(), "it takes no place");
    assert_eq!(registry.memory().refused, 2);

    // Small groups of pictures make room.
    for publication in &mut streams {
        send_group(publication, 0, 4, 1 << 10);
        send_group(publication, 160, 4, 1 << 10);
    }
    drop([
        try_encoder(&registry, "d").unwrap(),
        try_encoder(&registry, "e").unwrap(),
    ]);
    // Large ones fill it, also while they grow.
    send_group(&mut streams[0], 320, 30, 100 << 10);
    assert!(try_encoder(&registry, "f").is_err());
    let [_, second, _] = streams;
    drop(second);
    assert!(try_encoder(&registry, "b").is_ok(), "its place is kept");
}

#[test]
fn stream_without_readers_gives_up_its_newest_group_first() {
    let registry = registry(4 * MIB);
    let mut publications = ["watched", "unwatched"].map(|name| encoder(&registry, name, 1));
    let _viewer = FlvReader::of(&registry, "watched", Start::Newest);
    let [watched, unwatched] = &mut publications;
    let chunk = |number| long_frame(interframe(number, number), 100 << 10);
    send(watched, [video_only(), keyframe(0, 0)]);
    send(unwatched, [video_only(), keyframe(0, 0)]);
    send(watched, (1..20).map(chunk));
    send(unwatched, (1..26).map(chunk));
    let is_playable = |publication: &Publication| publication.stream().state().playable;
    assert!(is_playable(watched) && !is_playable(unwatched));
    send(unwatched, [keyframe(2_000, 9)]);
    assert!(is_playable(unwatched));
}

#[test]
fn group_above_an_equal_share_is_given_up_at_the_limit() {
    let registry = registry(4 * MIB);
    let mut publications = ["endless", "honest"].map(|name| encoder(&registry, name, 1));
    let mut viewers =
        ["endless", "honest"].map(|name| FlvReader::of(&registry, name, Start::Newest));
    let [endless, honest] = &mut publications;
    send(endless, [video_only(), keyframe(0, 0)]);
    send(honest, [video_only()]);
    send_group(honest, 0, 12, 100 << 10);
    for number in 1..100 {
        send(endless, [long_frame(interframe(number, number), 100 << 10)]);
        viewers[0].read();
        assert!(registry.memory().used <= 4 * MIB);
    }
    assert!(!endless.stream().state().playable);
    assert_eq!((viewers[0].messages.len(), viewers[0].lags), (101, 0));
    assert_eq!(first_frame(&registry, "honest"), Some(0));
}

#[test]
fn publisher_that_takes_more_than_its_share_is_refused_while_memory_is_full() {
    let registry = registry(4 * MIB);
    let [_a, mut b] = ["a", "b"].map(|name| encoder(&registry, name, 1));
    let [mut of_a, mut of_b] = [0; 2].map(|_| registry.incomplete_messages());
    assert_eq!(of_a.hold(3 * MIB), Ok(()));
    let refused = OutOfMemory { limit: 4 * MIB };
    assert_eq!(of_b.hold(3 * MIB), Err(refused));
    let large = long_frame(keyframe(0, 0), 3 * MIB);
    assert_eq!(b.append(large.clone()), Appended::OutOfMemory(refused));
    assert_eq!(b.append(keyframe(0, 0)), Appended::New);
    assert_eq!(of_b.hold(0), Ok(()));
    assert_eq!(b.append(large), Appended::New);
}

#[test]
fn bytes_count_until_their_last_reader_has_dropped_them() {
    let registry = registry(64 * MIB);
    let mut publication = encoder(&registry, "a", 1);
    let mut stalled = publication
        .stream()
        .subscribe(Format::Rtmp, Start::Newest, 0);
    send(&mut publication, headers());
    send_group(&mut publication, 0, 3, 100 << 10);
    let Some(CursorEvent::Batch(batch)) = stalled.try_next() else {
        panic!("a batch");
    };
    publication.append(interframe(400, 4));
    let mut incomplete = registry.incomplete_messages();
    incomplete.hold(MIB).unwrap();
    assert!(registry.memory().used > MIB + 3 * (100 << 10));
    drop((publication, stalled, incomplete));
    let now = Instant::now();
    registry.sweep(now);
    registry.sweep(now + Duration::from_secs(3_600));
    let used = registry.memory().used;
    assert!(used >= 100 << 10, "the batch is held: {used}");
    drop(batch);
    assert_eq!(registry.memory().used, 0);
}

#[test]
fn stream_without_publisher_gives_up_media_when_the_limit_falls() {
    let registry = registry(64 * MIB);
    let mut publication = encoder(&registry, "a", 1);
    for group in 0..10 {
        send_group(&mut publication, group * 320, 8, 100 << 10);
    }
    drop(publication);
    registry.limit_memory(2 * MIB);
    registry.sweep(Instant::now());
    let memory = registry.memory();
    assert!(memory.used <= 2 * MIB && memory.limit == 2 * MIB);
    assert!(try_encoder(&registry, "a").is_ok());
}

#[test]
fn pressure_lasts_half_a_minute_after_its_last_sign() {
    let registry = registry(MIB);
    let now = Instant::now();
    let pressure = |seconds| {
        registry.sweep(now + Duration::from_secs(seconds));
        registry.memory().pressure
    };
    assert!(!pressure(0));
    assert!(try_encoder(&registry, "a").is_err());
    assert!(pressure(1) && pressure(30) && !pressure(31));
}

#[test]
fn init_data_takes_a_quarter_of_an_equal_share_while_memory_is_full() {
    let registry = registry(4 * MIB);
    let [a, _b] = ["a", "b"].map(|name| encoder(&registry, name, 1));
    let mut others = registry.incomplete_messages();
    others.count(5 * MIB);
    let refused = Appended::OutOfMemory(OutOfMemory { limit: 4 * MIB });
    let mut publication = a;
    for track in 1..=8 {
        let header = track_header(track, 64 << 10);
        assert_eq!(publication.append(header), Appended::New);
    }
    assert_eq!(publication.append(track_header(9, 64 << 10)), refused);
    // What an encoder sent before counts, because a relay can return to it.
    publication = encoder(&registry, "a", 2);
    assert_eq!(publication.append(track_header(1, 64 << 10)), refused);
    others.count(0);
    assert_eq!(publication.append(track_header(1, 64 << 10)), Appended::New);
}

#[test]
fn each_version_of_init_data_counts() {
    let registry = registry(64 * MIB);
    let mut publication = encoder(&registry, "a", 1);
    send(
        &mut publication,
        (1..16).map(|track| track_header(track, 20)),
    );
    let before = registry.memory().used;
    for number in 0..1_000 {
        let variant = u8::from(number % 2 == 0);
        let frame = audio_frame(number * 9, number);
        send(&mut publication, [audio_header(variant), frame]);
    }
    let used = registry.memory().used - before;
    // Two segments of a message, and a list of sixteen messages.
    assert!(used > 1_000 * (2 * 320 + 16 * 48), "{used}");
}

/// Fills the memory with three publications, each of which begins with a keyframe of so many bytes. Returns them, and a time after that.
fn three_encoders(registry: &Registry, keyframe_bytes: usize) -> (Vec<Publication>, TimeAfter) {
    let start = Instant::now();
    let mut encoders = ["a", "b", "c"].map(|name| try_encoder_at(registry, name, start).unwrap());
    for publication in &mut encoders {
        let first = long_frame(keyframe(0, 0), keyframe_bytes);
        send(publication, [video_only(), first]);
    }
    (encoders.into(), TimeAfter(start))
}

struct TimeAfter(Instant);

impl TimeAfter {
    fn milliseconds(&self, milliseconds: u64) -> Instant {
        self.0 + Duration::from_millis(milliseconds)
    }
}

#[test]
fn publication_without_a_complete_group_keeps_no_other_one_out() {
    let registry = registry(4 * MIB);
    let (_silent, after) = three_encoders(&registry, 100);
    assert!(try_encoder_at(&registry, "d", after.milliseconds(400)).is_err());
    let mut honest = try_encoder_at(&registry, "d", after.milliseconds(600)).unwrap();
    // What a group has counts as soon as it has more.
    send_group(&mut honest, 0, 20, 100_000);
    registry.sweep(after.milliseconds(6_000));
    assert!(try_encoder(&registry, "e").is_ok());
    send_group(&mut honest, 1_000, 30, 100_000);
    assert!(try_encoder(&registry, "f").is_err());
}

#[test]
fn publication_that_has_just_begun_reserves_twice_what_its_rate_shows() {
    // Within half a second, of a group of two.
    for (bytes, is_refused) in [(100_000, false), (120_000, true)] {
        let registry = registry(4 * MIB);
        let (_encoders, after) = three_encoders(&registry, bytes);
        let further = try_encoder_at(&registry, "d", after.milliseconds(500));
        assert_eq!(further.is_err(), is_refused, "{bytes}");
    }
}

#[test]
fn group_that_does_not_end_reserves_what_is_in_memory() {
    let registry = registry(4 * MIB);
    let (mut encoders, after) = three_encoders(&registry, 1_000_000);
    // Above the target, a stream without readers gives up its keyframe.
    send(&mut encoders[0], [interframe(40, 1)]);
    assert!(!encoders[0].stream().state().playable);
    for second in 3..=12 {
        let now = after.milliseconds(second * 1_000);
        registry.sweep(now);
        assert!(try_encoder_at(&registry, "d", now).is_err());
    }
    let now = after.milliseconds(13_000);
    registry.sweep(now);
    assert!(try_encoder_at(&registry, "d", now).is_ok());
    // It does not count again with its next frame.
    send(&mut encoders[0], [interframe(80, 2)]);
    assert!(try_encoder_at(&registry, "e", now).is_ok());
}
