//! The handshake (5.2), and the digest form that Flash and FFmpeg use.
//!
//! The digest form hides an HMAC in the 1536 bytes. FFmpeg and the players of VLC and Adobe check the server's. The client's
//! is checked only to find out the client's form. C2 and S2 are never checked, because FFmpeg's C2 would fail.

use bytes::{Buf, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Bytes of C1, S1, C2 and S2.
pub const PACKET_LEN: usize = 1536;

const VERSION: u8 = 3;
const DIGEST: usize = 32;

/// An error of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The first byte is not version 3. The peer uses another protocol, or encrypted RTMPE (6).
    #[error("the connection starts with {:#04x}, not with RTMP version 3{}", .0, protocol_of(*.0))]
    Version(u8),
}

/// Returns what a first byte means in protocols that clients confuse with RTMP.
fn protocol_of(first: u8) -> &'static str {
    match first {
        0x16 => ": the client uses TLS, RTMPS has another port",
        b'A'..=b'Z' => ": the client uses HTTP, which has another port",
        6 | 8 | 9 => ": encrypted RTMP (RTMPE) is not supported, RTMPS is",
        _ => "",
    }
}

/// The server's side.
#[derive(Debug)]
pub struct ServerHandshake {
    answered: bool,
}

impl ServerHandshake {
    /// Returns a handshake that waits for C0 and C1.
    #[allow(
        clippy::new_without_default,
        reason = "a handshake has a beginning and no default"
    )]
    pub fn new() -> Self {
        Self { answered: false }
    }

    /// Takes the client's bytes and appends the response to `out`. Returns true when the handshake is complete.
    ///
    /// # Errors
    /// When the client does not use RTMP.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<bool, HandshakeError> {
        if !self.answered {
            let Some(c1) = version_and_packet(input)? else {
                return Ok(false);
            };
            let (s1, s2) = server_packets(&c1);
            out.extend_from_slice(&[VERSION]);
            out.extend_from_slice(&s1);
            out.extend_from_slice(&s2);
            self.answered = true;
        }
        Ok(take_packet(input).is_some())
    }
}

/// The client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    c1: HandshakePacket,
    answered: bool,
}

impl ClientHandshake {
    /// Appends C0 and C1 to `out`. `digest` offers the digest form. A server can respond in either form.
    pub fn new(digest: bool, out: &mut BytesMut) -> Self {
        let mut c1 = random_packet([0; 4]);
        if digest {
            c1 = random_packet(CLIENT_VERSION);
            sign(
                &mut c1,
                DigestScheme::DigestFirst,
                prefix(&PLAYER_KEY, PLAYER_TEXT),
            );
        }
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&c1);
        Self {
            c1,
            answered: false,
        }
    }

    /// Takes the server's bytes and appends C2 to `out`. Returns true when the handshake is complete.
    ///
    /// # Errors
    /// When the server does not use RTMP.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<bool, HandshakeError> {
        if !self.answered {
            let Some(s1) = version_and_packet(input)? else {
                return Ok(false);
            };
            let offered = four_bytes(&self.c1, 4) == CLIENT_VERSION;
            let key = prefix(&SERVER_KEY, SERVER_TEXT);
            let digest = DigestScheme::ALL.into_iter().filter(|_| offered);
            let digest = digest
                .filter_map(|scheme| verified(&s1, scheme, key))
                .next();
            out.extend_from_slice(&match digest {
                Some(digest) => signed_answer(&PLAYER_KEY, &digest),
                None => s1,
            });
            self.answered = true;
        }
        Ok(take_packet(input).is_some())
    }
}

type HandshakePacket = [u8; PACKET_LEN];
type Digest = [u8; DIGEST];

/// Returns S1 and S2. The form is the client's: digest if C1 has a valid one, simple otherwise.
fn server_packets(c1: &HandshakePacket) -> (HandshakePacket, HandshakePacket) {
    let key = prefix(&PLAYER_KEY, PLAYER_TEXT);
    // A client without a version has no digest. nginx-rtmp does the same.
    let offered = four_bytes(c1, 4) != [0; 4];
    for scheme in DigestScheme::ALL.into_iter().filter(|_| offered) {
        if let Some(digest) = verified(c1, scheme, key) {
            let mut s1 = random_packet(SERVER_VERSION);
            sign(&mut s1, scheme, prefix(&SERVER_KEY, SERVER_TEXT));
            return (s1, signed_answer(&SERVER_KEY, &digest));
        }
    }
    // A version of zero means that there is no digest. S2 echoes C1.
    (random_packet([0; 4]), *c1)
}

