//! `connect` and its answer, whose order clients depend on.

use super::{ServerConnection, ServerEvent, State};
use crate::amf0::{Properties, Value};
use crate::rtmp::command::{self, Command};
use crate::rtmp::message;

/// What the answer to `connect` needs of the question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    transaction: f64,
    /// 0 or 3: the AMF version that the client prefers, which is repeated to it. We always answer in AMF 0.
    object_encoding: f64,
    /// Enhanced RTMP's capability bits; `None` when the client does not speak of Enhanced RTMP at all.
    enhanced: Option<f64>,
}

/// Enhanced RTMP: the client can be asked to connect elsewhere.
const CAPS_RECONNECT: u8 = 0x01;

/// What we can: reconnect requests, multitrack, modifiers and with them nanoseconds. All pass through unchanged.
const CAPS: f64 = 15.0;

/// Enhanced RTMP: "can forward", the most a server that never decodes can say of a codec.
const CAN_FORWARD: f64 = 4.0;

impl ServerConnection {
    pub(super) fn asked_to_connect(&mut self, command: &Command) -> ServerEvent {
        let object = command.object();
        let text = |name: &str| {
            let value = object.property(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let number = |name: &str| object.property(name).and_then(Value::as_number);
        let caps = number("capsEx");
        let speaks_enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"];
        let enhanced = speaks_enhanced
            .iter()
            .any(|name| object.property(name).is_some());
        self.app = text("app");
        self.tc_url = text("tcUrl");
        self.can_reconnect = caps.is_some_and(|caps| bits(caps) & CAPS_RECONNECT != 0);
        self.state = State::ConnectAsked(Asked {
            transaction: command.transaction,
            object_encoding: number("objectEncoding").unwrap_or_default(),
            enhanced: caps.or(enhanced.then_some(0.0)),
        });
        ServerEvent::Connected {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            agent: shown(&text("flashVer")),
        }
    }

    /// The client may go on.
    pub fn accept_connect(&mut self) {
        let State::ConnectAsked(asked) = self.state.clone() else {
            return;
        };
        self.state = State::Idle;
        let window = self.settings.window_ack.to_be_bytes();
        let [w3, w2, w1, w0] = window;
        self.link
            .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &window);
        self.link.control(
            message::SET_PEER_BANDWIDTH,
            &[w3, w2, w1, w0, LIMIT_DYNAMIC],
        );
        // Before the answer: OBS takes the first chunk size that it hears of, and only until then.
        self.link.set_chunk_size();
        let properties = command::object([
            ("fmsVer", "FMS/3,5,3,888".into()),
            ("capabilities", 127.0.into()),
            ("mode", 1.0.into()),
        ]);
        self.link
            .command("_result", asked.transaction, &[properties, success(&asked)]);
        self.link.command("onBWDone", 0.0, &[Value::Null]);
    }

    /// The client may not go on, for the reason given. The driver closes.
    pub fn reject_connect(&mut self, description: &str) {
        let State::ConnectAsked(asked) = self.state.clone() else {
            return;
        };
        self.state = State::New;
        let status = command::status("error", "NetConnection.Connect.Rejected", description);
        self.link
            .command("_error", asked.transaction, &[Value::Null, status]);
    }

    /// Asks the client to connect again, elsewhere if a URL is given; false when it does not understand that.
    ///
    /// Enhanced RTMP v2, "Reconnect Request": the client goes on with this connection until the other one stands.
    pub fn request_reconnect(&mut self, tc_url: Option<&str>, description: &str) -> bool {
        if !self.can_reconnect {
            return false;
        }
        let mut status = command::properties([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.ReconnectRequest".into()),
            ("description", description.into()),
        ]);
        if let Some(tc_url) = tc_url {
            status.push(("tcUrl".to_owned(), tc_url.into()));
        }
        self.link
            .command("onStatus", 0.0, &[Value::Null, Value::Object(status)]);
        true
    }
}

/// 5.4.5: the client may take the limit or keep its own.
const LIMIT_DYNAMIC: u8 = 2;

/// Characters of a client's own name that are shown to people.
const MAX_AGENT: usize = 64;

fn shown(agent: &str) -> String {
    let printable = agent.chars().filter(|c| !c.is_control());
    printable.take(MAX_AGENT).collect()
}

fn success(asked: &Asked) -> Value {
    let mut information = command::properties([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", asked.object_encoding.into()),
    ]);
    if asked.enhanced.is_some() {
        information.extend(enhanced_capabilities());
    }
    Value::Object(information)
}

fn enhanced_capabilities() -> Properties {
    let any_codec = || command::object([("*", CAN_FORWARD.into())]);
    command::properties([
        ("capsEx", CAPS.into()),
        ("fourCcList", Value::StrictArray(vec!["*".into()])),
        ("videoFourCcInfoMap", any_codec()),
        ("audioFourCcInfoMap", any_codec()),
    ])
}

/// The low bits of a double. Nonsense has none.
fn bits(number: f64) -> u8 {
    (0..=u8::MAX).find(|n| f64::from(*n) == number).unwrap_or(0)
}
