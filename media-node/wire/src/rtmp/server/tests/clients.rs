//! What each kind of client says, and what it is answered, message by message.

use super::*;
use crate::amf0;
use crate::rtmp::chunk_reader::{ChunkReader, RawMessage};
use crate::rtmp::chunk_writer::write_message;

/// A client that says what it is told to, and shows the answers.
struct Script {
    server: ServerConnection,
    input: BytesMut,
    answers: ChunkReader,
    received: BytesMut,
}

impl Script {
    /// Behind the handshake.
    fn new() -> Self {
        let mut server = ServerConnection::new(ServerSettings::default());
        let mut input = BytesMut::from(&[3; 1 + 2 * 1536][..]);
        assert_eq!(server.receive(&mut input), Ok(None));
        assert_eq!(drain(|| server.output()).len(), 1 + 2 * 1536);
        Self {
            server,
            input,
            answers: ChunkReader::new(1 << 20),
            received: BytesMut::new(),
        }
    }

    /// Behind `connect`.
    fn connected() -> Self {
        let mut script = Self::new();
        script.connect(&[("app", "live".into()), ("tcUrl", "rtmp://h/live".into())]);
        script.server.accept_connect();
        script.raw_answers();
        script
    }

    fn publishing() -> Self {
        let mut script = Self::connected();
        assert!(matches!(
            script.says("publish", 3.0, &["cam".into()])[..],
            [ServerEvent::Publish { .. }]
        ));
        script.server.accept_publish();
        script.raw_answers();
        script
    }

    fn playing() -> Self {
        let mut script = Self::connected();
        assert!(matches!(
            script.says("play", 3.0, &["cam".into()])[..],
            [ServerEvent::Play { .. }]
        ));
        script.server.accept_play();
        script.raw_answers();
        script
    }

    fn connect(&mut self, object: &[(&str, Value)]) -> Vec<ServerEvent> {
        let object = object
            .iter()
            .map(|(n, v)| ((*n).to_owned(), v.clone()))
            .collect();
        let payload = command::encode("connect", 1.0, &[Value::Object(object)]);
        self.sends(message::COMMAND, &payload)
    }

    /// A command with no object and these arguments.
    fn says(&mut self, name: &str, transaction: f64, arguments: &[Value]) -> Vec<ServerEvent> {
        let values = [&[Value::Null], arguments].concat();
        self.sends(
            message::COMMAND,
            &command::encode(name, transaction, &values),
        )
    }

    fn sends(&mut self, message_type: u8, payload: &[u8]) -> Vec<ServerEvent> {
        self.try_send(message_type, payload).unwrap()
    }

    fn try_send(
        &mut self,
        message_type: u8,
        payload: &[u8],
    ) -> Result<Vec<ServerEvent>, RtmpError> {
        write_message(&mut self.input, (3, message_type, 1), 0, payload, 128);
        let mut events = Vec::new();
        while let Some(event) = self.server.receive(&mut self.input)? {
            events.push(event);
        }
        Ok(events)
    }

    fn raw_answers(&mut self) -> Vec<RawMessage> {
        self.received
            .extend_from_slice(&drain(|| self.server.output()));
        let mut answers = Vec::new();
        while let Some(message) = self.answers.receive(&mut self.received).unwrap() {
            answers.push(message);
        }
        answers
    }

    /// Each answer in short: a command's name and code or last value, a control message's type and numbers.
    fn answers(&mut self) -> Vec<String> {
        self.raw_answers().iter().map(in_short).collect()
    }
}

fn in_short(message: &RawMessage) -> String {
    if !matches!(message.message_type, message::COMMAND | message::DATA) {
        return format!("{} {:02x?}", message.message_type, &message.payload[..]);
    }
    let values = amf0::decode_all(&message.payload).unwrap();
    let name = values[0].as_str().unwrap();
    let last = values.last().unwrap();
    let code = last.property("code").and_then(Value::as_str);
    code.map_or_else(
        || format!("{name} {last:?}"),
        |code| format!("{name} {code}"),
    )
}