/// The position of the digest: after its offset in the first or the second half of the packet.
#[derive(Clone, Copy)]
enum DigestScheme {
    /// FFmpeg and Flash 10 use it.
    DigestFirst,
    /// Flash 9 and some encoders use it.
    KeyFirst,
}

impl DigestScheme {
    const ALL: [Self; 2] = [Self::DigestFirst, Self::KeyFirst];

    fn digest_at(self, packet: &HandshakePacket) -> usize {
        let offset_at = match self {
            Self::DigestFirst => 8,
            Self::KeyFirst => 8 + HALF,
        };
        let offset = four_bytes(packet, offset_at).map(usize::from);
        offset.iter().sum::<usize>() % (HALF - 4 - DIGEST) + offset_at + 4
    }
}

/// Bytes of the key block and of the digest block. Each has an offset (4 bytes) and random bytes around its content.
const HALF: usize = 764;

/// Returns the digest in `packet`, if it is valid.
fn verified(packet: &HandshakePacket, scheme: DigestScheme, key: &[u8]) -> Option<Digest> {
    let (before, digest, after) = around_digest(packet, scheme)?;
    (hmac(key, &[before, after]) == digest).then_some(digest)
}

fn sign(packet: &mut HandshakePacket, scheme: DigestScheme, key: &[u8]) {
    let at = scheme.digest_at(packet);
    let digest =
        around_digest(packet, scheme).map(|(before, _, after)| hmac(key, &[before, after]));
    if let (Some(digest), Some(place)) = (digest, packet.get_mut(at..at + DIGEST)) {
        place.copy_from_slice(&digest);
    }
}

fn around_digest(packet: &HandshakePacket, scheme: DigestScheme) -> Option<(&[u8], Digest, &[u8])> {
    let (before, rest) = packet.split_at_checked(scheme.digest_at(packet))?;
    let (digest, after) = rest.split_first_chunk()?;
    Some((before, *digest, after))
}

/// Returns C2 or S2: random bytes, signed with a key that is derived from the peer's digest.
fn signed_answer(key: &[u8], digest: &Digest) -> HandshakePacket {
    let mut packet = [0; PACKET_LEN];
    rand::fill(&mut packet[..]);
    let key = hmac(key, &[digest]);
    if let Some((text, place)) = packet.split_last_chunk_mut::<DIGEST>() {
        *place = hmac(&key, &[text]);
    }
    packet
}

/// Returns a packet with timestamp 0, `version` and random bytes.
fn random_packet(version: [u8; 4]) -> HandshakePacket {
    let mut packet = [0; PACKET_LEN];
    if let Some((fields, random)) = packet.split_first_chunk_mut::<8>() {
        let [v0, v1, v2, v3] = version;
        *fields = [0, 0, 0, 0, v0, v1, v2, v3];
        rand::fill(random);
    }
    packet
}

fn hmac(key: &[u8], texts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    texts.iter().for_each(|text| mac.update(text));
    mac.finalize().into_bytes().into()
}

fn prefix(key: &[u8], len: usize) -> &[u8] {
    key.get(..len).unwrap_or(key)
}

fn four_bytes(packet: &HandshakePacket, at: usize) -> [u8; 4] {
    let found = packet.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or_default()
}

/// Takes C0 and C1, or S0 and S1.
fn version_and_packet(input: &mut BytesMut) -> Result<Option<HandshakePacket>, HandshakeError> {
    match input.first() {
        Some(&VERSION) if input.len() > PACKET_LEN => {
            input.advance(1);
            Ok(take_packet(input))
        }
        Some(&VERSION) | None => Ok(None),
        Some(&other) => Err(HandshakeError::Version(other)),
    }
}

fn take_packet(input: &mut BytesMut) -> Option<HandshakePacket> {
    let packet = *input.first_chunk::<PACKET_LEN>()?;
    input.advance(PACKET_LEN);
    Some(packet)
}

/// The version that FFmpeg sends: Flash Player 9.0.124.2.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

/// Not zero, because FFmpeg checks the digest only if the first number is at least 3.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];

/// Bytes of text before the random part that both keys share. The text is the key of digests.
const SERVER_TEXT: usize = 36;
const PLAYER_TEXT: usize = 30;

const SERVER_KEY: [u8; 68] = *b"Genuine Adobe Flash Media Server 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";

