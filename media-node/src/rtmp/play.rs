//! A viewer by RTMP: its commands around the stream, and the pauses in it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use media_wire::rtmp::RtmpError;
use media_wire::rtmp::server::{PlayRefusal, ServerConnection, ServerEvent};
use media_wire::{InvalidKey, StreamKey};
use tokio::time::timeout;

use super::session::{Lost, Session, Then};
use crate::delivery::play::{self, NotPlayable, Opened, Watching, Wish};
use crate::delivery::socket;
use crate::delivery::viewer::{Dialect, Ending, Heard, Prefix, Viewer};
use crate::state::clients::{Client, Kind, StopReason};

/// A viewer that pauses longer has most likely forgotten that it does.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

impl Session {
    /// Serves a viewer until its stream ends.
    pub(super) async fn play(&mut self, key: Result<StreamKey, InvalidKey>) -> Result<Then, Lost> {
        // Boxed: what is only needed to find the stream shall not make every viewer larger.
        let Watching { client, opened } = match Box::pin(self.open(key)).await {
            Ok(watching) => watching,
            Err(error) => {
                let refusal = match error {
                    NotPlayable::Full => PlayRefusal::Failed,
                    NotPlayable::NotFound | NotPlayable::Name(_) => PlayRefusal::StreamNotFound,
                };
                self.connection.reject_play(refusal, &error.to_string());
                self.flush().await?;
                return Ok(Then::Close);
            }
        };
        self.connection.accept_play();
        self.flush().await?;
        socket::prepare_viewer(&self.socket);
        let ending = self.watch(&client, opened).await;
        play::ended(&self.shared, &client, ending);
        match ending {
            ending if ending.is_abrupt() => Err(Lost::Closed),
            Ending::Left => Ok(Then::Next),
            _ => {
                self.connection.end_play();
                self.flush().await?;
                Ok(Then::Close)
            }
        }
    }

    async fn open(&self, key: Result<StreamKey, InvalidKey>) -> Result<Watching, NotPlayable> {
        let wish = Wish {
            key: key?,
            kind: Kind::Rtmp,
            peer: self.peer,
            agent: self.agent.clone(),
            worker: self.worker,
        };
        play::open(&self.shared, wish).await
    }

    /// Sends the stream, and after each pause goes on at its newest keyframe.
    async fn watch(&mut self, client: &Client, opened: Opened) -> Ending {
        let Opened {
            stream,
            mut cursor,
            first,
        } = opened;
        let mut next = Some(first);
        loop {
            let mut viewer = Viewer {
                socket: &mut self.socket,
                client,
                stream: &stream,
                stall: self.shared.config.limits.stall_timeout(),
                leaving: false,
            };
            let mut commands = Commands(&mut self.connection);
            let shown = match next.take() {
                Some(first) => viewer.show(&mut commands, first).await,
                None => Ok(()),
            };
            let ending = match shown {
                Ok(()) => {
                    viewer
                        .watch(&mut commands, &mut cursor, &mut self.input)
                        .await
                }
                Err(ending) => ending,
            };
            if ending != Ending::Paused {
                return ending;
            }
            if let Err(ending) = Box::pin(self.resumed(client)).await {
                return ending;
            }
            cursor.catch_up();
        }
    }

    /// Waits until the viewer wants to go on.
    async fn resumed(&mut self, client: &Client) -> Result<(), Ending> {
        let resumed = async {
            loop {
                match self.event().await {
                    Ok(ServerEvent::Pause(false)) => return Ok(()),
                    Ok(ServerEvent::StopPlay) => return Err(Ending::Left),
                    Ok(_) => {}
                    Err(Lost::Protocol(_)) => return Err(Ending::Broken),
                    Err(_) => return Err(Ending::Gone),
                }
            }
        };
        tokio::select! {
            reason = client.stopped() => Err(Ending::LetGo(reason)),
            resumed = timeout(LONGEST_PAUSE, resumed) => {
                resumed.unwrap_or(Err(Ending::LetGo(StopReason::Kicked)))
            }
        }
    }
}

/// What an RTMP viewer says while it watches.
struct Commands<'a>(&'a mut ServerConnection);

impl Dialect for Commands<'_> {
    type Error = RtmpError;

    fn prefix(&mut self, _: usize) -> Prefix {
        Prefix::default()
    }

    fn receive(&mut self, input: &mut BytesMut) -> Result<Option<Heard>, RtmpError> {
        let event = self.0.receive(input)?;
        Ok(event.map(|event| match event {
            ServerEvent::Pause(true) => Heard::Pause,
            ServerEvent::StopPlay => Heard::Leave,
            _ => Heard::Nothing,
        }))
    }

    fn reply(&mut self) -> Option<Bytes> {
        self.0.output()
    }
}
