//! Init data: when viewers get it, and how large it may be.

use std::time::{Duration, Instant};

use media_engine::{Appended, Epoch, InitDataLimits, Publication, Registry, Start};
use media_wire::MediaKind;

use crate::relays::frames;
use crate::support::*;

fn viewer(registry: &Registry) -> FlvReader {
    FlvReader::of(registry, "a", Start::Newest)
}

#[test]
fn viewers_get_init_data_again_only_when_it_changes() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut relay = Upstream::of(&registry, "a", Start::Newest);
    let mut first = encoder(&registry, "a", 1);
    send(&mut first, headers());
    send(&mut first, [keyframe(0, 0)]);
    assert_eq!(viewer.taken().len(), 4);
    assert_eq!(rtmp.taken().len(), 4);
    assert_eq!(relay.placed().len(), 4);
    for header in headers() {
        assert_eq!(first.append(header), Appended::Unchanged);
    }
    let mut second = encoder(&registry, "a", 2);
    // The audio header is late, and comes again as it was. The video header is another one.
    let [metadata, audio, _] = headers();
    send(&mut second, [metadata, video_header(2), keyframe(0, 1)]);
    send(&mut second, [audio, audio_frame(10, 2)]);
    let messages = viewer.taken();
    let expected = [at(33, video_header(2)), keyframe(33, 1), audio_frame(43, 2)];
    assert_eq!(messages, expected);
    assert_eq!(rtmp.taken(), expected);
    assert_eq!(relay.placed().len(), 5, "relays get every message");
    let mut joining = self::viewer(&registry);
    assert_eq!(joining.taken().len(), 5);
}

#[test]
fn order_of_audio_channels_reaches_viewers_that_join() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    let audio = |payload: &[u8]| message(MediaKind::Audio, 0, payload.to_vec());
    let opus = audio(b"\x90OpusOpusHead\x01\x06");
    let channels = audio(b"\x94Opus\x01\x06\0\0\0\x3F");
    let [metadata, _, video] = headers();
    let expected = [metadata, opus, channels, video, keyframe(0, 0)];
    let mut early = viewer(&registry);
    send(&mut publication, expected.clone());
    let mut late = viewer(&registry);
    assert_eq!(early.taken(), expected);
    assert_eq!(late.taken(), expected);
    assert_eq!(publication.append(expected[2].clone()), Appended::Unchanged);
}

#[test]
fn init_data_above_limit_is_refused() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    let mut header = |len: usize| {
        let mut payload = vec![0x17, 0, 0, 0, 0];
        payload.resize(len, 0);
        publication.append(message(MediaKind::Video, 0, payload))
    };
    let limit = settings().init_data.message_bytes;
    assert_eq!(header(limit), Appended::New);
    let len = limit + 1;
    assert_eq!(header(len), Appended::InitDataTooLong { len, limit });
}

#[test]
fn init_data_beyond_its_maximum_number_is_reported() {
    let registry = Registry::new(settings());
    let mut publication = encoder(&registry, "a", 1);
    for track in 0..16 {
        assert_eq!(publication.append(track_header(track, 20)), Appended::New);
    }
    let further = publication.append(track_header(16, 20));
    assert_eq!(further, Appended::TooMuchInitData);
    assert_eq!(publication.append(track_header(3, 21)), Appended::New);
}

#[test]
fn maximum_number_of_init_data_messages_changes_for_new_streams() {
    let registry = Registry::new(settings());
    let limits = InitDataLimits {
        messages: 2,
        ..InitDataLimits::default()
    };
    let mut first = encoder(&registry, "a", 1);
    registry.set_limits(10, limits);
    let mut second = encoder(&registry, "b", 1);
    let of = |publication: &mut Publication| {
        [0, 1, 2].map(|it| publication.append(track_header(it, 20)))
    };
    assert_eq!(of(&mut first), [(); 3].map(|()| Appended::New));
    let further = Appended::TooMuchInitData;
    assert_eq!(of(&mut second), [Appended::New, Appended::New, further]);
    // A new epoch begins without messages, and with the same maximum.
    let mut again = encoder(&registry, "b", 2);
    assert_eq!(of(&mut again)[2], Appended::TooMuchInitData);
}

#[test]
fn large_init_data_reaches_every_format_unchanged() {
    let registry = Registry::new(settings());
    let mut viewer = viewer(&registry);
    let mut rtmp = RtmpReader::of(&registry, "a");
    let mut publication = encoder(&registry, "a", 1);
    let mut payload = vec![0x17, 0, 0, 0, 0];
    payload.resize(64 << 10, 0x55);
    let header = message(MediaKind::Video, 0, payload);
    let [metadata, audio, _] = headers();
    let frames = [keyframe(0, 0), audio_frame(10, 1)];
    send(&mut publication, [metadata, audio, header.clone()]);
    send(&mut publication, frames);
    let mut joining = self::viewer(&registry);
    let mut rtmp_joining = RtmpReader::of(&registry, "a");
    assert_eq!(viewer.taken()[2], header);
    assert_eq!(rtmp.taken()[2], header);
    assert_eq!(joining.taken()[2], header);
    assert_eq!(rtmp_joining.taken()[2], header);
}

#[test]
fn init_data_is_given_up_with_an_unread_log_and_comes_again_with_its_relay() {
    let [edge, origin] = [(); 2].map(|()| Registry::new(settings()));
    let mut publication = encoder(&edge, "a", 7);
    send(&mut publication, headers());
    // Twice the window: the log of the edge has lost its beginning.
    send(&mut publication, frames(0..500));
    let mut relay = Pull::new(&origin, "a");
    relay.take(&mut Upstream::of(&edge, "a", Start::Newest));
    relay.publication = None;
    let now = Instant::now();
    for seconds in [0, 8] {
        origin.sweep(now + Duration::from_secs(seconds));
    }
    assert_eq!(origin.memory().used, 0);

    let (epoch, next) = relay.stream().position().unwrap();
    assert_eq!(epoch, Epoch(7));
    relay.take(&mut Upstream::of(&edge, "a", Start::Resume(epoch, next)));
    let messages = viewer(&origin).taken();
    let expected = headers().map(|header| header.payload);
    let received: Vec<_> = messages.iter().map(|it| it.payload.clone()).collect();
    assert_eq!(received[..3], expected);
    assert!(messages.len() > 3, "the newest group of pictures");
    assert_eq!(relay.stream().stats().gaps, 0);
}