const PLAYER_KEY: [u8; 62] = *b"Genuine Adobe Flash Player 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs both sides, the bytes in pieces of `step`; returns what each sent.
    fn run_handshake(digest: bool, step: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        let mut client = ClientHandshake::new(digest, &mut to_server);
        let mut server = ServerHandshake::new();
        let (mut sent, mut answered) = (Vec::new(), Vec::new());
        let (mut at_server, mut at_client) = (BytesMut::new(), BytesMut::new());
        let (mut server_done, mut client_done) = (false, false);
        while !server_done || !client_done {
            let piece = to_server.split_to(step.min(to_server.len()));
            sent.extend_from_slice(&piece);
            at_server.unsplit(piece);
            server_done = server_done || server.receive(&mut at_server, &mut to_client).unwrap();
            let piece = to_client.split_to(step.min(to_client.len()));
            answered.extend_from_slice(&piece);
            at_client.unsplit(piece);
            client_done = client_done || client.receive(&mut at_client, &mut to_server).unwrap();
        }
        assert!(at_server.is_empty() && at_client.is_empty());
        (sent, answered)
    }

    #[test]
    fn both_forms_complete_however_bytes_are_split() {
        for digest in [false, true] {
            for step in [1, 7, 1536, 1537, 10_000] {
                let (sent, answered) = run_handshake(digest, step);
                assert_eq!(
                    (sent.len(), answered.len()),
                    (1 + 2 * PACKET_LEN, 1 + 2 * PACKET_LEN)
                );
            }
        }
    }

    #[test]
    fn simple_form_echoes() {
        let (sent, answered) = run_handshake(false, 10_000);
        assert_eq!(answered[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            answered[1 + PACKET_LEN..],
            sent[1..1 + PACKET_LEN],
            "S2 is C1"
        );
        assert_eq!(
            sent[1 + PACKET_LEN..],
            answered[1..1 + PACKET_LEN],
            "C2 is S1"
        );
    }

    #[test]
    fn digest_form_is_signed_as_ffmpeg_checks_it() {
        let (sent, answered) = run_handshake(true, 10_000);
        let packet = |bytes: &[u8], at: usize| -> HandshakePacket {
            bytes[at..at + PACKET_LEN].try_into().unwrap()
        };
        let (c1, c2) = (packet(&sent, 1), packet(&sent, 1 + PACKET_LEN));
        let (s1, s2) = (packet(&answered, 1), packet(&answered, 1 + PACKET_LEN));
        assert!(s1[4] >= 3);
        let c1_digest = verified(&c1, DigestScheme::DigestFirst, &PLAYER_KEY[..30]).unwrap();
        let s1_digest = verified(&s1, DigestScheme::DigestFirst, &SERVER_KEY[..36]).unwrap();
        assert_eq!(
            s2[PACKET_LEN - 32..],
            hmac(&hmac(&SERVER_KEY, &[&c1_digest]), &[&s2[..PACKET_LEN - 32]])
        );
        assert_eq!(
            c2[PACKET_LEN - 32..],
            hmac(&hmac(&PLAYER_KEY, &[&s1_digest]), &[&c2[..PACKET_LEN - 32]])
        );
    }

    #[test]
    fn client_with_key_first_gets_the_same_scheme() {
        let mut c1 = random_packet(CLIENT_VERSION);
        sign(&mut c1, DigestScheme::KeyFirst, &PLAYER_KEY[..30]);
        let (s1, _) = server_packets(&c1);
        assert!(verified(&s1, DigestScheme::KeyFirst, &SERVER_KEY[..36]).is_some());
    }

    #[test]
    fn invalid_digest_means_simple_form() {
        let c1 = random_packet(CLIENT_VERSION);
        let (s1, s2) = server_packets(&c1);
        assert_eq!(s1[4..8], [0; 4]);
        assert_eq!(s2, c1);
    }

    #[test]
    fn another_protocol_is_recognized_by_its_first_byte() {
        let mut server = ServerHandshake::new();
        let refused = server.receive(&mut BytesMut::from("GET / HTTP/1.1"), &mut BytesMut::new());
        assert_eq!(refused, Err(HandshakeError::Version(b'G')));
    }

    #[test]
    fn digest_stays_inside_its_block_for_any_offset() {
        let packet = [0xFF; PACKET_LEN];
        assert!(DigestScheme::DigestFirst.digest_at(&packet) + DIGEST <= 8 + HALF);
        assert!(DigestScheme::KeyFirst.digest_at(&packet) + DIGEST <= PACKET_LEN);
    }
}
