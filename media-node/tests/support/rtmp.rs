//! An encoder and a viewer that use RTMP.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use media_wire::Message;
use media_wire::amf0::{self, Value};
use media_wire::rtmp::{
    ClientConnection, ClientEvent, ClientSettings, RtmpStatus, RtmpUrl, message_header,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{audio_header, interframe, keyframe, metadata, number, video_header, within_deadline};

/// An RTMP client and its socket.
pub(crate) struct RtmpClient {
    pub(crate) socket: TcpStream,
    pub(crate) connection: ClientConnection,
    input: BytesMut,
}

impl RtmpClient {
    async fn new(address: SocketAddr, stream: &str, plays: bool) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self::over(socket, stream, plays)
    }

    fn over(socket: TcpStream, stream: &str, plays: bool) -> Self {
        let address = socket.peer_addr().unwrap();
        let url = RtmpUrl::parse(&format!("rtmp://{address}/{stream}")).unwrap();
        let settings = ClientSettings::default();
        let connection = if plays {
            ClientConnection::play(url, settings)
        } else {
            ClientConnection::publish(url, settings)
        };
        Self {
            socket,
            connection,
            input: BytesMut::new(),
        }
    }

    /// Returns the next event, or `None` when the media node has closed the connection.
    pub(crate) async fn event(&mut self) -> Option<ClientEvent> {
        loop {
            let event = self.connection.receive(&mut self.input).unwrap();
            self.flush().await;
            if event.is_some() {
                return event;
            }
            let read =
                within_deadline("more bytes of RTMP", self.socket.read_buf(&mut self.input)).await;
            if !read.is_ok_and(|read| read > 0) {
                return None;
            }
        }
    }

    /// Sends bytes. Ignores whether the media node still accepts them.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes).await);
    }

    /// Sends a command of one chunk, which bypasses the state of the client. Ignores whether the media node still accepts it.
    async fn send_short_command(&mut self, values: &[Value], message_stream: u8) {
        let body = amf0::encode_all(values);
        let length = u8::try_from(body.len()).expect("a short command");
        let header = [3, 0, 0, 0, 0, 0, length, 20, message_stream, 0, 0, 0];
        self.send_bytes(&[&header[..], &body].concat()).await;
    }

    /// Sends pending bytes. Ignores whether the media node still accepts them.
    pub(crate) async fn flush(&mut self) {
        while let Some(bytes) = self.connection.output() {
            drop(self.socket.write_all(&bytes).await);
        }
    }

    /// Waits for the start of the stream, or the error.
    async fn ready(&mut self) -> Result<(), RtmpStatus> {
        loop {
            match self
                .event()
                .await
                .expect("the media node answers before it closes")
            {
                ClientEvent::Ready => return Ok(()),
                ClientEvent::Status(status) if status.is_error() => return Err(status),
                _ => {}
            }
        }
    }

    /// Reads to the end of the connection. Returns the last error.
    pub(crate) async fn closed_with(&mut self) -> Option<RtmpStatus> {
        let mut error = None;
        while let Some(event) = self.event().await {
            if let ClientEvent::Status(status) = event
                && status.is_error()
            {
                error = Some(status);
            }
        }
        error
    }
}

/// An encoder.
pub(crate) struct Publisher(pub(crate) RtmpClient);

impl Publisher {
    /// Publishes.
    pub(crate) async fn start(address: SocketAddr, stream: &str) -> Self {
        Self::try_start(address, stream).await.unwrap()
    }

    /// Publishes, and sends the headers and the first group.
    pub(crate) async fn with_group(address: SocketAddr, stream: &str) -> Self {
        let mut publisher = Self::start(address, stream).await;
        publisher.send_headers().await;
        publisher.send_group(0).await;
        publisher
    }

    /// Publishes, or returns the error.
    pub(crate) async fn try_start(address: SocketAddr, stream: &str) -> Result<Self, RtmpStatus> {
        let mut rtmp = RtmpClient::new(address, stream, false).await;
        rtmp.ready().await.map(|()| Self(rtmp))
    }

    /// Publishes over a connection, or returns the error.
    pub(crate) async fn try_over(socket: TcpStream, stream: &str) -> Result<Self, RtmpStatus> {
        let mut rtmp = RtmpClient::over(socket, stream, false);
        rtmp.ready().await.map(|()| Self(rtmp))
    }

