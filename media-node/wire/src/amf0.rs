//! AMF 0: the values of RTMP commands and stream metadata.
//!
//! Decoding limits the depth, the number of values and the length of strings, whatever sizes the bytes announce.

use thiserror::Error;

use crate::fields::take;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A string of any length, or an XML document. Bytes that are not UTF-8 are replaced.
    String(String),
    /// Properties in their order. The class name of a typed object is dropped.
    Object(Properties),
    /// Properties in their order, encoded as an array.
    EcmaArray(Properties),
    /// Values by position.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970.
    Date(f64),
    /// The null value.
    Null,
    /// The undefined value. Unsupported values decode to it.
    Undefined,
}

/// Names and values in their order.
pub type Properties = Vec<(String, Value)>;

/// An error of AMF 0 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Amf0Error {
    /// The bytes end within a value.
    #[error("the value is truncated")]
    Truncated,
    /// The type is unknown.
    #[error("a value has the unknown type {0:#04x}")]
    UnknownType(u8),
    /// The values are nested deeper than [`MAX_DEPTH`].
    #[error("values are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// There are more than [`MAX_VALUES`] values.
    #[error("there are more than {MAX_VALUES} values")]
    TooMany,
    /// A string is longer than [`MAX_STRING`].
    #[error("a string of {0} bytes is above the limit of {MAX_STRING}")]
    StringTooLong(u32),
}

/// The maximum nesting. Metadata has 2 or 3. Without a limit a peer could overflow the stack.
pub const MAX_DEPTH: usize = 16;

/// The maximum number of values in one message. Real metadata has 10 to 50. One value costs up to 60 bytes of memory for
/// one byte on the wire.
pub const MAX_VALUES: usize = 4096;

/// The maximum length of a string in bytes. Metadata with XMP reaches some 100 KiB.
pub const MAX_STRING: u32 = 1 << 20;

const NUMBER: u8 = 0x00;
const BOOLEAN: u8 = 0x01;
const STRING: u8 = 0x02;
const OBJECT: u8 = 0x03;
const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
const STRICT_ARRAY: u8 = 0x0A;
const DATE: u8 = 0x0B;
const LONG_STRING: u8 = 0x0C;
const UNSUPPORTED: u8 = 0x0D;
const XML_DOCUMENT: u8 = 0x0F;
const TYPED_OBJECT: u8 = 0x10;

impl Value {
    /// Returns the property `name` of an object or array.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let properties = self.properties()?;
        properties.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// Returns the properties of an object or array.
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => Some(properties),
            _ => None,
        }
    }

    /// Returns the text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value of a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// Appends the value's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Boolean(boolean) => out.extend_from_slice(&[BOOLEAN, u8::from(*boolean)]),
            Self::String(text) => encode_text(text, out),
            Self::Object(properties) => {
                out.push(OBJECT);
                encode_properties(properties, out);
            }
            Self::EcmaArray(properties) => {
                out.push(ECMA_ARRAY);
                out.extend_from_slice(&len_u32(properties.len()).to_be_bytes());
                encode_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.push(STRICT_ARRAY);
                out.extend_from_slice(&len_u32(values.len()).to_be_bytes());
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Date(milliseconds) => {
                out.push(DATE);
                out.extend_from_slice(&milliseconds.to_be_bytes());
                out.extend_from_slice(&[0, 0]); // time zone: reserved (2.13)
            }
            Self::Null => out.push(NULL),
            Self::Undefined => out.push(UNDEFINED),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// Returns the bytes of `values`, one after the other.
pub fn encode_all(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.encode(&mut out));
    out
}

