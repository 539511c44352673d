//! `connect` and its response.

use super::scripted_client::{ScriptedClient, summary};
use super::*;

#[test]
fn connect_is_answered_in_order_that_obs_needs() {
    let mut script = ScriptedClient::new();
    let events = script.connect(&[
        ("app", "live".into()),
        ("tcUrl", "rtmp://h/live".into()),
        ("flashVer", "FMLE\n/3.0".into()),
        ("pageUrl", "http://page/".into()),
    ]);
    let (app, tc_url) = ("live".to_owned(), "rtmp://h/live".to_owned());
    let agent = "FMLE/3.0".to_owned();
    assert_eq!(
        events,
        [ServerEvent::Connected {
            app,
            tc_url,
            agent,
            page_url: "http://page/".to_owned(),
        }]
    );
    assert!(
        script.server.output().is_none(),
        "no response before the driver has decided"
    );
    script.server.accept_connect();
    let bytes = drain(|| script.server.output());
    let mut expected = Vec::new();
    expected.extend(b"\x02\0\0\0\0\0\x04\x05\0\0\0\0"); // chunk stream 2, 4 bytes, WindowAcknowledgementSize
    expected.extend(b"\x00\x26\x25\xA0"); // 2,500,000
    expected.extend(b"\x02\0\0\0\0\0\x05\x06\0\0\0\0"); // SetPeerBandwidth
    expected.extend(b"\x00\x26\x25\xA0\x02"); // 2,500,000, dynamic
    expected.extend(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0"); // SetChunkSize
    expected.extend(b"\x00\x00\xEA\x60"); // 60,000
    assert_eq!(bytes[..expected.len()], expected);
    script.received.extend_from_slice(&bytes);
    let answers = script.raw_responses();
    let short: Vec<_> = answers[2..].iter().map(summary).collect();
    assert_eq!(
        short,
        ["_result NetConnection.Connect.Success", "onBWDone Null"]
    );
    let result = amf0::decode_all(&answers[2].payload).unwrap();
    assert_eq!(result[1], Value::Number(1.0));
    assert_eq!(result[2].property("fmsVer"), Some(&"FMS/3,5,3,888".into()));
    assert_eq!(
        result[3].property("objectEncoding"),
        Some(&Value::Number(0.0))
    );
    assert_eq!(
        result[3].property("capsEx"),
        None,
        "the client does not announce Enhanced RTMP"
    );
}

#[test]
fn refused_connect_gets_error() {
    let mut script = ScriptedClient::new();
    script.connect(&[]);
    script.server.reject_connect("too many connections");
    assert_eq!(
        script.responses(),
        ["_error NetConnection.Connect.Rejected"]
    );
}

#[test]
fn object_encoding_is_echoed_and_amf3_commands_are_understood() {
    let mut script = ScriptedClient::new();
    script.connect(&[("objectEncoding", 3.0.into())]);
    script.server.accept_connect();
    let answers = script.raw_responses();
    let result = amf0::decode_all(&answers[2].payload).unwrap();
    assert_eq!(
        result[3].property("objectEncoding"),
        Some(&Value::Number(3.0))
    );

    let create = command::encode("createStream", 2.0, &[Value::Null]);
    script.send_message(message::COMMAND_AMF3, &[&[0], &create[..]].concat());
    script.send_message(message::COMMAND_AMF3, &create);
    assert_eq!(script.responses(), ["_result Number(1.0)"; 2]);
}

#[test]
fn enhanced_rtmp_client_gets_capabilities() {
    let mut script = ScriptedClient::new();
    let codecs = Value::StrictArray(vec!["av01".into(), "hvc1".into()]);
    script.connect(&[("fourCcList", codecs), ("capsEx", 3.0.into())]);
    script.server.accept_connect();
    let result = amf0::decode_all(&script.raw_responses()[2].payload).unwrap();
    assert_eq!(result[3].property("capsEx"), Some(&Value::Number(15.0)));
    assert_eq!(
        result[3].property("fourCcList"),
        Some(&Value::StrictArray(vec!["*".into()]))
    );
    let video = result[3].property("videoFourCcInfoMap").unwrap();
    assert_eq!(video.property("*"), Some(&Value::Number(4.0)));

    assert!(
        script
            .server
            .request_reconnect(Some("rtmp://other/live"), "draining")
    );
    assert_eq!(
        script.responses(),
        ["onStatus NetConnection.Connect.ReconnectRequest"]
    );
    assert!(
        !ScriptedClient::connected()
            .server
            .request_reconnect(None, ""),
        "a plain client does not support it"
    );
}
