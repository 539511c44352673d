//! What each command of a client does.

use super::{ServerConnection, ServerEvent, State};
use crate::amf0::Value;
use crate::rtmp::RtmpError;
use crate::rtmp::chunk_writer::MESSAGE_STREAM;
use crate::rtmp::command::{self, Command};
use crate::rtmp::message;

impl ServerConnection {
    pub(super) fn command(&mut self, command: &Command) -> Result<Option<ServerEvent>, RtmpError> {
        if (command.name == "connect") != (self.state == State::New) {
            return Err(RtmpError::OutOfOrder);
        }
        Ok(match command.name.as_str() {
            "connect" => Some(self.asked_to_connect(command)),
            "createStream" => {
                let stream = Value::from(f64::from(MESSAGE_STREAM));
                self.link
                    .command("_result", command.transaction, &[Value::Null, stream]);
                None
            }
            "FCPublish" => {
                self.fc_publish = true;
                self.answer(command)
            }
            "publish" => self.asked_to_publish(command),
            "FCUnpublish" => self.asked_to_unpublish(command),
            "play" => self.asked_to_play(command.argument(0)),
            "play2" => {
                let options = command.argument(0);
                self.asked_to_play(options.and_then(|options| options.property("streamName")))
            }
            "FCSubscribe" => self.answer_with(command, "onFCSubscribe", "NetStream.Play.Start"),
            "FCUnsubscribe" => self.answer_with(command, "onFCUnsubscribe", "NetStream.Play.Stop"),
            "pause" => self.asked_to_pause(command),
            "seek" => self.asked_to_seek(),
            "closeStream" | "deleteStream" | "close" => self.closed(),
            "getStreamLength" => {
                // No length: the stream is live.
                self.link
                    .command("_result", command.transaction, &[Value::Null, 0.0.into()]);
                None
            }
            // Answers of the client to us; nothing was asked.
            "_result" | "_error" | "onStatus" => None,
            // `releaseStream`, `_checkbw`, and whatever else wants an answer.
            _ => self.answer(command),
        })
    }

    /// Answers that all is well, if an answer is wanted.
    fn answer(&mut self, command: &Command) -> Option<ServerEvent> {
        if command.transaction != 0.0 {
            let nothing = [Value::Null, Value::Undefined];
            self.link.command("_result", command.transaction, &nothing);
        }
        None
    }

    fn answer_with(&mut self, command: &Command, name: &str, code: &str) -> Option<ServerEvent> {
        let stream = command.text(0).unwrap_or_default();
        let status = command::status("status", code, stream);
        self.link.command(name, 0.0, &[Value::Null, status]);
        self.answer(command)
    }

    fn asked_to_publish(&mut self, command: &Command) -> Option<ServerEvent> {
        let Some(Value::String(stream)) = command.argument(0) else {
            // `publish(false)` is Flash's way to end a stream.
            return self.closed();
        };
        let asked = ServerEvent::Publish {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            stream: stream.clone(),
        };
        self.after_what_is_on(asked)
    }

    fn asked_to_play(&mut self, stream: Option<&Value>) -> Option<ServerEvent> {
        let Some(Value::String(stream)) = stream else {
            // `play(false)` is Flash's way to stop.
            return self.closed();
        };
        let asked = ServerEvent::Play {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            stream: stream.clone(),
        };
        self.after_what_is_on(asked)
    }

    /// A connection carries one stream at a time: what is on ends first.
    fn after_what_is_on(&mut self, event: ServerEvent) -> Option<ServerEvent> {
        match self.closed() {
            Some(end) => {
                self.next = Some(event);
                Some(end)
            }
            None => Some(event),
        }
    }

    /// FFmpeg, OBS and FMLE say that their stream ends. They may publish another one on the same connection.
    fn asked_to_unpublish(&mut self, command: &Command) -> Option<ServerEvent> {
        let description = "Stopped publishing stream.";
        let status = command::status("status", UNPUBLISH, description);
        self.on_stream("onFCUnpublish", &[Value::Null, status]);
        self.answer(command);
        self.fc_publish = false;
        self.closed()
    }

    /// The client ends what is on.
    fn closed(&mut self) -> Option<ServerEvent> {
        match self.state {
            State::Publishing => {
                self.status("status", UNPUBLISH, "Stopped publishing stream.");
                Some(ServerEvent::Unpublish)
            }
            State::Playing => Some(ServerEvent::StopPlay),
            _ => None,
        }
    }

    fn asked_to_pause(&mut self, command: &Command) -> Option<ServerEvent> {
        if self.state != State::Playing {
            return None;
        }
        let paused = command.argument(0).and_then(Value::as_bool).unwrap_or(true);
        if paused {
            self.status("status", "NetStream.Pause.Notify", "Paused stream.");
            self.stream_event(message::EVENT_STREAM_EOF);
        } else {
            self.stream_event(message::EVENT_STREAM_BEGIN);
            self.status("status", "NetStream.Unpause.Notify", "Unpaused stream.");
        }
        Some(ServerEvent::Pause(paused))
    }

    /// A live stream has one position. An error would end FFmpeg's player, so the answer is friendly.
    fn asked_to_seek(&mut self) -> Option<ServerEvent> {
        if self.state == State::Playing {
            self.status(
                "status",
                "NetStream.Seek.Notify",
                "The stream is live; it goes on.",
            );
        }
        None
    }
}

const UNPUBLISH: &str = "NetStream.Unpublish.Success";
