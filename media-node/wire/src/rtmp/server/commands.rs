//! The commands of a client.

use std::time::Duration;

use super::{ServerConnection, ServerEvent, ServerState};
use crate::amf0::Value;
use crate::rtmp::chunk_writer::MESSAGE_STREAM;
use crate::rtmp::command::{self, RtmpCommand};
use crate::rtmp::connection::RtmpError;
use crate::rtmp::message;

impl ServerConnection {
    pub(super) fn command(
        &mut self,
        command: &RtmpCommand,
    ) -> Result<Option<ServerEvent>, RtmpError> {
        if (command.name == "connect") != (self.state == ServerState::New) {
            return Err(RtmpError::OutOfOrder);
        }
        Ok(match command.name.as_str() {
            "connect" => Some(self.on_connect(command)),
            "createStream" => {
                let stream = Value::from(f64::from(MESSAGE_STREAM));
                self.connection
                    .command("_result", command.transaction, &[Value::Null, stream]);
                None
            }
            "FCPublish" => {
                self.fc_publish = true;
                self.respond(command)
            }
            "publish" => self.on_publish(command),
            "FCUnpublish" => self.on_unpublish(command),
            "play" => self.on_play(command.argument(0), command.argument(2)),
            "play2" => {
                let option = |name| command.argument(0).and_then(|it| it.property(name));
                self.on_play(option("streamName"), option("len"))
            }
            "FCSubscribe" => self.respond_with(command, "onFCSubscribe", "NetStream.Play.Start"),
            "FCUnsubscribe" => self.respond_with(command, "onFCUnsubscribe", "NetStream.Play.Stop"),
            "pause" => self.on_pause(command),
            "seek" => self.on_seek(),
            "closeStream" | "deleteStream" | "close" => self.end_stream(),
            "getStreamLength" => {
                // A live stream has no length.
                self.connection
                    .command("_result", command.transaction, &[Value::Null, 0.0.into()]);
                None
            }
            // Responses of the client. The server has sent no request.
            "_result" | "_error" | "onStatus" => None,
            // `releaseStream`, `_checkbw` and others.
            _ => self.respond(command),
        })
    }

    /// Responds with success, if a response is expected.
    fn respond(&mut self, command: &RtmpCommand) -> Option<ServerEvent> {
        if command.transaction != 0.0 {
            let nothing = [Value::Null, Value::Undefined];
            self.connection
                .command("_result", command.transaction, &nothing);
        }
        None
    }

    fn respond_with(
        &mut self,
        command: &RtmpCommand,
        name: &str,
        code: &str,
    ) -> Option<ServerEvent> {
        let stream = command.text(0).unwrap_or_default();
        let status = command::status("status", code, stream);
        self.connection.command(name, 0.0, &[Value::Null, status]);
        self.respond(command)
    }

    fn on_publish(&mut self, command: &RtmpCommand) -> Option<ServerEvent> {
        let Some(Value::String(stream)) = command.argument(0) else {
            // Flash ends a stream with `publish(false)`.
            return self.end_stream();
        };
        let request = ServerEvent::Publish {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            stream: stream.clone(),
        };
        self.after_current_stream(request)
    }

    fn on_play(
        &mut self,
        stream: Option<&Value>,
        milliseconds: Option<&Value>,
    ) -> Option<ServerEvent> {
        let Some(Value::String(stream)) = stream else {
            // Flash stops with `play(false)`.
            return self.end_stream();
        };
        let request = ServerEvent::Play {
            app: self.app.clone(),
            tc_url: self.tc_url.clone(),
            stream: stream.clone(),
            duration: milliseconds.and_then(duration),
        };
        self.after_current_stream(request)
    }

    /// Ends the current stream before `event`. A connection has one stream at a time.
    fn after_current_stream(&mut self, event: ServerEvent) -> Option<ServerEvent> {
        match self.end_stream() {
            Some(end) => {
                self.next = Some(event);
                Some(end)
            }
            None => Some(event),
        }
    }

    /// FFmpeg, OBS and FMLE announce the end of their stream. They can publish another one on the same connection.
    fn on_unpublish(&mut self, command: &RtmpCommand) -> Option<ServerEvent> {
        let description = "Stopped publishing stream.";
        let status = command::status("status", UNPUBLISH, description);
        self.send_on_stream("onFCUnpublish", &[Value::Null, status]);
        self.respond(command);
        self.fc_publish = false;
        self.end_stream()
    }

    /// Ends the current stream at the client's request.
    fn end_stream(&mut self) -> Option<ServerEvent> {
        match self.state {
            ServerState::Publishing => {
                self.status("status", UNPUBLISH, "Stopped publishing stream.");
                Some(ServerEvent::Unpublish)
            }
            ServerState::Playing => Some(ServerEvent::StopPlay),
            _ => None,
        }
    }

    fn on_pause(&mut self, command: &RtmpCommand) -> Option<ServerEvent> {
        if self.state != ServerState::Playing {
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

    /// A live stream has one position. The response is a success, because an error would end FFmpeg's player.
    fn on_seek(&mut self) -> Option<ServerEvent> {
        if self.state == ServerState::Playing {
            self.status(
                "status",
                "NetStream.Seek.Notify",
                "The stream is live and continues.",
            );
        }
        None
    }
}

/// Returns the duration of a play command (7.2.2.1), unless the client wants the whole stream: numbers that are negative, or 0 as in
/// SRS. The specification counts in seconds, but Flash and librtmp send milliseconds.
fn duration(milliseconds: &Value) -> Option<Duration> {
    let Value::Number(milliseconds) = milliseconds else {
        return None;
    };
    let duration = Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    duration.filter(|duration| !duration.is_zero())
}

const UNPUBLISH: &str = "NetStream.Unpublish.Success";
