//! What a stream is called: virtual host, application and name, read from RTMP's and HTTP's ways of saying it.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The name of a stream in the whole cluster.
///
/// Application and name are kept in one form however a client splits them: `live` + `room/cam` and `live/room` + `cam`
/// are the same stream, because in a URL they look the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    vhost: Option<Box<str>>,
    app: Box<str>,
    name: Box<str>,
}

impl StreamKey {
    /// A key of its parts; `None` and `__defaultVhost__` are the default virtual host.
    ///
    /// # Errors
    /// When a part is empty, longer than [`MAX_PART_BYTES`] or holds a control character.
    pub fn new(vhost: Option<&str>, app: &str, name: &str) -> Result<Self, InvalidKey> {
        let path = segments(app).chain(segments(name));
        let mut path: Vec<&str> = path.collect();
        let name = path.pop().filter(|_| !segments_are_empty(name));
        let name = checked(Part::Name, name.unwrap_or_default())?;
        let app = checked(Part::App, &path.join("/"))?;
        let vhost = match vhost {
            None | Some(DEFAULT_VHOST) => None,
            Some(vhost) => Some(checked(Part::Vhost, &vhost.to_ascii_lowercase())?),
        };
        Ok(Self(Arc::new(Parts { vhost, app, name })))
    }

    /// The virtual host; `None` is the default one.
    pub fn vhost(&self) -> Option<&str> {
        self.0.vhost.as_deref()
    }

    /// The application, for example `live`; may contain `/`.
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// The stream's name inside its application, for example `livestream`.
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

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The stream.
    pub key: StreamKey,
    /// The other parameters, as they were sent: `token=..&x=..`.
    pub query: String,
}

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// A part is missing.
    #[error("the {0} is empty")]
    Empty(Part),
    /// A part is too long.
    #[error("the {part} has {length} bytes, more than {MAX_PART_BYTES}")]
    TooLong {
        /// Which one.
        part: Part,
        /// Its length.
        length: usize,
    },
    /// A part holds a character that would break logs and headers.
    #[error("the {0} contains a control character")]
    ControlCharacter(Part),
    /// The path of a request is not `/APP/STREAM.flv`.
    #[error("the path is not /APP/STREAM.flv")]
    NotAnFlvPath,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The virtual host.
    Vhost,
    /// The application.
    App,
    /// The stream's name.
    Name,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vhost => "virtual host",
            Self::App => "application",
            Self::Name => "stream name",
        })
    }
}

/// Bytes of a virtual host, an application or a name at most: what a DNS name and a file name may have, too.
pub const MAX_PART_BYTES: usize = 255;

/// What SRS calls the default virtual host.
const DEFAULT_VHOST: &str = "__defaultVhost__";

/// The application of a stream that is asked for without one, as in SRS.
const DEFAULT_APP: &str = "__defaultApp__";

/// Flash's name of the default instance of an application: the same as none.
const DEFAULT_INSTANCE: &str = "_definst_";

/// The stream of an RTMP `connect` (`tc_url`, `app`) and `publish` or `play` (`stream`).
///
/// A virtual host counts only if it is one of `vhosts`; any other is the default one. It is looked for in this order:
/// `vhost=` or `domain=` of the stream's parameters, of the application's, of the URL's; `app...vhost...NAME`; the host
/// of the URL. The forms are those of SRS:
///
/// | `tc_url` | `stream` | stream is |
/// |---|---|---|
/// | `rtmp://host/live` | `cam` | `live/cam` |
/// | `rtmp://host/live?vhost=v` | `cam?token=t` | `v/live/cam`, query `token=t` |
/// | `rtmp://host/live...vhost...v` | `cam` | `v/live/cam` |
/// | `rtmp://host/live?vhost=v/cam` | (empty) | `v/live/cam` |
/// | `rtmp://host/live#vhost=v` | `cam` | `v/live/cam` |
/// | `rtmp://host/live/_definst_` | `cam` | `live/cam` |
/// | `rtmp://host/live/cam` | (empty) | `live/cam` |
/// | `rtmp://host/cam` | (empty) | `__defaultApp__/cam` |
///
/// # Errors
/// When what is left is no valid key.
pub fn target_from_rtmp(
    tc_url: &str,
    app: &str,
    stream: &str,
    vhosts: &[String],
) -> Result<Target, InvalidKey> {
    let url = Url::parse(tc_url);
    let mut query = Query::default();
    let stream = query.cut_from(stream);
    let app = query.cut_from(app);
    let url_path = query.cut_from(url.path);
    let app = if app.is_empty() { url_path } else { app };
    let app = query.cut_marked_vhost(app);
    let vhost = query.vhost.as_deref().unwrap_or(url.host);

    let mut path: Vec<String> = segments(app).map(percent_decoded).collect();
    path.extend(segments(stream).map(percent_decoded));
    if segments_are_empty(stream) {
        path.extend(segments(&query.behind_vhost).map(percent_decoded));
    }
    key_of_path(vhost, path, vhosts).map(|key| Target {
        key,
        query: query.rest,
    })
}

