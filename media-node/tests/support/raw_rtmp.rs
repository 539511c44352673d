//! RTMP, byte by byte, as a client sends it before it has changed the chunk size.

use media_wire::amf0::{self, Value};

/// C0, C1 and C2 of a simple handshake.
pub(crate) const HANDSHAKE: [u8; 3073] = {
    let mut bytes = [0; 3073];
    bytes[0] = 3;
    bytes
};

/// Returns a message in chunks of the initial size.
pub(crate) fn chunks(message_type: u8, body: &[u8]) -> Vec<u8> {
    let [.., high, middle, low] = (body.len() as u64).to_be_bytes();
    let mut bytes = vec![3, 0, 0, 0, high, middle, low, message_type, 0, 0, 0, 0];
    for (index, chunk) in body.chunks(128).enumerate() {
        if index > 0 {
            bytes.push(0xC3);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

/// Returns a command.
pub(crate) fn command(values: &[Value]) -> Vec<u8> {
    chunks(20, &amf0::encode_all(values))
}

/// Returns the command `connect` with these properties.
pub(crate) fn connect(properties: &[(&str, &str)]) -> Vec<u8> {
    let properties = properties.iter();
    let properties = properties.map(|(name, text)| ((*name).to_owned(), Value::from(*text)));
    let object = Value::Object(properties.collect());
    command(&["connect".into(), 1.0.into(), object])
}