fn stream_event(event: u8) -> String {
    format!("4 [00, {event:02x}, 00, 00, 00, 01]")
}

fn publish() -> ServerEvent {
    let (_, ServerEvent::Publish { app, tc_url, .. }) = asked() else {
        unreachable!("it is a publish")
    };
    ServerEvent::Publish {
        app,
        tc_url,
        stream: "cam".to_owned(),
    }
}

#[test]
fn connect_is_answered_in_the_order_that_obs_needs() {
    let mut script = Script::new();
    let events = script.connect(&[("app", "live".into()), ("tcUrl", "rtmp://h/live".into())]);
    assert_eq!(events, [asked().0]);
    assert!(
        script.server.output().is_none(),
        "nothing is said before the driver has decided"
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
    let answers = script.raw_answers();
    let short: Vec<_> = answers[2..].iter().map(in_short).collect();
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
        "the client speaks plain RTMP"
    );
}

#[test]
fn a_refused_connect_gets_an_error() {
    let mut script = Script::new();
    script.connect(&[]);
    script.server.reject_connect("too many connections");
    assert_eq!(script.answers(), ["_error NetConnection.Connect.Rejected"]);
}

#[test]
fn object_encoding_is_echoed_and_amf3_commands_are_understood() {
    let mut script = Script::new();
    script.connect(&[("objectEncoding", 3.0.into())]);
    script.server.accept_connect();
    let answers = script.raw_answers();
    let result = amf0::decode_all(&answers[2].payload).unwrap();
    assert_eq!(
        result[3].property("objectEncoding"),
        Some(&Value::Number(3.0))
    );

    let create = command::encode("createStream", 2.0, &[Value::Null]);
    script.sends(message::COMMAND_AMF3, &[&[0], &create[..]].concat());
    script.sends(message::COMMAND_AMF3, &create);
    assert_eq!(script.answers(), ["_result Number(1.0)"; 2]);
}

#[test]
fn a_client_of_enhanced_rtmp_hears_that_everything_passes() {
    let mut script = Script::new();
    let codecs = Value::StrictArray(vec!["av01".into(), "hvc1".into()]);
    script.connect(&[("fourCcList", codecs), ("capsEx", 3.0.into())]);
    script.server.accept_connect();
    let result = amf0::decode_all(&script.raw_answers()[2].payload).unwrap();
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
        script.answers(),
        ["onStatus NetConnection.Connect.ReconnectRequest"]
    );
    assert!(
        !Script::connected().server.request_reconnect(None, ""),
        "not asked of a plain client"
    );
}

#[test]
fn ffmpeg_obs_and_fmle_publish() {
    let mut script = Script::connected();
    assert_eq!(script.says("releaseStream", 2.0, &["cam".into()]), []);
    assert_eq!(script.says("FCPublish", 3.0, &["cam".into()]), []);
    assert_eq!(script.says("createStream", 4.0, &[]), []);
    assert_eq!(
        script.answers(),
        [
            "_result Undefined",
            "_result Undefined",
            "_result Number(1.0)"
        ]
    );
    assert_eq!(
        script.says("publish", 5.0, &["cam".into(), "live".into()]),
        [publish()]
    );
    script.server.accept_publish();
    assert_eq!(
        script.answers(),
        [
            "onFCPublish NetStream.Publish.Start",
            "onStatus NetStream.Publish.Start",
        ]
    );
    assert_eq!(
        script.says("FCUnpublish", 6.0, &["cam".into()]),
        [ServerEvent::Unpublish]
    );
    assert_eq!(
        script.answers(),
        [
            "onFCUnpublish NetStream.Unpublish.Success",
            "_result Undefined",
            "onStatus NetStream.Unpublish.Success",
        ]
    );
    assert_eq!(
        script.says("deleteStream", 7.0, &[1.0.into()]),
        [],
        "it has ended before"
    );
}

#[test]
fn haivision_publishes_in_another_order() {
    let mut script = Script::connected();
    script.says("createStream", 2.0, &[]);
    script.says("FCPublish", 3.0, &["cam".into()]);
    assert_eq!(script.says("publish", 4.0, &["cam".into()]), [publish()]);
    script.raw_answers();
    script.server.accept_publish();
    assert_eq!(script.answers()[0], "onFCPublish NetStream.Publish.Start");
}