/// The stream of an HTTP request: `/APP/STREAM.flv`, `/APP/STREAM.flv?vhost=NAME`, `/VHOST/APP/STREAM.flv`.
///
/// The first folder is a virtual host if it is one of `vhosts` or `__defaultVhost__`. Otherwise `?vhost=` counts, then
/// the `Host` header.
///
/// # Errors
/// When the path does not end in `.flv` or what is left is no valid key.
pub fn target_from_http(
    host: Option<&str>,
    path_and_query: &str,
    vhosts: &[String],
) -> Result<Target, InvalidKey> {
    let mut query = Query::default();
    let path = query.cut_from(path_and_query);
    let path = path.strip_suffix(".flv").ok_or(InvalidKey::NotAnFlvPath)?;
    if path.ends_with('/') {
        return Err(InvalidKey::Empty(Part::Name));
    }
    let mut path: Vec<String> = segments(path).map(percent_decoded).collect();
    let in_path = path.first().filter(|first| {
        path.len() > 2 && (*first == DEFAULT_VHOST || configured(first, vhosts).is_some())
    });
    let vhost = match in_path.cloned() {
        Some(first) => {
            path.remove(0);
            first
        }
        None => match query.vhost.take() {
            Some(vhost) => vhost,
            None => without_port(host.unwrap_or_default()).to_owned(),
        },
    };
    key_of_path(&vhost, path, vhosts).map(|key| Target {
        key,
        query: query.rest,
    })
}

fn key_of_path(
    vhost: &str,
    mut path: Vec<String>,
    vhosts: &[String],
) -> Result<StreamKey, InvalidKey> {
    let name = path.pop().unwrap_or_default();
    if path.is_empty() {
        path.push(DEFAULT_APP.to_owned());
    }
    StreamKey::new(configured(vhost, vhosts), &path.join("/"), &name)
}

/// The virtual host as the configuration writes it, if it is there.
fn configured<'a>(vhost: &str, vhosts: &'a [String]) -> Option<&'a str> {
    let found = vhosts
        .iter()
        .find(|known| known.eq_ignore_ascii_case(vhost));
    found.map(String::as_str)
}

/// The parameters of all parts of an address: the virtual host taken out, the others together.
#[derive(Default)]
struct Query {
    vhost: Option<String>,
    /// What stands behind a virtual host in the middle of a path: the stream, if it is not said elsewhere.
    behind_vhost: String,
    rest: String,
}

impl Query {
    /// Reads what stands behind `?` or `#`, and returns what stands before.
    fn cut_from<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(at) = text.find(['?', '#']) else {
            return text;
        };
        let (before, query) = text.split_at(at);
        for parameter in query.split(['?', '#', '&']).filter(|p| !p.is_empty()) {
            match parameter.split_once('=') {
                Some(("vhost" | "domain", vhost)) => self.add_vhost(vhost),
                _ => self.add(parameter),
            }
        }
        before
    }

    /// Reads `...vhost...NAME`, which serves encoders that refuse a `?`.
    fn cut_marked_vhost<'a>(&mut self, app: &'a str) -> &'a str {
        let Some((app, marked)) = app.split_once("...") else {
            return app;
        };
        let vhost = marked.strip_prefix("vhost...").unwrap_or(marked);
        self.add_vhost(vhost);
        app
    }

    fn add_vhost(&mut self, vhost: &str) {
        // Encoders append the stream to whatever stands in their server field: `live?vhost=v/cam`.
        let (vhost, behind) = vhost.split_once('/').unwrap_or((vhost, ""));
        if self.vhost.is_none() && !vhost.is_empty() {
            self.vhost = Some(percent_decoded(vhost));
            self.behind_vhost = behind.to_owned();
        }
    }

    fn add(&mut self, parameter: &str) {
        let known = self.rest.split('&').any(|other| other == parameter);
        if known || parameter.chars().any(char::is_control) {
            return;
        }
        if !self.rest.is_empty() {
            self.rest.push('&');
        }
        self.rest.push_str(parameter);
    }
}

/// Host and path of `scheme://user@host:port/path`.
struct Url<'a> {
    host: &'a str,
    path: &'a str,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
        Self {
            host: without_port(host),
            path,
        }
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| {
            let (inside, _) = host.split_at(end);
            inside.trim_start_matches('[')
        });
    }
    host.split_once(':').map_or(host, |(host, _)| host)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter(|segment| !segment.is_empty() && *segment != DEFAULT_INSTANCE)
}

fn segments_are_empty(path: &str) -> bool {
    segments(path).next().is_none()
}

/// `%41` becomes `A`; what is no valid escape, or would not be UTF-8, stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| hex_pair(behind)).flatten();
        decoded.push(escaped.unwrap_or(*first));
        rest = match escaped {
            Some(_) => behind.get(2..).unwrap_or_default(),
            None => behind,
        };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(bytes.get(..2)?).ok()?;
    if digits.starts_with('+') {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

fn checked(part: Part, text: &str) -> Result<Box<str>, InvalidKey> {
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
