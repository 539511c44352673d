//! Client and server connected to each other, with the bytes between them split anywhere.

use super::*;
use crate::rtmp::{ClientConnection, ClientEvent, ClientSettings, RtmpUrl, write_media_message};

/// Both sides of a connection. The bytes between them are split into parts of `step` bytes.
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    at_server: BytesMut,
    at_client: BytesMut,
    step: usize,
    /// The server's answer to a request.
    answer: fn(&mut ServerConnection),
    from_client: Vec<ServerEvent>,
    from_server: Vec<ClientEvent>,
}

fn url() -> RtmpUrl {
    RtmpUrl::parse("rtmp://h/live/cam?token=t").unwrap()
}

impl Pair {
    fn publishing(step: usize) -> Self {
        Self::new(
            ClientConnection::publish(url(), ClientSettings::default()),
            step,
        )
    }

    fn playing(step: usize) -> Self {
        Self::new(
            ClientConnection::play(url(), ClientSettings::default()),
            step,
        )
    }

    fn new(client: ClientConnection, step: usize) -> Self {
        Self {
            client,
            server: ServerConnection::new(ServerSettings::default()),
            at_server: BytesMut::new(),
            at_client: BytesMut::new(),
            step,
            answer: |server| {
                server.accept_connect();
                server.accept_publish();
                server.accept_play();
            },
            from_client: Vec::new(),
            from_server: Vec::new(),
        }
    }

    /// Passes bytes until both sides have no output.
    fn run(&mut self) {
        loop {
            let sent = drain(|| self.client.output());
            let answered = drain(|| self.server.output());
            if sent.is_empty() && answered.is_empty() {
                return;
            }
            for piece in sent.chunks(self.step) {
                self.at_server.extend_from_slice(piece);
                while let Some(event) = self.server.receive(&mut self.at_server).unwrap() {
                    self.from_client.push(event);
                    if self.server.waits_for_answer() {
                        assert_eq!(self.server.receive(&mut self.at_server), Ok(None));
                        (self.answer)(&mut self.server);
                    }
                }
            }
            self.pass_to_client(&answered);
        }
    }

    fn pass_to_client(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.step) {
            self.at_client.extend_from_slice(piece);
            while let Some(event) = self.client.receive(&mut self.at_client).unwrap() {
                self.from_server.push(event);
            }
        }
    }
}

/// Returns messages of various lengths and timestamps.
fn stream() -> Vec<Message> {
    let metadata = b"\x02\0\x0AonMetaData\x08\0\0\0\x01\0\x01w\x05\0\0\x09";
    vec![
        message(MediaKind::Data, 0, &metadata[..]),
        message(MediaKind::Video, 0, &[0x17, 0, 0, 0, 0][..]),
        message(MediaKind::Audio, 0, &[0xAF, 0, 0x12][..]),
        message(MediaKind::Video, 40, vec![0x17; 130_000]),
        message(MediaKind::Audio, 0xFF_FFFF, vec![0xAF; 300]),
        message(MediaKind::Video, 0x0100_0000, vec![0x27; 70_000]),
        message(MediaKind::Video, u32::MAX, &[0x27, 1][..]),
        message(MediaKind::Video, 12, &[0x27, 1][..]),
    ]
}

fn requests() -> (ServerEvent, ServerEvent) {
    let (app, tc_url) = ("live".to_owned(), "rtmp://h/live".to_owned());
    let stream = "cam?token=t".to_owned();
    let agent = "LNX 9,0,124,2".to_owned();
    let connected = ServerEvent::Connected {
        app: app.clone(),
        tc_url: tc_url.clone(),
        agent,
        page_url: String::new(),
    };
    (
        connected,
        ServerEvent::Publish {
            app,
            tc_url,
            stream,
        },
    )
}

