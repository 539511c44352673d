//! Commands (7.2): a name, a transaction, an object and arguments, all AMF 0.

use thiserror::Error;

use crate::amf0::{self, Amf0Error, Decoder, Properties, Value};

/// A command as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// What an answer repeats; 0 when none is wanted.
    pub(crate) transaction: f64,
    /// The command object and, behind it, the arguments.
    pub(crate) values: Vec<Value>,
}

/// Why a message is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A command above the limit.
    #[error("a command of {0} bytes is above the limit of {MAX_COMMAND}")]
    TooLong(usize),
    /// Its values cannot be read.
    #[error("a command's values cannot be read")]
    Values(#[source] Amf0Error),
    /// It does not start with a name.
    #[error("a command without a name")]
    NoName,
}

/// Bytes of a command. `connect` with long URLs and tokens has 2 or 3 KiB.
pub(crate) const MAX_COMMAND: usize = 64 * 1024;

impl Command {
    /// Reads a command. Arguments of an unknown type, or cut off, are taken for absent, with all that follow them.
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
                Err(Amf0Error::UnknownType(_) | Amf0Error::CutOff) => break,
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

    /// The command object.
    pub(crate) fn object(&self) -> &Value {
        self.values.first().unwrap_or(&Value::Null)
    }

    /// An argument, counted behind the command object.
    pub(crate) fn argument(&self, number: usize) -> Option<&Value> {
        self.values.get(number + 1)
    }

    /// An argument that is a text.
    pub(crate) fn text(&self, number: usize) -> Option<&str> {
        self.argument(number).and_then(Value::as_str)
    }
}

/// The bytes of a command.
pub(crate) fn encode(name: &str, transaction: f64, values: &[Value]) -> Vec<u8> {
    let mut bytes = amf0::encode_all(&[name.into(), transaction.into()]);
    values.iter().for_each(|value| value.encode(&mut bytes));
    bytes
}

/// An object that says how something went (7.2.2).
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
    fn a_command_has_name_transaction_object_and_arguments() {
        let bytes = encode("publish", 5.0, &[Value::Null, "cam".into(), "live".into()]);
        let mut expected = Vec::new();
        expected.extend(b"\x02\0\x07publish"); // name
        expected.extend(b"\x00\x40\x14\0\0\0\0\0\0"); // transaction 5
        expected.extend(b"\x05"); // no object
        expected.extend(b"\x02\0\x03cam\x02\0\x04live"); // arguments
        assert_eq!(bytes, expected);
        let command = Command::decode(&bytes).unwrap();
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
    fn arguments_that_cannot_be_read_are_absent() {
        let mut bytes = encode("createStream", 2.0, &[Value::Null]);
        bytes.extend(b"\x11\x0A\x0B\x01");
        let command = Command::decode(&bytes).unwrap();
        assert_eq!(
            (command.object(), command.argument(0)),
            (&Value::Null, None)
        );
    }

    #[test]
    fn a_command_may_lack_everything_but_its_name() {
        let command = Command::decode(b"\x02\0\x01x").unwrap();
        assert_eq!((command.transaction, command.values.len()), (0.0, 0));
        assert_eq!(Command::decode(b"\x05"), Err(CommandError::NoName));
        assert_eq!(
            Command::decode(b""),
            Err(CommandError::Values(Amf0Error::CutOff))
        );
    }

    #[test]
    fn limits_hold_for_commands() {
        let mut deep = encode("x", 1.0, &[]);
        deep.extend(b"\x0A\0\0\0\x01".repeat(20));
        assert_eq!(
            Command::decode(&deep),
            Err(CommandError::Values(Amf0Error::TooDeep))
        );
        assert_eq!(
            Command::decode(&[5; MAX_COMMAND + 1]),
            Err(CommandError::TooLong(MAX_COMMAND + 1))
        );
    }
}
