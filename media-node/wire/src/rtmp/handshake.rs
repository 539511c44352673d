//! The handshake (5.2), and the digest form that Flash and FFmpeg use.
//!
//! The digest form hides an HMAC in the 1536 bytes. FFmpeg, VLC's and Adobe's players check the server's; we check the
//! client's only to find out which form it speaks. Nobody's last packet is checked: FFmpeg's would fail.

use bytes::{Buf, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Bytes of C1, S1, C2 and S2.
pub const PACKET: usize = 1536;

const VERSION: u8 = 3;
const DIGEST: usize = 32;

/// Why there was no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The first byte is not RTMP's version 3: another protocol, or encrypted RTMPE (6).
    #[error("the connection starts with {0:#04x}, not with RTMP version 3")]
    Version(u8),
}

/// The accepting side.
#[derive(Debug)]
pub struct ServerHandshake {
    answered: bool,
}

impl ServerHandshake {
    /// Waits for C0 and C1.
    #[allow(
        clippy::new_without_default,
        reason = "a handshake is begun, not defaulted"
    )]
    pub fn new() -> Self {
        Self { answered: false }
    }

    /// Takes the client's bytes, appends the answer to `out`; true when the handshake is over.
    ///
    /// # Errors
    /// When the client does not speak RTMP.
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

/// The dialling side.
#[derive(Debug)]
pub struct ClientHandshake {
    c1: Packet,
    answered: bool,
}

impl ClientHandshake {
    /// Appends C0 and C1 to `out`. `digest` is the form to offer; a server may answer either.
    pub fn new(digest: bool, out: &mut BytesMut) -> Self {
        let mut c1 = random_packet([0; 4]);
        if digest {
            c1 = random_packet(CLIENT_VERSION);
            sign(
                &mut c1,
                Scheme::DigestFirst,
                first(&PLAYER_KEY, PLAYER_TEXT),
            );
        }
        out.extend_from_slice(&[VERSION]);
        out.extend_from_slice(&c1);
        Self {
            c1,
            answered: false,
        }
    }

