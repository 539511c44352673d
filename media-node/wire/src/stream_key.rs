//! The name of a stream: virtual host, application and name.

mod address;
mod limits;

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

pub use address::join_parameters;
pub use limits::NameLimits;

/// The name of a stream in the whole cluster.
///
/// Application and name have one form however a client splits them: `live` + `room/cam` and `live/room` + `cam` are the
/// same stream, because their URLs are the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<KeyParts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct KeyParts {
    vhost: Option<Box<str>>,
    app: Box<str>,
    name: Box<str>,
}

impl StreamKey {
    /// Returns the key with these parts. `None` and `__defaultVhost__` are the default virtual host.
    ///
    /// # Errors
    /// When a part is empty, is longer than [`MAX_PART_BYTES`] or contains a control character.
    pub fn new(vhost: Option<&str>, app: &str, name: &str) -> Result<Self, InvalidKey> {
        let path = segments(app).chain(segments(name));
        let mut path: Vec<&str> = path.collect();
        let name = path.pop().filter(|_| !segments_are_empty(name));
        let name = checked(KeyPart::Name, name.unwrap_or_default())?;
        let app = checked(KeyPart::App, &path.join("/"))?;
        let vhost = match vhost {
            None | Some(DEFAULT_VHOST) => None,
            Some(vhost) => Some(checked(KeyPart::Vhost, &vhost.to_ascii_lowercase())?),
        };
        Ok(Self(Arc::new(KeyParts { vhost, app, name })))
    }

    /// Returns the virtual host, or `None` for the default one.
    pub fn vhost(&self) -> Option<&str> {
        self.0.vhost.as_deref()
    }

    /// Returns the application, for example `live`. It may contain `/`.
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// Returns the stream's name inside its application, for example `livestream`.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vhost) = self.vhost() {
            write!(f, "{vhost}/")?;
        }
        write!(f, "{}/{}", self.app(), self.name())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamKey({self})")
    }
}

/// The reason why a name or address is not a stream key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// A part is missing.
    #[error("the {0} is empty")]
    Empty(KeyPart),
    /// A part is too long.
    #[error("the {part} has {length} bytes, more than {MAX_PART_BYTES}")]
    TooLong {
        /// The part.
        part: KeyPart,
        /// Its length in bytes.
        length: usize,
    },
    /// Application and stream, or the URL, are too long before their parameters.
    #[error(
        "the names have {bytes} bytes, too many: {allowed} are allowed, and three times as many with escapes"
    )]
    LongNames {
        /// Their length, with escapes if these are too long.
        bytes: usize,
        /// The maximum without escapes.
        allowed: usize,
    },
    /// The parameters are too long.
    #[error("the parameters have {bytes} bytes, more than {allowed}")]
    LongParameters {
        /// Their length together.
        bytes: usize,
        /// The maximum.
        allowed: usize,
    },
    /// There are too many parameters.
    #[error("there are {count} parameters, more than {allowed}")]
    TooManyParameters {
        /// Their number.
        count: usize,
        /// The maximum.
        allowed: usize,
    },
    /// A part contains a character that would break logs and headers.
    #[error("the {0} contains a control character")]
    ControlCharacter(KeyPart),
    /// The path of a request is not `/APP/STREAM.flv`.
    #[error("the path is not /APP/STREAM.flv")]
    NotAnFlvPath,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The virtual host.
    Vhost,
    /// The application.
    App,
    /// The stream's name.
    Name,
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vhost => "virtual host",
            Self::App => "application",
            Self::Name => "stream name",
        })
    }
}

/// The maximum length of a virtual host, an application or a name. DNS names and file names have the same limit.
pub const MAX_PART_BYTES: usize = 255;

/// The default virtual host as SRS names it.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// Flash's name of an application's default instance. It means the same as no instance.
const DEFAULT_INSTANCE: &str = "_definst_";

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|segment| !segment.is_empty() && *segment != DEFAULT_INSTANCE)
}

fn segments_are_empty(path: &str) -> bool {
    segments(path).next().is_none()
}

fn checked(part: KeyPart, text: &str) -> Result<Box<str>, InvalidKey> {
    if text.is_empty() {
        return Err(InvalidKey::Empty(part));
    }
    if text.len() > MAX_PART_BYTES {
        return Err(InvalidKey::TooLong {
            part,
            length: text.len(),
        });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidKey::ControlCharacter(part));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests;