    /// Sends messages.
    pub(crate) async fn send(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.0.connection.send(&message);
            self.0.flush().await;
        }
    }

    /// Sends metadata and sequence headers.
    pub(crate) async fn send_headers(&mut self) {
        self.send([metadata(), video_header(), audio_header()])
            .await;
    }

    /// Sends a group of ten small frames, 40 ms apart. Numbers and timestamps follow from the first number.
    pub(crate) async fn send_group(&mut self, first: u32) {
        self.send([keyframe(first, first * 40, 100)]).await;
        self.send((first + 1..first + 10).map(|number| interframe(number, number * 40, 100)))
            .await;
    }

    /// Ends the stream and publishes another one on the same connection, as Flash and some hardware encoders do.
    pub(crate) async fn publish_again(&mut self, stream: &str) {
        self.unpublish_and_request(stream).await;
        loop {
            let event = self.0.event().await.expect("a second publish is answered");
            if matches!(event, ClientEvent::Status(status) if status.code == "NetStream.Publish.Start")
            {
                return;
            }
        }
    }

    /// Ends the stream and requests to publish another one on the same connection.
    pub(crate) async fn unpublish_and_request(&mut self, stream: &str) {
        self.0.connection.finish();
        self.0.flush().await;
        let create = ["createStream".into(), 9.0.into(), Value::Null];
        let publish = [
            "publish".into(),
            0.0.into(),
            Value::Null,
            stream.into(),
            "live".into(),
        ];
        for (values, message_stream) in [(&create[..], 0), (&publish[..], 1)] {
            self.0.send_short_command(values, message_stream).await;
        }
    }

    /// Sends a message without its last bytes. Ignores whether the media node still accepts them.
    pub(crate) async fn send_incomplete(&mut self, message: &Message) {
        self.0.connection.send(message);
        let mut bytes = Vec::new();
        while let Some(output) = self.0.connection.output() {
            bytes.extend_from_slice(&output);
        }
        bytes.truncate(bytes.len() - 100);
        self.0.send_bytes(&bytes).await;
    }

    /// Sends messages of at most one chunk, which bypass the state of the client.
    pub(crate) async fn send_raw(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            let length = u32::try_from(message.payload.len()).expect("a short message");
            let header = message_header(message.kind, message.timestamp, length);
            let bytes = [&header[..], &message.payload].concat();
            self.0
                .socket
                .write_all(&bytes)
                .await
                .expect("an open connection");
        }
    }

    /// Returns whether the media node tells it within this time to end.
    pub(crate) async fn is_told_to_end(&mut self, wait: Duration) -> bool {
        let is_error =
            |event: ClientEvent| matches!(event, ClientEvent::Status(status) if status.is_error());
        let told = async {
            while let Some(event) = self.0.event().await {
                if is_error(event) {
                    return true;
                }
            }
            panic!("it is told before the connection is closed");
        };
        timeout(wait, told).await.unwrap_or(false)
    }

    /// Ends the stream and the connection, as encoders do.
    pub(crate) async fn finish(mut self) {
        self.0.connection.finish();
        self.0.flush().await;
    }
}

/// A viewer.
pub(crate) struct RtmpViewer(pub(crate) RtmpClient);

impl RtmpViewer {
    /// Plays.
    pub(crate) async fn start(address: SocketAddr, stream: &str) -> Self {
        Self::try_start(address, stream).await.unwrap()
    }

    /// Plays, or returns the error.
    pub(crate) async fn try_start(address: SocketAddr, stream: &str) -> Result<Self, RtmpStatus> {
        let mut rtmp = RtmpClient::new(address, stream, true).await;
        rtmp.ready().await.map(|()| Self(rtmp))
    }

    /// Pauses or resumes, and waits for the answer.
    pub(crate) async fn pause(&mut self, paused: bool) {
        self.0.connection.pause(paused);
        self.0.flush().await;
        let code = if paused {
            "NetStream.Pause.Notify"
        } else {
            "NetStream.Unpause.Notify"
        };
        loop {
            let event = self.0.event().await.expect("a pause is answered");
            if matches!(event, ClientEvent::Status(status) if status.code == code) {
                return;
            }
        }
    }

    /// Plays a stream of the same application instead, for a time in milliseconds.
    pub(crate) async fn play_for(&mut self, stream: &str, duration: u32) {
        let values = [
            "play".into(),
            0.0.into(),
            Value::Null,
            stream.into(),
            (-2000.0).into(),
            f64::from(duration).into(),
        ];
        self.0.send_short_command(&values, 1).await;
        loop {
            let event = self.0.event().await.expect("a play is answered");
            if matches!(event, ClientEvent::Status(status) if status.code == "NetStream.Play.Start")
            {
                return;
            }
        }
    }

    /// Returns the next message, or `None` at the end of the stream, which must be announced.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            match self
                .0
                .event()
                .await
                .expect("the end is announced before the connection is closed")
            {
                ClientEvent::Media(message) => return Some(message),
                ClientEvent::Ended => return None,
                ClientEvent::Ready | ClientEvent::Status(_) => {}
            }
        }
    }

    /// Returns the number and timestamp of the next video or audio frame.
    pub(crate) async fn numbered(&mut self) -> Option<(u32, u32)> {
        loop {
            let message = self.next().await?;
            if let Some(number) = number(&message) {
                return Some((number, message.timestamp));
            }
        }
    }
}
