//! The messages of each kind of player.

use std::time::Duration;

use super::scripted_client::{ScriptedClient, stream_event};
use super::*;

#[test]
fn librtmp_and_flash_play() {
    let mut script = ScriptedClient::connected();
    script.send_command("_checkbw", 2.0, &[]);
    script.send_command("createStream", 3.0, &[]);
    script.send_command("FCSubscribe", 4.0, &["cam".into()]);
    script.send_command("getStreamLength", 5.0, &["cam".into()]);
    assert_eq!(
        script.send_message(message::USER_CONTROL, b"\0\x03\0\0\0\x01\0\0\x0B\xB8"),
        [],
        "buffer length"
    );
    assert_eq!(
        script.responses(),
        [
            "_result Undefined",
            "_result Number(1.0)",
            "onFCSubscribe NetStream.Play.Start",
            "_result Undefined",
            "_result Number(0.0)",
        ]
    );
    let events = script.send_command("play", 0.0, &["cam".into(), Value::Number(-2000.0)]);
    assert!(matches!(&events[..], [ServerEvent::Play { stream, .. }] if stream == "cam"));
    script.server.accept_play();
    assert_eq!(
        script.responses(),
        [
            stream_event(0),
            "onStatus NetStream.Play.Reset".to_owned(),
            "onStatus NetStream.Play.Start".to_owned(),
            "|RtmpSampleAccess Boolean(true)".to_owned(),
        ]
    );
}

#[test]
fn player_pauses_seeks_and_stops() {
    let mut script = ScriptedClient::playing();
    assert_eq!(
        script.send_command("pause", 0.0, &[Value::Boolean(true), 0.0.into()]),
        [ServerEvent::Pause(true)]
    );
    assert_eq!(
        script.responses(),
        [
            "onStatus NetStream.Pause.Notify".to_owned(),
            stream_event(1)
        ]
    );
    assert_eq!(
        script.send_command("pause", 0.0, &[Value::Boolean(false), 0.0.into()]),
        [ServerEvent::Pause(false)]
    );
    assert_eq!(
        script.responses(),
        [
            stream_event(0),
            "onStatus NetStream.Unpause.Notify".to_owned()
        ]
    );
    script.send_command("seek", 0.0, &[1000.0.into()]);
    assert_eq!(
        script.responses(),
        ["onStatus NetStream.Seek.Notify"],
        "an error would end FFmpeg"
    );
    assert_eq!(
        script.send_command("closeStream", 0.0, &[]),
        [ServerEvent::StopPlay]
    );
    assert_eq!(
        script.send_command("pause", 0.0, &[Value::Boolean(true)]),
        [],
        "no stream is played"
    );
    assert!(matches!(
        script.send_command("play", 0.0, &["cam".into()])[..],
        [ServerEvent::Play { .. }]
    ));
}

#[test]
fn player_is_notified_of_missing_and_of_ended_stream() {
    let mut script = ScriptedClient::connected();
    script.send_command("play", 0.0, &["none".into()]);
    script
        .server
        .reject_play(PlayRefusal::StreamNotFound, "no such stream");
    assert_eq!(
        script.responses(),
        ["onStatus NetStream.Play.StreamNotFound"]
    );
    let mut script = ScriptedClient::playing();
    script.server.end_play();
    assert_eq!(
        script.responses(),
        [
            stream_event(1),
            "onStatus NetStream.Play.UnpublishNotify".to_owned()
        ]
    );
    script.server.end_play();
    assert_eq!(script.responses(), [""; 0]);
}

#[test]
fn play2_has_its_stream_in_object() {
    let options = Value::Object(vec![("streamName".to_owned(), "cam".into())]);
    let events = ScriptedClient::connected().send_command("play2", 0.0, &[options]);
    assert!(matches!(&events[..], [ServerEvent::Play { stream, .. }] if stream == "cam"));
}

#[test]
fn play_has_its_duration_in_milliseconds() {
    let requested = |name: &str, arguments: &[Value]| {
        let events = ScriptedClient::connected().send_command(name, 0.0, arguments);
        match events.as_slice() {
            [ServerEvent::Play { duration, .. }] => *duration,
            other => panic!("{other:?}"),
        }
    };
    let play =
        |duration: f64| requested("play", &["cam".into(), (-2000.0).into(), duration.into()]);
    assert_eq!(play(2500.0), Some(Duration::from_millis(2500)));
    for whole in [-1.0, -1000.0, 0.0, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(play(whole), None, "{whole}");
    }
    assert_eq!(requested("play", &["cam".into()]), None);
    let options = [("streamName", "cam".into()), ("len", 1000.0.into())];
    let options = options.map(|(name, value)| (name.to_owned(), value));
    let play2 = requested("play2", &[Value::Object(options.into())]);
    assert_eq!(play2, Some(Duration::from_secs(1)));
}

#[test]
fn player_is_notified_of_the_end_of_its_duration_and_plays_again() {
    let mut script = ScriptedClient::playing();
    script.server.complete_play();
    assert_eq!(
        script.responses(),
        [stream_event(1), "onStatus NetStream.Play.Stop".to_owned()]
    );
    assert!(matches!(
        script.send_command("play", 0.0, &["cam".into()])[..],
        [ServerEvent::Play { .. }]
    ));
}
