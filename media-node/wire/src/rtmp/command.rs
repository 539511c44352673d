//! Commands (7.2): a name, a transaction, an object and arguments, all AMF 0.

use thiserror::Error;

use crate::amf0::{self, Amf0Error, Decoder, Properties, Value};

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RtmpCommand {
    pub(crate) name: String,
    /// The number that the response repeats, or 0 if no response is expected.
    pub(crate) transaction: f64,
    /// The command object and the arguments after it.
    pub(crate) values: Vec<Value>,
}

/// An error of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The command is larger than the limit.
    #[error("a command of {0} bytes is above the limit of {MAX_COMMAND}")]
    TooLong(usize),
    /// The values cannot be decoded.
    #[error("a command's values cannot be read")]
    Values(#[source] Amf0Error),
    /// The command does not start with a name.
    #[error("a command without a name")]
    NoName,
}

/// The maximum bytes of a command. `connect` with long URLs and tokens has 2 or 3 KiB.
pub(crate) const MAX_COMMAND: usize = 64 * 1024;

impl RtmpCommand {
    /// Decodes a command. An argument that is truncated or of an unknown type counts as absent, with all arguments after it.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, CommandError> {
        if payload.len() > MAX_COMMAND {
            return Err(CommandError::TooLong(payload.len()));
        }
        let mut decoder = Decoder::new(payload);
        let Value::String(name) = decoder.value().map_err(CommandError::Values)? else {
            return Err(CommandError::NoName);
        };
        let mut values = Vec::new();
        while !decoder.is_empty() {
            match decoder.value() {
                Ok(value) => values.push(value),
                Err(Amf0Error::UnknownType(_) | Amf0Error::Truncated) => break,
                Err(error) => return Err(CommandError::Values(error)),
            }
        }
        let transaction = match values.first() {
            Some(Value::Number(number)) => {
                let number = *number;
                values.remove(0);
                number
            }
            _ => 0.0,
        };
        Ok(Self {
            name,
            transaction,
            values,
        })
    }

    /// Returns the command object.
    pub(crate) fn object(&self) -> &Value {
        self.values.first().unwrap_or(&Value::Null)
    }

    /// Returns an argument, counted from the one after the command object.
    pub(crate) fn argument(&self, number: usize) -> Option<&Value> {
        self.values.get(number + 1)
    }

    /// Returns an argument that is a string.
    pub(crate) fn text(&self, number: usize) -> Option<&str> {
        self.argument(number).and_then(Value::as_str)
    }
}

/// Returns the bytes of a command.
pub(crate) fn encode(name: &str, transaction: f64, values: &[Value]) -> Vec<u8> {
    let mut bytes = amf0::encode_all(&[name.into(), transaction.into()]);
    values.iter().for_each(|value| value.encode(&mut bytes));
    bytes
}

/// Returns an information object (7.2.2).
pub(crate) fn status(level: &str, code: &str, description: &str) -> Value {
    object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", description.into()),
    ])
}

pub(crate) fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    Value::Object(self::properties(properties))
}

pub(crate) fn properties<const N: usize>(properties: [(&str, Value); N]) -> Properties {
    let owned = properties.map(|(name, value)| (name.to_owned(), value));
    owned.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_has_name_transaction_object_and_arguments() {
        let bytes = encode("publish", 5.0, &[Value::Null, "cam".into(), "live".into()]);
        let mut expected = Vec::new();
        expected.extend(b"\x02\0\x07publish"); // name
        expected.extend(b"\x00\x40\x14\0\0\0\0\0\0"); // transaction 5
        expected.extend(b"\x05"); // no object
        expected.extend(b"\x02\0\x03cam\x02\0\x04live"); // arguments
        assert_eq!(bytes, expected);
        let command = RtmpCommand::decode(&bytes).unwrap();
        assert_eq!(
            (command.name.as_str(), command.transaction),
            ("publish", 5.0)
        );
        assert_eq!(
            (command.text(0), command.text(1), command.text(2)),
            (Some("cam"), Some("live"), None)
        );
    }

    #[test]
    fn invalid_arguments_are_absent() {
        let mut bytes = encode("createStream", 2.0, &[Value::Null]);
        bytes.extend(b"\x11\x0A\x0B\x01");
        let command = RtmpCommand::decode(&bytes).unwrap();
        assert_eq!(
            (command.object(), command.argument(0)),
            (&Value::Null, None)
        );
    }

    #[test]
    fn command_may_lack_everything_but_its_name() {
        let command = RtmpCommand::decode(b"\x02\0\x01x").unwrap();
        assert_eq!((command.transaction, command.values.len()), (0.0, 0));
        assert_eq!(RtmpCommand::decode(b"\x05"), Err(CommandError::NoName));
        assert_eq!(
            RtmpCommand::decode(b""),
            Err(CommandError::Values(Amf0Error::Truncated))
        );
    }

    #[test]
    fn commands_are_limited() {
        let mut deep = encode("x", 1.0, &[]);
        deep.extend(b"\x0A\0\0\0\x01".repeat(20));
        assert_eq!(
            RtmpCommand::decode(&deep),
            Err(CommandError::Values(Amf0Error::TooDeep))
        );
        assert_eq!(
            RtmpCommand::decode(&[5; MAX_COMMAND + 1]),
            Err(CommandError::TooLong(MAX_COMMAND + 1))
        );
    }
}
