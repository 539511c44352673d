//! AMF 0 values that decode, encode and decode to the same bytes. Media headers and stream keys get the same input.

#![no_main]

use libfuzzer_sys::fuzz_target;
use media_wire::media::MediaHeader;
use media_wire::{MediaKind, NameLimits, StreamKey, amf0};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = amf0::decode_all(bytes) {
        let encoded = amf0::encode_all(&values);
        // Compared as bytes: NaN is not equal to itself.
        let again = amf0::decode_all(&encoded).expect("our own bytes decode");
        assert_eq!(amf0::encode_all(&again), encoded);
    }
    for kind in [MediaKind::Audio, MediaKind::Video, MediaKind::Data] {
        let _ = MediaHeader::parse(kind, bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let (vhosts, limits) = (["v".to_owned()], NameLimits::default());
        let _ = StreamKey::from_http(Some(text), text, &vhosts, &limits);
        let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
        if let Ok(key) = StreamKey::from_rtmp(first, second, text, &vhosts, &limits) {
            let again = StreamKey::new(key.vhost(), key.app(), key.name());
            assert_eq!(again.as_ref(), Ok(&key), "the parts of a key make the key");
        }
    }
});
