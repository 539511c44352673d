//! AMF 0: the values of RTMP's commands and of a stream's metadata.
//!
//! Decoding is bounded in depth, in the number of values and in the length of texts, whatever the bytes announce.

use thiserror::Error;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double.
    Number(f64),
    /// A truth value.
    Boolean(bool),
    /// A text of any length; XML documents are texts, too. What is not UTF-8 was replaced.
    String(String),
    /// Properties in their order; typed objects have lost their class.
    Object(Properties),
    /// Properties in their order, announced as an array.
    EcmaArray(Properties),
    /// Values by position.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970.
    Date(f64),
    /// Nothing.
    Null,
    /// Not even nothing. Unsupported values are this, too.
    Undefined,
}

/// Names and values in their order.
pub type Properties = Vec<(String, Value)>;

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Amf0Error {
    /// The bytes end inside of a value.
    #[error("the value is cut off")]
    CutOff,
    /// A type that cannot be read.
    #[error("a value of type {0:#04x}")]
    UnknownType(u8),
    /// Deeper than [`MAX_DEPTH`].
    #[error("values nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// A text longer than [`MAX_TEXT`].
    #[error("a text of {0} bytes")]
    TextTooLong(u32),
}

/// Values inside of values. Metadata has 2 or 3; the stack of a decoder that follows a peer for ever has an end.
pub const MAX_DEPTH: usize = 16;

/// Values that are decoded together. Real metadata has 10 to 50; one value costs up to 60 bytes of memory for one byte
/// on the wire.
pub const MAX_VALUES: usize = 4096;

/// Bytes of a text. Metadata with XMP in it reaches some 100 KiB.
pub const MAX_TEXT: u32 = 1 << 20;

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
    /// The property `name` of an object or array.
    pub fn property(&self, name: &str) -> Option<&Value> {
        let properties = self.properties()?;
        properties.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The properties of an object or array.
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => Some(properties),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a number.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
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
            Self::Boolean(truth) => out.extend_from_slice(&[BOOLEAN, u8::from(*truth)]),
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

/// The bytes of `values`, one behind the other.
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

/// All values of `bytes`.
///
/// # Errors
/// When the bytes are no AMF 0 or exceed a limit.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Value>, Amf0Error> {
    let mut decoder = Decoder::new(bytes);
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(decoder.value()?);
    }
    Ok(values)
}

/// Reads values one by one; the limits hold for all of them together.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl<'a> Decoder<'a> {
    /// Of a message's body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            values_left: MAX_VALUES,
        }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value.
    ///
    /// # Errors
    /// When the bytes are no AMF 0 or exceed a limit.
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
                let [truth] = self.take()?;
                Value::Boolean(truth != 0)
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
                // The number of properties is a hint, and wrong in the metadata of many encoders.
                self.take::<4>()?;
                Value::EcmaArray(self.properties(depth_left)?)
            }
            STRICT_ARRAY => {
                let len = u32::from_be_bytes(self.take()?);
                // Not `with_capacity`: the length is only the peer's word.
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

    /// Properties up to the end mark. Encoders are known to leave the mark out at the end of a message.
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
        if len > MAX_TEXT {
            return Err(Amf0Error::TextTooLong(len));
        }
        let split = self.rest.split_at_checked(len as usize);
        let (text, rest) = split.ok_or(Amf0Error::CutOff)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Amf0Error::CutOff)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests;
