//! The conversion of data messages between encoders and viewers.

use bytes::Bytes;

use crate::amf0::{self, Decoder, Value};

/// Returns the data message for viewers of one that an encoder has sent, or `None` if viewers get nothing.
///
/// `@setDataFrame` is removed, because it is addressed to the server. `duration` is removed from the metadata, because
/// players take a stream that has one, even 0, for a file. Data that is not AMF 0 is dropped: FFmpeg sends four such bytes.
pub(crate) fn for_viewers(payload: Bytes) -> Option<Bytes> {
    let mut decoder = Decoder::new(&payload);
    let name = decoder.value().ok()?;
    match name.as_str()? {
        "@setDataFrame" => {
            let at = payload.len() - decoder.rest().len();
            let frame = payload.slice(at..);
            match Decoder::new(&frame).value().ok()?.as_str()? {
                "onMetaData" => Some(without_duration(frame)),
                _ => Some(frame),
            }
        }
        "@clearDataFrame" => None,
        "onMetaData" => Some(without_duration(payload)),
        _ => Some(payload),
    }
}

/// Returns the data message that a publisher sends: metadata gets `@setDataFrame` in front.
pub(crate) fn for_server(payload: &Bytes) -> Bytes {
    let name = Decoder::new(payload).value();
    if name.is_ok_and(|name| name.as_str() == Some("onMetaData")) {
        let mut framed = amf0::encode_all(&["@setDataFrame".into()]);
        framed.extend_from_slice(payload);
        return framed.into();
    }
    payload.clone()
}

/// Removes the duration. The bytes stay the same if there is none, or if they are not AMF 0.
fn without_duration(payload: Bytes) -> Bytes {
    let Ok(mut values) = amf0::decode_all(&payload) else {
        return payload;
    };
    let mut found = false;
    for value in &mut values {
        if let Value::Object(properties) | Value::EcmaArray(properties) = value {
            let before = properties.len();
            properties.retain(|(name, _)| name != "duration");
            found |= properties.len() < before;
        }
    }
    if !found {
        return payload;
    }
    amf0::encode_all(&values).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(values: &[Value]) -> Bytes {
        amf0::encode_all(values).into()
    }

    fn metadata(properties: &[(&str, f64)]) -> Value {
        let owned = properties
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Value::Number(*v)));
        Value::EcmaArray(owned.collect())
    }

    #[test]
    fn set_data_frame_and_duration_are_removed() {
        let sent = data(&[
            "@setDataFrame".into(),
            "onMetaData".into(),
            metadata(&[("duration", 0.0), ("width", 1280.0)]),
        ]);
        let expected = data(&["onMetaData".into(), metadata(&[("width", 1280.0)])]);
        assert_eq!(for_viewers(sent), Some(expected.clone()));
        let bare = data(&[
            "onMetaData".into(),
            metadata(&[("width", 1280.0), ("duration", 9.0)]),
        ]);
        assert_eq!(for_viewers(bare), Some(expected));
    }

    #[test]
    fn metadata_without_duration_keeps_its_bytes() {
        // A property whose text is not UTF-8.
        let bytes = Bytes::from_static(b"\x02\0\x0AonMetaData\x03\0\x01a\x02\0\x01\xFF\0\0\x09");
        assert_eq!(for_viewers(bytes.clone()), Some(bytes));
    }

    #[test]
    fn other_data_passes_and_invalid_bytes_do_not() {
        let cue = data(&["onCuePoint".into(), metadata(&[("duration", 1.0)])]);
        assert_eq!(for_viewers(cue.clone()), Some(cue));
        assert_eq!(
            for_viewers(data(&["@clearDataFrame".into(), "onMetaData".into()])),
            None
        );
        assert_eq!(for_viewers(Bytes::from_static(&[0, 0, 0, 0])), None);
        assert_eq!(for_viewers(data(&[Value::Number(1.0)])), None);
        assert_eq!(for_viewers(data(&["@setDataFrame".into()])), None);
        assert_eq!(for_viewers(Bytes::new()), None);
    }

    #[test]
    fn publisher_frames_its_metadata() {
        let bare = data(&["onMetaData".into(), metadata(&[("width", 1.0)])]);
        let framed = for_server(&bare);
        assert!(framed.starts_with(b"\x02\0\x0D@setDataFrame\x02\0\x0AonMetaData"));
        assert_eq!(for_viewers(framed), Some(bare));
        let cue = data(&["onCuePoint".into()]);
        assert_eq!(for_server(&cue), cue);
    }
}
