//! AMF 0 byte by byte, and the errors of hostile bytes.

use proptest::prelude::*;

use super::*;

fn object(properties: &[(&str, Value)]) -> Properties {
    let owned = properties.iter().map(|(n, v)| ((*n).to_owned(), v.clone()));
    owned.collect()
}

#[test]
fn every_type_has_its_bytes() {
    let cases: [(Value, &[u8]); 9] = [
        (Value::Number(1.5), b"\x00\x3F\xF8\0\0\0\0\0\0"),
        (Value::Boolean(true), b"\x01\x01"),
        ("live".into(), b"\x02\x00\x04live"),
        (
            Value::Object(object(&[("a", Value::Null)])),
            b"\x03\x00\x01a\x05\x00\x00\x09",
        ),
        (Value::Null, b"\x05"),
        (Value::Undefined, b"\x06"),
        (
            Value::EcmaArray(object(&[("w", Value::Number(2.0))])),
            b"\x08\0\0\0\x01\x00\x01w\x00\x40\0\0\0\0\0\0\0\x00\x00\x09",
        ),
        (
            Value::StrictArray(vec![Value::Null, "x".into()]),
            b"\x0A\0\0\0\x02\x05\x02\0\x01x",
        ),
        (Value::Date(0.0), b"\x0B\0\0\0\0\0\0\0\0\0\0"),
    ];
    for (value, bytes) in cases {
        assert_eq!(encode_all(std::slice::from_ref(&value)), bytes, "{value:?}");
        assert_eq!(decode_all(bytes), Ok(vec![value]));
    }
}

#[test]
fn rare_types_are_read_as_their_common_kin() {
    assert_eq!(
        decode_all(b"\x0F\0\0\0\x03<a>"),
        Ok(vec!["<a>".into()]),
        "XML"
    );
    assert_eq!(
        decode_all(b"\x0D"),
        Ok(vec![Value::Undefined]),
        "unsupported"
    );
    let typed = b"\x10\x00\x01C\x00\x01a\x05\x00\x00\x09";
    assert_eq!(
        decode_all(typed),
        Ok(vec![Value::Object(object(&[("a", Value::Null)]))])
    );
    assert_eq!(
        decode_all(b"\x02\x00\x02\xFF\xFE"),
        Ok(vec!["\u{FFFD}\u{FFFD}".into()])
    );
}

#[test]
fn string_above_64_kib_becomes_long_string() {
    let value = Value::String("x".repeat(70_000));
    let bytes = encode_all(std::slice::from_ref(&value));
    assert_eq!(bytes[..5], [0x0C, 0x00, 0x01, 0x11, 0x70]);
    assert_eq!(decode_all(&bytes), Ok(vec![value]));
}

#[test]
fn object_may_end_with_message() {
    assert_eq!(
        decode_all(b"\x03\x00\x01a\x05"),
        Ok(vec![Value::Object(object(&[("a", Value::Null)]))])
    );
}

#[test]
fn wrong_count_of_ecma_array_is_ignored() {
    let bytes = b"\x08\xFF\xFF\xFF\xFF\x00\x01a\x05\x00\x00\x09";
    assert_eq!(
        decode_all(bytes),
        Ok(vec![Value::EcmaArray(object(&[("a", Value::Null)]))])
    );
}

#[test]
fn nested_amf_is_rejected_at_depth_16() {
    let nested = |depth: usize| {
        let mut bytes = b"\x03\x00\x01a".repeat(depth - 1);
        bytes.push(NULL);
        bytes.extend(b"\x00\x00\x09".repeat(depth - 1));
        decode_all(&bytes)
    };
    assert!(nested(16).is_ok());
    assert_eq!(nested(17), Err(Amf0Error::TooDeep));
    assert_eq!(
        decode_all(&b"\x0A\0\0\0\x01".repeat(100_000)),
        Err(Amf0Error::TooDeep)
    );
}

#[test]
fn huge_amf_array_does_not_allocate() {
    assert_eq!(
        decode_all(b"\x0A\xFF\xFF\xFF\xFF"),
        Err(Amf0Error::Truncated)
    );
    assert_eq!(
        decode_all(b"\x0C\xFF\xFF\xFF\xFF"),
        Err(Amf0Error::StringTooLong(u32::MAX))
    );
    assert_eq!(
        decode_all(b"\x0C\x00\x0F\xFF\xFF"),
        Err(Amf0Error::Truncated)
    );
    let mut many = b"\x0A\xFF\xFF\xFF\xFF".to_vec();
    many.extend([NULL; 5000]);
    assert_eq!(decode_all(&many), Err(Amf0Error::TooMany));
    assert_eq!(decode_all(&[NULL; 5000]), Err(Amf0Error::TooMany));
}

#[test]
fn truncated_value_is_an_error() {
    let bytes = encode_all(&[Value::StrictArray(vec![
        Value::Number(1.0),
        "text".into(),
        Value::Date(3.0),
    ])]);
    for end in 1..bytes.len() {
        assert_eq!(
            decode_all(&bytes[..end]),
            Err(Amf0Error::Truncated),
            "cut at {end}"
        );
    }
    assert_eq!(decode_all(b"\x11\x0A"), Err(Amf0Error::UnknownType(0x11)));
}

#[test]
fn properties_are_found_by_name() {
    let value = Value::Object(object(&[("app", "live".into()), ("n", 3.0.into())]));
    assert_eq!(value.property("app").and_then(Value::as_str), Some("live"));
    assert_eq!(value.property("n").and_then(Value::as_number), Some(3.0));
    assert_eq!(value.property("none"), None);
    assert_eq!(Value::Null.property("app"), None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let properties = proptest::collection::vec(("[a-z]{1,8}", inner.clone()), 0..6);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.prop_map(Value::EcmaArray),
            proptest::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_survives(values in proptest::collection::vec(any_value(), 0..4)) {
        prop_assert_eq!(decode_all(&encode_all(&values)), Ok(values));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_all(&bytes);
    }
}