fn encode_text(text: &str, out: &mut Vec<u8>) {
    match u16::try_from(text.len()) {
        Ok(len) => {
            out.push(STRING);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(LONG_STRING);
            out.extend_from_slice(&len_u32(text.len()).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn encode_properties(properties: &Properties, out: &mut Vec<u8>) {
    for (name, value) in properties {
        let name = name.get(..name.floor_char_boundary(usize::from(u16::MAX)));
        let name = name.unwrap_or_default();
        let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(name.as_bytes());
        value.encode(out);
    }
    out.extend_from_slice(&[0, 0, OBJECT_END]);
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Returns all values of `bytes`.
///
/// # Errors
/// When the bytes are not AMF 0 or exceed a limit.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut decoder = Decoder::new(bytes);
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(decoder.value()?);
    }
    Ok(values)
}

/// A decoder that returns values one by one. The limits hold for all of them together.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Decoder<'a> {
    /// Returns a decoder of a message's body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            values_left: MAX_VALUES,
        }
    }

    /// Returns the bytes that are not decoded yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns whether everything is decoded.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the next value.
    ///
    /// # Errors
    /// When the bytes are not AMF 0 or exceed a limit.
    pub fn value(&mut self) -> Result<Value, Amf0Error> {
        self.value_at(MAX_DEPTH)
    }

    fn value_at(&mut self, depth_left: usize) -> Result<Value, Amf0Error> {
        let depth_left = depth_left.checked_sub(1).ok_or(Amf0Error::TooDeep)?;
        let left = self.values_left.checked_sub(1);
        self.values_left = left.ok_or(Amf0Error::TooMany)?;
        let [kind] = self.take()?;
        Ok(match kind {
            NUMBER => Value::Number(f64::from_be_bytes(self.take()?)),
            BOOLEAN => {
                let [boolean] = self.take()?;
                Value::Boolean(boolean != 0)
            }
            STRING => Value::String(self.text()?),
            LONG_STRING | XML_DOCUMENT => {
                let len = u32::from_be_bytes(self.take()?);
                Value::String(self.text_of(len)?)
            }
            OBJECT => Value::Object(self.properties(depth_left)?),
            TYPED_OBJECT => {
                self.text()?;
                Value::Object(self.properties(depth_left)?)
            }
            ECMA_ARRAY => {
                // The number of properties is ignored: many encoders get it wrong.
                self.take::<4>()?;
                Value::EcmaArray(self.properties(depth_left)?)
            }
            STRICT_ARRAY => {
                let len = u32::from_be_bytes(self.take()?);
                // Not `with_capacity`, because a peer can announce any length.
                let values = (0..len).map(|_| self.value_at(depth_left));
                Value::StrictArray(values.collect::<Result<_, _>>()?)
            }
            DATE => {
                let milliseconds = f64::from_be_bytes(self.take()?);
                self.take::<2>()?;
                Value::Date(milliseconds)
            }
            NULL => Value::Null,
            UNDEFINED | UNSUPPORTED => Value::Undefined,
            unknown => return Err(Amf0Error::UnknownType(unknown)),
        })
    }

    /// Decodes properties up to the end marker. Some encoders omit the marker at the end of a message.
    fn properties(&mut self, depth_left: usize) -> Result<Properties, Amf0Error> {
        let mut properties = Vec::new();
        while !self.rest.is_empty() {
            let name = self.text()?;
            if name.is_empty() && self.rest.first() == Some(&OBJECT_END) {
                self.take::<1>()?;
                break;
            }
            properties.push((name, self.value_at(depth_left)?));
        }
        Ok(properties)
    }

    fn text(&mut self) -> Result<String, Amf0Error> {
        let len = u16::from_be_bytes(self.take()?);
        self.text_of(len.into())
    }

    fn text_of(&mut self, len: u32) -> Result<String, Amf0Error> {
        if len > MAX_STRING {
            return Err(Amf0Error::StringTooLong(len));
        }
        let split = self.rest.split_at_checked(len as usize);
        let (text, rest) = split.ok_or(Amf0Error::Truncated)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        take(&mut self.rest).ok_or(Amf0Error::Truncated)
    }
}

#[cfg(test)]
mod tests;