#[test]
fn flash_publishes_without_announcing_it() {
    let mut script = Script::connected();
    script.says("createStream", 2.0, &[]);
    assert_eq!(script.answers(), ["_result Number(1.0)"]);
    assert_eq!(script.says("publish", 0.0, &["cam".into()]), [publish()]);
    script.server.accept_publish();
    assert_eq!(script.answers(), ["onStatus NetStream.Publish.Start"]);
    assert_eq!(
        script.says("publish", 0.0, &[Value::Boolean(false)]),
        [ServerEvent::Unpublish]
    );
}

#[test]
fn a_refused_publisher_hears_why_and_may_ask_again() {
    let mut script = Script::connected();
    script.says("publish", 5.0, &["cam".into()]);
    script
        .server
        .reject_publish(PublishRefusal::BadName, "already published");
    assert_eq!(script.answers(), ["onStatus NetStream.Publish.BadName"]);
    assert_eq!(script.says("publish", 6.0, &["cam".into()]), [publish()]);
    script.server.accept_publish();
    script.raw_answers();
    script
        .server
        .end_publish(PublishRefusal::BadName, "somebody else publishes now");
    assert_eq!(script.answers(), ["onStatus NetStream.Publish.BadName"]);
    assert_eq!(
        script.sends(message::AUDIO, &[0xAF, 1]),
        [],
        "its media is not wanted any more"
    );
}

#[test]
fn the_same_connection_publishes_again() {
    for end in ["FCUnpublish", "closeStream", "deleteStream"] {
        let mut script = Script::publishing();
        assert_eq!(
            script.says(end, 6.0, &["cam".into()]),
            [ServerEvent::Unpublish],
            "{end}"
        );
        assert_eq!(script.sends(message::AUDIO, &[0xAF, 1]), []);
        assert_eq!(script.says("publish", 8.0, &["cam".into()]), [publish()]);
        script.server.accept_publish();
        assert_eq!(script.sends(message::AUDIO, &[0xAF, 1]).len(), 1);
    }
}

#[test]
fn a_second_publish_ends_the_first() {
    let mut script = Script::publishing();
    assert_eq!(
        script.says("publish", 5.0, &["cam".into()]),
        [ServerEvent::Unpublish, publish()]
    );
    script.server.accept_publish();
    assert_eq!(script.sends(message::AUDIO, &[0xAF, 1]).len(), 1);
}

#[test]
fn nothing_is_taken_while_an_answer_is_due() {
    let mut script = Script::connected();
    script.says("publish", 5.0, &["cam".into()]);
    assert_eq!(script.sends(message::AUDIO, &[0xAF, 1]), []);
    assert_eq!(script.input.len(), 14, "it waits in the input");
    script.server.accept_publish();
    let event = script.server.receive(&mut script.input).unwrap();
    assert_eq!(
        event,
        Some(ServerEvent::Media(message(
            MediaKind::Audio,
            0,
            &[0xAF, 1][..]
        )))
    );
}

#[test]
fn librtmp_and_flash_play() {
    let mut script = Script::connected();
    script.says("_checkbw", 2.0, &[]);
    script.says("createStream", 3.0, &[]);
    script.says("FCSubscribe", 4.0, &["cam".into()]);
    script.says("getStreamLength", 5.0, &["cam".into()]);
    assert_eq!(
        script.sends(message::USER_CONTROL, b"\0\x03\0\0\0\x01\0\0\x0B\xB8"),
        [],
        "buffer length"
    );
    assert_eq!(
        script.answers(),
        [
            "_result Undefined",
            "_result Number(1.0)",
            "onFCSubscribe NetStream.Play.Start",
            "_result Undefined",
            "_result Number(0.0)",
        ]
    );
    let events = script.says("play", 0.0, &["cam".into(), Value::Number(-2000.0)]);
    assert!(matches!(&events[..], [ServerEvent::Play { stream, .. }] if stream == "cam"));
    script.server.accept_play();
    assert_eq!(
        script.answers(),
        [
            stream_event(0),
            "onStatus NetStream.Play.Reset".to_owned(),
            "onStatus NetStream.Play.Start".to_owned(),
            "|RtmpSampleAccess Boolean(true)".to_owned(),
        ]
    );
}

