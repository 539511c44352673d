//! `connect` and its response. Clients depend on the order of the response's messages.

use super::{ConnectRequest, ServerConnection, ServerEvent, ServerState};
use crate::amf0::{Properties, Value};
use crate::rtmp::command::{self, RtmpCommand};
use crate::rtmp::message;

/// The capability bit of Enhanced RTMP's reconnect requests.
const CAPS_RECONNECT: u8 = 0x01;

/// Bytes of a page's URL. A longer one is left out, because the connection keeps it.
const MAX_PAGE_URL: usize = 1024;

/// The server's capabilities: reconnect requests, multitrack, modifiers, timestamps in nanoseconds. Media passes through
/// unchanged.
const CAPS: f64 = 15.0;

/// Enhanced RTMP's "can forward": the codec support of a server that never decodes.
const CAN_FORWARD: f64 = 4.0;

impl ServerConnection {
    pub(super) fn on_connect(&mut self, command: &RtmpCommand) -> ServerEvent {
        let object = command.object();
        let text = |name: &str| {
            let value = object.property(name).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let number = |name: &str| object.property(name).and_then(Value::as_number);
        let caps = number("capsEx");
        let codec_lists = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"];
        let enhanced = codec_lists
            .iter()
            .any(|name| object.property(name).is_some());
        self.app = text("app");
        self.tc_url = text("tcUrl");
        self.can_reconnect = caps.is_some_and(|caps| bits(caps) & CAPS_RECONNECT != 0);
        self.state = ServerState::ConnectRequested(ConnectRequest {
            transaction: command.transaction,
            object_encoding: number("objectEncoding").unwrap_or_default(),
            enhanced: caps.or(enhanced.then_some(0.0)),
        });
        ServerEvent::Connected {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            agent: printable(&text("flashVer")),
            page_url: Some(text("pageUrl"))
                .filter(|url| url.len() <= MAX_PAGE_URL)
                .unwrap_or_default(),
        }
    }

    /// Accepts the client.
    pub fn accept_connect(&mut self) {
        let ServerState::ConnectRequested(request) = self.state.clone() else {
            return;
        };
        self.state = ServerState::Idle;
        let window = self.settings.window_ack.to_be_bytes();
        let [w3, w2, w1, w0] = window;
        self.connection
            .control(message::WINDOW_ACKNOWLEDGEMENT_SIZE, &window);
        self.connection.control(
            message::SET_PEER_BANDWIDTH,
            &[w3, w2, w1, w0, LIMIT_DYNAMIC],
        );
        // Before the response, because OBS ignores a chunk size that follows it.
        self.connection.set_chunk_size();
        let properties = command::object([
            ("fmsVer", "FMS/3,5,3,888".into()),
            ("capabilities", 127.0.into()),
            ("mode", 1.0.into()),
        ]);
        self.connection.command(
            "_result",
            request.transaction,
            &[properties, success(&request)],
        );
        self.connection.command("onBWDone", 0.0, &[Value::Null]);
    }

    /// Refuses the client with a reason. The driver closes the connection.
    pub fn reject_connect(&mut self, description: &str) {
        let ServerState::ConnectRequested(request) = self.state.clone() else {
            return;
        };
        self.state = ServerState::New;
        let status = command::status("error", "NetConnection.Connect.Rejected", description);
        self.connection
            .command("_error", request.transaction, &[Value::Null, status]);
    }

    /// Requests the client to reconnect, to another server if there is a URL. Returns false if the client does not support it.
    ///
    /// Enhanced RTMP v2, "Reconnect Request": the client keeps this connection until the new one is established.
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
        self.connection
            .command("onStatus", 0.0, &[Value::Null, Value::Object(status)]);
        true
    }
}

/// The limit type with which the client chooses between the limit and its own (5.4.5).
const LIMIT_DYNAMIC: u8 = 2;

/// The maximum length of a client's name in logs.
const MAX_AGENT: usize = 64;

fn printable(agent: &str) -> String {
    let printable = agent.chars().filter(|c| !c.is_control());
    printable.take(MAX_AGENT).collect()
}

fn success(request: &ConnectRequest) -> Value {
    let mut information = command::properties([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", request.object_encoding.into()),
    ]);
    if request.enhanced.is_some() {
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

/// Returns the low bits of a double, or 0 if it is not a byte.
fn bits(number: f64) -> u8 {
    (0..=u8::MAX).find(|n| f64::from(*n) == number).unwrap_or(0)
}