#[test]
fn stream_is_published_however_bytes_are_split() {
    for step in [1, 2, 3, 5, 11, 128, 4096, 1 << 20] {
        let mut pair = Pair::publishing(step);
        pair.run();
        assert_eq!(pair.from_server, [ClientEvent::Ready], "step {step}");
        stream()
            .iter()
            .for_each(|message| pair.client.send(message));
        pair.client.finish();
        pair.run();
        let (connected, publish) = requests();
        let mut expected = vec![connected, publish];
        expected.extend(stream().into_iter().map(ServerEvent::Media));
        expected.push(ServerEvent::Unpublish);
        assert_eq!(pair.from_client, expected, "step {step}");
        assert!(pair.at_server.is_empty() && pair.at_client.is_empty());
    }
}

#[test]
fn stream_is_played_however_bytes_are_split() {
    for step in [1, 2, 3, 5, 11, 128, 4096, 1 << 20] {
        let mut pair = Pair::playing(step);
        pair.run();
        let mut media = BytesMut::new();
        for Message {
            kind,
            timestamp,
            payload,
        } in stream()
        {
            write_media_message(&mut media, kind, timestamp, &payload);
        }
        pair.pass_to_client(&media);
        pair.server.end_play();
        pair.run();
        let mut status = pair.from_server.iter();
        assert!(
            matches!(status.next(), Some(ClientEvent::Status(s)) if s.code == "NetStream.Play.Reset")
        );
        let mut expected = vec![ClientEvent::Ready];
        expected.extend(stream().into_iter().map(ClientEvent::Media));
        expected.push(ClientEvent::Ended);
        assert_eq!(pair.from_server[1..], expected, "step {step}");
    }
}

fn refused_with(pair: &Pair) -> Option<&str> {
    match pair.from_server.last() {
        Some(ClientEvent::Status(status)) if status.is_error() => Some(&status.code),
        _ => None,
    }
}

#[test]
fn refused_client_gets_reason() {
    let mut pair = Pair::publishing(1000);
    pair.answer = |server| server.reject_connect("too many connections");
    pair.run();
    assert_eq!(refused_with(&pair), Some("NetConnection.Connect.Rejected"));
    let mut pair = Pair::publishing(1000);
    pair.answer = |server| {
        server.accept_connect();
        server.reject_publish(PublishRefusal::BadName, "already published");
    };
    pair.run();
    assert_eq!(refused_with(&pair), Some("NetStream.Publish.BadName"));
    let mut pair = Pair::playing(1000);
    pair.answer = |server| {
        server.accept_connect();
        server.reject_play(PlayRefusal::StreamNotFound, "no such stream");
    };
    pair.run();
    assert_eq!(refused_with(&pair), Some("NetStream.Play.StreamNotFound"));
}

#[test]
fn client_without_digest_is_served() {
    let settings = ClientSettings {
        digest: false,
        ..ClientSettings::default()
    };
    let mut pair = Pair::new(ClientConnection::play(url(), settings), 1000);
    pair.run();
    assert_eq!(pair.from_server.last(), Some(&ClientEvent::Ready));
}

#[test]
fn client_sends_nothing_before_ready_and_after_finish() {
    let mut pair = Pair::publishing(1000);
    let audio = message(MediaKind::Audio, 0, &[0xAF, 1][..]);
    pair.client.send(&audio);
    pair.run();
    pair.client.finish();
    pair.client.send(&audio);
    pair.client.finish();
    pair.run();
    let media = pair
        .from_client
        .iter()
        .filter(|event| matches!(event, ServerEvent::Media(_)));
    assert_eq!(media.count(), 0);
    assert_eq!(pair.from_client.last(), Some(&ServerEvent::Unpublish));
}

#[test]
fn our_player_pauses_and_leaves() {
    let mut pair = Pair::playing(1000);
    pair.run();
    pair.client.pause(true);
    pair.client.pause(false);
    pair.client.finish();
    pair.run();
    let events = &pair.from_client[2..];
    assert_eq!(
        events,
        [
            ServerEvent::Pause(true),
            ServerEvent::Pause(false),
            ServerEvent::StopPlay
        ]
    );
}