    /// Takes the server's bytes, appends C2 to `out`; true when the handshake is over.
    ///
    /// # Errors
    /// When the server does not speak RTMP.
    pub fn receive(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<bool, HandshakeError> {
        if !self.answered {
            let Some(s1) = version_and_packet(input)? else {
                return Ok(false);
            };
            let offered = read(&self.c1, 4) == CLIENT_VERSION;
            let key = first(&SERVER_KEY, SERVER_TEXT);
            let digest = Scheme::ALL.into_iter().filter(|_| offered);
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

type Packet = [u8; PACKET];
type Digest = [u8; DIGEST];

/// S1 and S2. The form is the client's: digest if C1 carries a right one, simple otherwise.
fn server_packets(c1: &Packet) -> (Packet, Packet) {
    let key = first(&PLAYER_KEY, PLAYER_TEXT);
    // As nginx-rtmp does: a client that says no version has no digest.
    let offered = read(c1, 4) != [0; 4];
    for scheme in Scheme::ALL.into_iter().filter(|_| offered) {
        if let Some(digest) = verified(c1, scheme, key) {
            let mut s1 = random_packet(SERVER_VERSION);
            sign(&mut s1, scheme, first(&SERVER_KEY, SERVER_TEXT));
            return (s1, signed_answer(&SERVER_KEY, &digest));
        }
    }
    // Zeros where the version would stand say that there is no digest; S2 echoes C1.
    (random_packet([0; 4]), *c1)
}

/// Where the digest stands: behind its offset in the first or the second half of the packet.
#[derive(Clone, Copy)]
enum Scheme {
    /// What FFmpeg and Flash 10 send.
    DigestFirst,
    /// What Flash 9 and some encoders send.
    KeyFirst,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::DigestFirst, Self::KeyFirst];

    fn digest_at(self, packet: &Packet) -> usize {
        let offset_at = match self {
            Self::DigestFirst => 8,
            Self::KeyFirst => 8 + HALF,
        };
        let offset: usize = read(packet, offset_at).into_iter().map(usize::from).sum();
        offset % (HALF - 4 - DIGEST) + offset_at + 4
    }
}

/// Bytes of the key block and of the digest block: each has its offset (4 bytes) and the place to hide in.
const HALF: usize = 764;

/// The digest in `packet`, if it is the right one.
fn verified(packet: &Packet, scheme: Scheme, key: &[u8]) -> Option<Digest> {
    let (before, digest, behind) = around_digest(packet, scheme)?;
    (hmac(key, &[before, behind]) == digest).then_some(digest)
}

fn sign(packet: &mut Packet, scheme: Scheme, key: &[u8]) {
    let at = scheme.digest_at(packet);
    let digest =
        around_digest(packet, scheme).map(|(before, _, behind)| hmac(key, &[before, behind]));
    if let (Some(digest), Some(place)) = (digest, packet.get_mut(at..at + DIGEST)) {
        place.copy_from_slice(&digest);
    }
}

fn around_digest(packet: &Packet, scheme: Scheme) -> Option<(&[u8], Digest, &[u8])> {
    let (before, rest) = packet.split_at_checked(scheme.digest_at(packet))?;
    let (digest, behind) = rest.split_first_chunk()?;
    Some((before, *digest, behind))
}

/// C2 or S2: random bytes, signed with a key that is made of the other side's digest.
fn signed_answer(key: &[u8], digest: &Digest) -> Packet {
    let mut packet = [0; PACKET];
    rand::fill(&mut packet[..]);
    let key = hmac(key, &[digest]);
    if let Some((text, place)) = packet.split_last_chunk_mut::<DIGEST>() {
        *place = hmac(&key, &[text]);
    }
    packet
}

/// Time 0, `version`, random bytes.
fn random_packet(version: [u8; 4]) -> Packet {
    let mut packet = [0; PACKET];
    if let Some((head, random)) = packet.split_first_chunk_mut::<8>() {
        let [v0, v1, v2, v3] = version;
        *head = [0, 0, 0, 0, v0, v1, v2, v3];
        rand::fill(random);
    }
    packet
}

fn hmac(key: &[u8], texts: &[&[u8]]) -> Digest {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    texts.iter().for_each(|text| mac.update(text));
    mac.finalize().into_bytes().into()
}

fn first(key: &[u8], len: usize) -> &[u8] {
    key.get(..len).unwrap_or(key)
}

fn read(packet: &Packet, at: usize) -> [u8; 4] {
    let found = packet.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().unwrap_or_default()
}

/// C0 and C1, or S0 and S1.
fn version_and_packet(input: &mut BytesMut) -> Result<Option<Packet>, HandshakeError> {
    match input.first() {
        Some(&VERSION) if input.len() > PACKET => {
            input.advance(1);
            Ok(take_packet(input))
        }
        Some(&VERSION) | None => Ok(None),
        Some(&other) => Err(HandshakeError::Version(other)),
    }
}

fn take_packet(input: &mut BytesMut) -> Option<Packet> {
    let packet = *input.first_chunk::<PACKET>()?;
    input.advance(PACKET);
    Some(packet)
}

/// Flash Player 9.0.124.2, as FFmpeg says.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

/// Not zero: FFmpeg checks the digest only of servers whose first number is at least 3.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];

/// Bytes of text in front of the shared random part: the key of digests.
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
    fn shake(digest: bool, step: usize) -> (Vec<u8>, Vec<u8>) {
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
    fn both_forms_complete_however_the_bytes_are_split() {
        for digest in [false, true] {
            for step in [1, 7, 1536, 1537, 10_000] {
                let (sent, answered) = shake(digest, step);
                assert_eq!(
                    (sent.len(), answered.len()),
                    (1 + 2 * PACKET, 1 + 2 * PACKET)
                );
            }
        }
    }

    #[test]
    fn the_simple_form_echoes() {
        let (sent, answered) = shake(false, 10_000);
        assert_eq!(answered[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answered[1 + PACKET..], sent[1..1 + PACKET], "S2 is C1");
        assert_eq!(sent[1 + PACKET..], answered[1..1 + PACKET], "C2 is S1");
    }

    #[test]
    fn the_digest_form_is_signed_as_ffmpeg_checks_it() {
        let (sent, answered) = shake(true, 10_000);
        let packet =
            |bytes: &[u8], at: usize| -> Packet { bytes[at..at + PACKET].try_into().unwrap() };
        let (c1, c2) = (packet(&sent, 1), packet(&sent, 1 + PACKET));
        let (s1, s2) = (packet(&answered, 1), packet(&answered, 1 + PACKET));
        assert!(s1[4] >= 3);
        let c1_digest = verified(&c1, Scheme::DigestFirst, &PLAYER_KEY[..30]).unwrap();
        let s1_digest = verified(&s1, Scheme::DigestFirst, &SERVER_KEY[..36]).unwrap();
        assert_eq!(
            s2[PACKET - 32..],
            hmac(&hmac(&SERVER_KEY, &[&c1_digest]), &[&s2[..PACKET - 32]])
        );
        assert_eq!(
            c2[PACKET - 32..],
            hmac(&hmac(&PLAYER_KEY, &[&s1_digest]), &[&c2[..PACKET - 32]])
        );
    }

    #[test]
    fn a_client_with_its_key_first_is_answered_alike() {
        let mut c1 = random_packet(CLIENT_VERSION);
        sign(&mut c1, Scheme::KeyFirst, &PLAYER_KEY[..30]);
        let (s1, _) = server_packets(&c1);
        assert!(verified(&s1, Scheme::KeyFirst, &SERVER_KEY[..36]).is_some());
    }

    #[test]
    fn a_wrong_digest_means_the_simple_form() {
        let c1 = random_packet(CLIENT_VERSION);
        let (s1, s2) = server_packets(&c1);
        assert_eq!(s1[4..8], [0; 4]);
        assert_eq!(s2, c1);
    }

    #[test]
    fn another_protocol_is_told_by_its_first_byte() {
        let mut server = ServerHandshake::new();
        let refused = server.receive(&mut BytesMut::from("GET / HTTP/1.1"), &mut BytesMut::new());
        assert_eq!(refused, Err(HandshakeError::Version(b'G')));
    }

    #[test]
    fn the_digest_stays_inside_of_its_block_whatever_the_offset_says() {
        let packet = [0xFF; PACKET];
        assert!(Scheme::DigestFirst.digest_at(&packet) + DIGEST <= 8 + HALF);
        assert!(Scheme::KeyFirst.digest_at(&packet) + DIGEST <= PACKET);
    }
}
