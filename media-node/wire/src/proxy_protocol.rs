//! The header of the PROXY protocol, versions 1 and 2, in which a load balancer names the client whose TCP connection it forwards.
//!
//! The header precedes the first byte of the client, also that of TLS. It is not authenticated, so it must only be accepted from a
//! trusted peer.
//!
//! Specification: "The PROXY protocol, versions 1 & 2" of HAProxy, 2020-03-05.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The maximum bytes of a header of version 1, with the end of its line (section 2.1).
pub const MAX_V1_BYTES: usize = 107;

/// The maximum bytes of a header of version 2 that is accepted. The addresses take up to 232 of them. The rest is for extensions, which
/// name a private endpoint or the client's certificate, and which are ignored.
pub const MAX_V2_BYTES: usize = 4096;

/// First bytes of version 1.
const V1_START: &[u8] = b"PROXY ";

/// First bytes of version 2.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a header of version 2 before its addresses: the first bytes, version and command, family and transport, length.
const V2_PREFIX: usize = 16;

/// A header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Address of the client. `None` where the balancer connects for itself, such as for a health check, or does not know the client.
    pub source: Option<SocketAddr>,
    /// Bytes of the header.
    pub length: usize,
}

/// Reason that bytes are no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The first bytes are those of another protocol.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The header violates the specification.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// The header is longer than [`MAX_V2_BYTES`].
    #[error("a PROXY header of {0} bytes is above the limit of {MAX_V2_BYTES}")]
    TooLong(usize),
}

/// Parses the header at the beginning of `input`. Returns `None` while it is incomplete: all bytes of `input` then belong to it.
///
/// # Errors
/// See [`ProxyHeaderError`]. An error is found before [`MAX_V1_BYTES`], or [`MAX_V2_BYTES`] of version 2, are there.
pub fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let may_be = |start: &[u8]| input.iter().zip(start).all(|(byte, known)| byte == known);
    if may_be(V2_START) {
        version_2(input)
    } else if may_be(V1_START) {
        version_1(input)
    } else {
        Err(ProxyHeaderError::Missing)
    }
}

/// Parses `PROXY TCP4 SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT`, section 2.1.
fn version_1(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let line = input.get(..MAX_V1_BYTES).unwrap_or(input);
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if input.len() < MAX_V1_BYTES {
            Ok(None)
        } else {
            Err(ProxyHeaderError::Malformed("the line has no end"))
        };
    };
    let line = line
        .get(..end)
        .and_then(|line| std::str::from_utf8(line.strip_suffix(b"\r")?).ok())
        .ok_or(ProxyHeaderError::Malformed("the line has no valid end"))?;
    let mut fields = line.split(' ').skip(1);
    let source = match fields.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(endpoints::<Ipv4Addr>(fields)?),
        Some("TCP6") => Some(endpoints::<Ipv6Addr>(fields)?),
        _ => return Err(ProxyHeaderError::Malformed("unknown protocol")),
    };
    Ok(Some(ProxyHeader {
        source,
        length: end + 1,
    }))
}

/// Parses two addresses and two ports. Returns the first of each.
fn endpoints<'a, A>(
    mut fields: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, ProxyHeaderError>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let mut address = || fields.next()?.parse::<A>().ok();
    let addresses = address().zip(address());
    let mut port = || fields.next().and_then(parse_port);
    let ports = port().zip(port());
    match (addresses, ports, fields.next()) {
        (Some((source, _)), Some((port, _)), None) => Ok(endpoint(source, port)),
        _ => Err(ProxyHeaderError::Malformed("an address or port is invalid")),
    }
}

/// Parses a port. Only digits are allowed, without a sign.
fn parse_port(text: &str) -> Option<u16> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

/// Parses a binary header, section 2.2.
fn version_2(input: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(&[.., command, family, high, low]) = input.first_chunk::<V2_PREFIX>() else {
        return Ok(None);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Malformed("unknown version or command")),
    };
    // Unix sockets are 3, datagrams 2.
    if family >> 4 > 3 || family & 0x0F > 2 {
        return Err(ProxyHeaderError::Malformed("unknown family or transport"));
    }
    let length = V2_PREFIX + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_V2_BYTES {
        return Err(ProxyHeaderError::TooLong(length));
    }
    let Some(addresses) = input.get(V2_PREFIX..length) else {
        return Ok(None);
    };
    let too_short = ProxyHeaderError::Malformed("it is too short for its addresses");
    let source = match family {
        _ if is_local => None,
        // TCP: source and destination, then the port of each.
        0x11 => {
            let addresses = addresses.first_chunk().ok_or(too_short)?;
            let &[a, b, c, d, _, _, _, _, high, low, _, _] = addresses;
            let port = u16::from_be_bytes([high, low]);
            Some(endpoint(Ipv4Addr::new(a, b, c, d), port))
        }
        0x21 => {
            let source: &[u8; 16] = addresses.first_chunk().ok_or(too_short)?;
            let addresses: &[u8; 36] = addresses.first_chunk().ok_or(too_short)?;
            let &[.., high, low, _, _] = addresses;
            let port = u16::from_be_bytes([high, low]);
            Some(endpoint(Ipv6Addr::from(*source), port))
        }
        // Not TCP: a proxy that is not obliged to know the client.
        _ => None,
    };
    Ok(Some(ProxyHeader { source, length }))
}

/// Returns an address with an IPv4-mapped IPv6 address as IPv4.
fn endpoint(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into().to_canonical(), port)
}

#[cfg(test)]
mod tests;
