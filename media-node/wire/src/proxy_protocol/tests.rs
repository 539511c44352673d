//! Headers of both versions: valid ones, each malformation, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

/// Returns a header of version 1.
fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

/// Returns a header of version 2.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_START, &[command, family], &length, body].concat()
}

/// Returns addresses and ports as in version 2.
fn binary(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    [octets(source), octets(destination), ports.concat()].concat()
}

fn source(header: &[u8]) -> Option<SocketAddr> {
    let parsed = parse(header).unwrap().expect("a complete header");
    assert_eq!(parsed.length, header.len());
    parsed.source
}

fn error(header: &[u8]) -> ProxyHeaderError {
    parse(header).unwrap_err()
}

fn assert_malformed(header: &[u8]) {
    let error = error(header);
    assert!(
        matches!(error, ProxyHeaderError::Malformed(_)),
        "{:?} is {error}",
        header.escape_ascii().to_string()
    );
}

#[test]
fn version_1_names_the_client() {
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 1935\r\n";
    assert_eq!(source(header), "192.0.2.1:56324".parse().ok());
    let header = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 1935\r\n";
    assert_eq!(source(header), "[2001:db8::1]:56324".parse().ok());
    let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    assert_eq!(source(longest), None);
    assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
}

#[test]
fn version_2_names_the_client() {
    let header = [
        V2_START,                // the twelve bytes of every header
        &[0x21],                 // version 2, command PROXY
        &[0x11],                 // IPv4, stream
        &[0, 12],                // bytes that follow
        &[192, 0, 2, 1],         // source
        &[198, 51, 100, 2],      // destination
        &56324u16.to_be_bytes(), // port of the source
        &1935u16.to_be_bytes(),  // port of the destination
    ]
    .concat();
    assert_eq!(source(&header), "192.0.2.1:56324".parse().ok());
}

#[test]
fn extensions_behind_the_addresses_are_ignored() {
    let addresses = binary(
        "[2001:db8::1]:9".parse().unwrap(),
        "[2001:db8::2]:1935".parse().unwrap(),
    );
    // Type, length and value.
    let extension = [0xEA, 0, 3, 1, 2, 3];
    let header = v2(0x21, 0x21, &[&addresses[..], &extension].concat());
    assert_eq!(source(&header), "[2001:db8::1]:9".parse().ok());
}

#[test]
fn connection_of_the_balancer_itself_has_no_client() {
    assert_eq!(source(&v2(0x20, 0x00, &[])), None);
    let addresses = binary(
        "192.0.2.1:9".parse().unwrap(),
        "192.0.2.2:9".parse().unwrap(),
    );
    assert_eq!(source(&v2(0x20, 0x11, &addresses)), None);
    // Unspecified, a Unix socket, datagrams.
    for family in [0x00, 0x31, 0x12] {
        assert_eq!(source(&v2(0x21, family, &[0; 216])), None);
    }
}

#[test]
fn ipv4_address_in_ipv6_form_is_ipv4() {
    let header = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 9 1935\r\n";
    assert_eq!(source(header), "192.0.2.1:9".parse().ok());
}

#[test]
fn other_protocols_have_no_header() {
    for input in [
        &b"\x03"[..],
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"proxy TCP4 ",
        b"\r\n\r\nGET",
    ] {
        assert_eq!(error(input), ProxyHeaderError::Missing);
    }
}

#[test]
fn malformed_version_1_is_refused() {
    for line in [
        &b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 localhost 192.0.2.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN \xff\r\n",
        b"PROXY \r\n",
    ] {
        assert_malformed(line);
    }
    let endless = [V1_START, &[b'A'; MAX_V1_BYTES]].concat();
    assert_eq!(parse(&endless[..MAX_V1_BYTES - 1]), Ok(None));
    assert_malformed(&endless[..MAX_V1_BYTES]);
}

#[test]
fn malformed_version_2_is_refused() {
    let addresses = [0; 12];
    assert_malformed(&v2(0x11, 0x11, &addresses));
    assert_malformed(&v2(0x22, 0x11, &addresses));
    assert_malformed(&v2(0x21, 0x41, &addresses));
    assert_malformed(&v2(0x21, 0x13, &addresses));
    assert_malformed(&v2(0x21, 0x11, &addresses[..11]));
    assert_malformed(&v2(0x21, 0x21, &[0; 35]));
    let long = v2(0x21, 0x11, &[0; MAX_V2_BYTES - V2_PREFIX + 1]);
    let error = error(&long[..V2_PREFIX]);
    assert_eq!(error, ProxyHeaderError::TooLong(MAX_V2_BYTES + 1));
}

fn pair() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 =
        any::<[(Ipv4Addr, u16); 2]>().prop_map(|[a, b]| (SocketAddr::from(a), SocketAddr::from(b)));
    let v6 =
        any::<[(Ipv6Addr, u16); 2]>().prop_map(|[a, b]| (SocketAddr::from(a), SocketAddr::from(b)));
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn header_is_complete_at_its_last_byte_only(
        (from, to) in pair(), extension in prop::collection::vec(any::<u8>(), 0..64), rest in any::<[u8; 8]>(),
    ) {
        let family = if from.is_ipv4() { 0x11 } else { 0x21 };
        let body = [binary(from, to), extension].concat();
        for header in [v1(from, to), v2(0x21, family, &body)] {
            for end in 0..header.len() {
                prop_assert_eq!(parse(&header[..end]), Ok(None));
            }
            let expected = ProxyHeader {
                source: Some(endpoint(from.ip(), from.port())),
                length: header.len(),
            };
            prop_assert_eq!(parse(&[&header[..], &rest].concat()), Ok(Some(expected)));
        }
    }

}

proptest! {
    // Each case is longer than any header.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_are_decided_on_within_the_limit(start in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 5000)) {
        let start = [&b""[..], V1_START, V2_START][start];
        let input = [start, &bytes].concat();
        match parse(&input) {
            Ok(Some(header)) => prop_assert!(header.length <= MAX_V2_BYTES),
            Ok(None) => prop_assert!(false, "undecided"),
            Err(_) => {}
        }
    }
}
