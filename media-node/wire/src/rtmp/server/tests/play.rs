//! How each kind of player plays.

use super::script::{Script, stream_event};
use super::*;

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