#[test]
fn a_player_pauses_seeks_and_stops() {
    let mut script = Script::playing();
    assert_eq!(
        script.says("pause", 0.0, &[Value::Boolean(true), 0.0.into()]),
        [ServerEvent::Pause(true)]
    );
    assert_eq!(
        script.answers(),
        [
            "onStatus NetStream.Pause.Notify".to_owned(),
            stream_event(1)
        ]
    );
    assert_eq!(
        script.says("pause", 0.0, &[Value::Boolean(false), 0.0.into()]),
        [ServerEvent::Pause(false)]
    );
    assert_eq!(
        script.answers(),
        [
            stream_event(0),
            "onStatus NetStream.Unpause.Notify".to_owned()
        ]
    );
    script.says("seek", 0.0, &[1000.0.into()]);
    assert_eq!(
        script.answers(),
        ["onStatus NetStream.Seek.Notify"],
        "an error would end FFmpeg"
    );
    assert_eq!(
        script.says("closeStream", 0.0, &[]),
        [ServerEvent::StopPlay]
    );
    assert_eq!(
        script.says("pause", 0.0, &[Value::Boolean(true)]),
        [],
        "nothing plays"
    );
    assert!(matches!(
        script.says("play", 0.0, &["cam".into()])[..],
        [ServerEvent::Play { .. }]
    ));
}

#[test]
fn a_player_is_told_that_there_is_no_stream_and_that_it_ended() {
    let mut script = Script::connected();
    script.says("play", 0.0, &["none".into()]);
    script
        .server
        .reject_play(PlayRefusal::StreamNotFound, "no such stream");
    assert_eq!(script.answers(), ["onStatus NetStream.Play.StreamNotFound"]);
    let mut script = Script::playing();
    script.server.end_play();
    assert_eq!(
        script.answers(),
        [
            stream_event(1),
            "onStatus NetStream.Play.UnpublishNotify".to_owned()
        ]
    );
    script.server.end_play();
    assert_eq!(script.answers(), [""; 0]);
}

#[test]
fn play2_names_its_stream_in_an_object() {
    let options = Value::Object(vec![("streamName".to_owned(), "cam".into())]);
    let events = Script::connected().says("play2", 0.0, &[options]);
    assert!(matches!(&events[..], [ServerEvent::Play { stream, .. }] if stream == "cam"));
}

#[test]
fn unknown_commands_are_answered_only_if_they_want_it() {
    let mut script = Script::connected();
    script.says("setPeerInfo", 9.0, &[]);
    assert_eq!(script.answers(), ["_result Undefined"]);
    script.says("receiveAudio", 0.0, &[Value::Boolean(true)]);
    script.says("_result", 9.0, &[]);
    script.says("onStatus", 0.0, &[]);
    assert_eq!(script.answers(), [""; 0]);
}

#[test]
fn commands_out_of_their_order_end_the_connection() {
    let create = command::encode("createStream", 2.0, &[Value::Null]);
    assert_eq!(
        Script::new().try_send(message::COMMAND, &create),
        Err(RtmpError::OutOfOrder)
    );
    let connect = command::encode("connect", 1.0, &[Value::Null]);
    assert_eq!(
        Script::connected().try_send(message::COMMAND, &connect),
        Err(RtmpError::OutOfOrder)
    );
}

#[test]
fn media_comes_only_while_publishing() {
    assert_eq!(Script::connected().sends(message::VIDEO, &[0x17, 1]), []);
    assert_eq!(Script::playing().sends(message::VIDEO, &[0x17, 1]), []);
    let mut script = Script::publishing();
    assert_eq!(
        script.sends(message::VIDEO, &[]),
        [],
        "an empty message is none"
    );
    let aggregate =
        b"\x08\0\0\x01\0\0\x05\0\0\0\0a\0\0\0\x0C\x09\0\0\x01\0\0\x09\0\0\0\0v\0\0\0\x0C";
    assert_eq!(
        script.sends(message::AGGREGATE, aggregate),
        [
            ServerEvent::Media(message(MediaKind::Audio, 0, &b"a"[..])),
            ServerEvent::Media(message(MediaKind::Video, 4, &b"v"[..])),
        ]
    );
}

