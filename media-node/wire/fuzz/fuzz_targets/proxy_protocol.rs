//! Headers of the PROXY protocol: decided within their limits, the same wherever the bytes are split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use media_wire::proxy_protocol::{MAX_V1_BYTES, MAX_V2_BYTES, parse};

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (start, split, bytes) = input;
    let start = match start % 3 {
        0 => &b""[..],
        1 => b"PROXY TCP6 ",
        _ => b"\r\n\r\n\0\r\nQUIT\n\x21",
    };
    let input = [start, bytes].concat();
    let split = usize::from(split) % (input.len() + 1);
    let (before, whole) = (parse(&input[..split]), parse(&input));
    match whole {
        Ok(Some(header)) => {
            assert!(header.length <= input.len().min(MAX_V2_BYTES));
            assert_eq!(parse(&input[..header.length]), whole);
            assert_eq!(before.map(|header| header.is_some()), Ok(split >= header.length));
        }
        Ok(None) => {
            assert_eq!(before, Ok(None));
            let limit = match input.first() {
                Some(b'P') => MAX_V1_BYTES,
                _ => MAX_V2_BYTES,
            };
            assert!(input.len() < limit);
        }
        Err(_) => assert!(before == Ok(None) || before == whole),
    }
});
