//! The messages of each kind of encoder.

use super::scripted_client::{ScriptedClient, publish};
use super::*;

#[test]
fn ffmpeg_obs_and_fmle_publish() {
    let mut script = ScriptedClient::connected();
    assert_eq!(
        script.send_command("releaseStream", 2.0, &["cam".into()]),
        []
    );
    assert_eq!(script.send_command("FCPublish", 3.0, &["cam".into()]), []);
    assert_eq!(script.send_command("createStream", 4.0, &[]), []);
    assert_eq!(
        script.responses(),
        [
            "_result Undefined",
            "_result Undefined",
            "_result Number(1.0)"
        ]
    );
    assert_eq!(
        script.send_command("publish", 5.0, &["cam".into(), "live".into()]),
        [publish()]
    );
    script.server.accept_publish();
    assert_eq!(
        script.responses(),
        [
            "onFCPublish NetStream.Publish.Start",
            "onStatus NetStream.Publish.Start",
        ]
    );
    assert_eq!(
        script.send_command("FCUnpublish", 6.0, &["cam".into()]),
        [ServerEvent::Unpublish]
    );
    assert_eq!(
        script.responses(),
        [
            "onFCUnpublish NetStream.Unpublish.Success",
            "_result Undefined",
            "onStatus NetStream.Unpublish.Success",
        ]
    );
    assert_eq!(
        script.send_command("deleteStream", 7.0, &[1.0.into()]),
        [],
        "the stream has already ended"
    );
}

#[test]
fn haivision_publishes_in_another_order() {
    let mut script = ScriptedClient::connected();
    script.send_command("createStream", 2.0, &[]);
    script.send_command("FCPublish", 3.0, &["cam".into()]);
    assert_eq!(
        script.send_command("publish", 4.0, &["cam".into()]),
        [publish()]
    );
    script.raw_responses();
    script.server.accept_publish();
    assert_eq!(script.responses()[0], "onFCPublish NetStream.Publish.Start");
}

#[test]
fn flash_publishes_without_announcing_it() {
    let mut script = ScriptedClient::connected();
    script.send_command("createStream", 2.0, &[]);
    assert_eq!(script.responses(), ["_result Number(1.0)"]);
    assert_eq!(
        script.send_command("publish", 0.0, &["cam".into()]),
        [publish()]
    );
    script.server.accept_publish();
    assert_eq!(script.responses(), ["onStatus NetStream.Publish.Start"]);
    assert_eq!(
        script.send_command("publish", 0.0, &[Value::Boolean(false)]),
        [ServerEvent::Unpublish]
    );
}

#[test]
fn refused_publisher_gets_reason_and_can_retry() {
    let mut script = ScriptedClient::connected();
    script.send_command("publish", 5.0, &["cam".into()]);
    script
        .server
        .reject_publish(PublishRefusal::BadName, "already published");
    assert_eq!(script.responses(), ["onStatus NetStream.Publish.BadName"]);
    assert_eq!(
        script.send_command("publish", 6.0, &["cam".into()]),
        [publish()]
    );
    script.server.accept_publish();
    script.raw_responses();
    script
        .server
        .end_publish(PublishRefusal::BadName, "another publisher has taken over");
    assert_eq!(script.responses(), ["onStatus NetStream.Publish.BadName"]);
    assert_eq!(
        script.send_message(message::AUDIO, &[0xAF, 1]),
        [],
        "its media is ignored"
    );
}

#[test]
fn same_connection_publishes_again() {
    for end in ["FCUnpublish", "closeStream", "deleteStream"] {
        let mut script = ScriptedClient::publishing();
        assert_eq!(
            script.send_command(end, 6.0, &["cam".into()]),
            [ServerEvent::Unpublish],
            "{end}"
        );
        assert_eq!(script.send_message(message::AUDIO, &[0xAF, 1]), []);
        assert_eq!(
            script.send_command("publish", 8.0, &["cam".into()]),
            [publish()]
        );
        script.server.accept_publish();
        assert_eq!(script.send_message(message::AUDIO, &[0xAF, 1]).len(), 1);
    }
}

#[test]
fn second_publish_ends_first() {
    let mut script = ScriptedClient::publishing();
    assert_eq!(
        script.send_command("publish", 5.0, &["cam".into()]),
        [ServerEvent::Unpublish, publish()]
    );
    script.server.accept_publish();
    assert_eq!(script.send_message(message::AUDIO, &[0xAF, 1]).len(), 1);
}

#[test]
fn no_bytes_are_taken_while_answer_is_due() {
    let mut script = ScriptedClient::connected();
    script.send_command("publish", 5.0, &["cam".into()]);
    assert_eq!(script.send_message(message::AUDIO, &[0xAF, 1]), []);
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
fn media_comes_only_while_publishing() {
    assert_eq!(
        ScriptedClient::connected().send_message(message::VIDEO, &[0x17, 1]),
        []
    );
    assert_eq!(
        ScriptedClient::playing().send_message(message::VIDEO, &[0x17, 1]),
        []
    );
    let mut script = ScriptedClient::publishing();
    assert_eq!(
        script.send_message(message::VIDEO, &[]),
        [],
        "an empty message is none"
    );
    let aggregate =
        b"\x08\0\0\x01\0\0\x05\0\0\0\0a\0\0\0\x0C\x09\0\0\x01\0\0\x09\0\0\0\0v\0\0\0\x0C";
    assert_eq!(
        script.send_message(message::AGGREGATE, aggregate),
        [
            ServerEvent::Media(message(MediaKind::Audio, 0, &b"a"[..])),
            ServerEvent::Media(message(MediaKind::Video, 4, &b"v"[..])),
        ]
    );
}

#[test]
fn metadata_loses_set_data_frame_and_duration_in_either_amf() {
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
    let mut script = ScriptedClient::publishing();
    assert_eq!(script.send_message(message::DATA, &sent), expected);
    assert_eq!(
        script.send_message(message::DATA_AMF3, &[&[0], &sent[..]].concat()),
        expected
    );
    assert_eq!(script.send_message(message::DATA_AMF3, &sent), expected);
    assert_eq!(
        script.send_message(message::DATA, &[0, 0, 0, 0]),
        [],
        "FFmpeg's four odd bytes"
    );
}