#[test]
fn metadata_loses_its_frame_and_its_duration_in_either_amf() {
    let metadata = |names: &[&str]| {
        let zero = |name: &&str| ((*name).to_owned(), Value::Number(0.0));
        Value::EcmaArray(names.iter().map(zero).collect())
    };
    let sent = amf0::encode_all(&[
        "@setDataFrame".into(),
        "onMetaData".into(),
        metadata(&["duration", "width"]),
    ]);
    let expected = amf0::encode_all(&["onMetaData".into(), metadata(&["width"])]);
    let expected = [ServerEvent::Media(message(MediaKind::Data, 0, expected))];
    let mut script = Script::publishing();
    assert_eq!(script.sends(message::DATA, &sent), expected);
    assert_eq!(
        script.sends(message::DATA_AMF3, &[&[0], &sent[..]].concat()),
        expected
    );
    assert_eq!(script.sends(message::DATA_AMF3, &sent), expected);
    assert_eq!(
        script.sends(message::DATA, &[0, 0, 0, 0]),
        [],
        "FFmpeg's four odd bytes"
    );
}

#[test]
fn a_ping_is_answered() {
    let mut script = Script::connected();
    script.sends(message::USER_CONTROL, b"\0\x06\x01\x02\x03\x04");
    assert_eq!(script.answers(), ["4 [00, 07, 01, 02, 03, 04]"]);
    script.sends(message::USER_CONTROL, b"\0\x06\x01");
    assert_eq!(script.answers(), [""; 0], "cut off");
}

#[test]
fn acknowledgement_carries_total_bytes() {
    let mut script = Script::publishing();
    script.sends(message::VIDEO, &[0x17; 100_000]);
    assert_eq!(script.answers(), [""; 0], "the client has said no window");
    script.sends(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    let total = script.server.link.received_in_test();
    assert!(total > 100_000 + 2 * 1536);
    let expected = |total: u32| format!("3 {:02x?}", total.to_be_bytes());
    assert_eq!(script.answers(), [expected(total)]);
    script.sends(message::VIDEO, &[0x17; 20_000]);
    assert_eq!(script.answers(), [""; 0], "less than half of the window");
    script.sends(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(
        script.answers(),
        [expected(script.server.link.received_in_test())]
    );
}

#[test]
fn the_count_of_bytes_wraps() {
    let mut script = Script::publishing();
    script.sends(
        message::WINDOW_ACKNOWLEDGEMENT_SIZE,
        &60_000_u32.to_be_bytes(),
    );
    script.server.link.count(u32::MAX as usize);
    script.server.link.count(30_000);
    let before = 1 + 2 * 1536;
    let total = script.server.link.received_in_test();
    assert!((before..60_000).contains(&total));
    let last = script.answers().pop();
    assert_eq!(last, Some(format!("3 {:02x?}", total.to_be_bytes())));
}

#[test]
fn a_tiny_window_is_not_answered_message_by_message() {
    let mut script = Script::publishing();
    script.sends(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &1_u32.to_be_bytes());
    script.raw_answers();
    script.sends(message::VIDEO, &[0x17; 1000]);
    assert_eq!(script.answers(), [""; 0]);
    script.sends(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &0_u32.to_be_bytes());
    script.sends(message::VIDEO, &[0x17; 10_000]);
    assert_eq!(script.answers(), [""; 0], "0 is none");
}

#[test]
fn a_client_that_only_asks_is_ended() {
    let mut script = Script::connected();
    let ping = b"\0\x06\0\0\0\0";
    let refused = (0..20_000).find_map(|_| script.try_send(message::USER_CONTROL, ping).err());
    assert!(matches!(refused, Some(RtmpError::Unsent(_))));
}
