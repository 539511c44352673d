//! Stream keys in the addresses of RTMP and HTTP clients.

use super::{
    DEFAULT_VHOST, InvalidKey, KeyPart, NameLimits, StreamKey, segments, segments_are_empty,
};

impl StreamKey {
    /// Returns the stream of an RTMP `connect` (`tc_url`, `app`) and `publish` or `play` (`stream`).
    ///
    /// A virtual host counts only if it is one of `vhosts`. Any other host means the default virtual host. The first of
    /// these wins: the first folder, as in [`StreamKey::from_http`]; `vhost=` or `domain=` in the parameters of the stream, of
    /// the application, of the URL; `app...vhost...NAME`; the host of the URL. Other parameters are ignored. The forms are those
    /// of SRS:
    ///
    /// | `tc_url` | `stream` | key |
    /// |---|---|---|
    /// | `rtmp://host/live` | `cam` | `live/cam` |
    /// | `rtmp://host/live?vhost=v` | `cam?token=t` | `v/live/cam` |
    /// | `rtmp://host/live...vhost...v` | `cam` | `v/live/cam` |
    /// | `rtmp://host/live?vhost=v/cam` | (empty) | `v/live/cam` |
    /// | `rtmp://host/live#vhost=v` | `cam` | `v/live/cam` |
    /// | `rtmp://host/v/live` | `cam` | `v/live/cam` |
    /// | `rtmp://host/live/cam?key=a` | `b` | `live/cam`, see [`join_parameters`] |
    /// | `rtmp://host/live/_definst_` | `cam` | `live/cam` |
    /// | `rtmp://host/live/cam` | (empty) | `live/cam` |
    /// | `rtmp://host/cam` | (empty) | `__defaultApp__/cam` |
    /// | `rtmp://host/live` | `cam.flv`, `flv:cam`, `mp4:cam` | `live/cam` |
    ///
    /// SRS edges ask for `NAME.flv`, and the prefixes are Flash's for file formats.
    ///
    /// # Errors
    /// When the address has no valid key, or exceeds a limit.
    pub fn from_rtmp(
        tc_url: &str,
        app: &str,
        stream: &str,
        vhosts: &[String],
        limits: &NameLimits,
    ) -> Result<Self, InvalidKey> {
        limits.check_rtmp(tc_url, app, stream)?;
        let joined = join_parameters(app, stream);
        let (app, stream) = joined
            .as_ref()
            .map_or((app, stream), |(app, stream)| (*app, stream.as_str()));
        let url = Url::parse(tc_url);
        let mut query = Query::default();
        let stream = query.cut_from(stream);
        let app = query.cut_from(app);
        let url_path = query.cut_from(url.path);
        let app = if app.is_empty() { url_path } else { app };
        let app = query.cut_marked_vhost(app);
        let vhost = query.vhost.as_deref().unwrap_or(url.host);

        let mut path: Vec<String> = segments(app).map(percent_decoded).collect();
        path.extend(segments(without_format(stream)).map(percent_decoded));
        if segments_are_empty(stream) {
            path.extend(segments(&query.path_after_vhost).map(percent_decoded));
        }
        if let Some(name) = path.last_mut()
            && let Some(stem) = name.strip_suffix(".flv")
        {
            *name = stem.to_owned();
        }
        let in_path = take_vhost(&mut path, vhosts);
        let key = key_of_path(in_path.as_deref().unwrap_or(vhost), path, vhosts)?;
        limits.check_key(&key).map(|()| key)
    }

    /// Returns the stream of an HTTP request: `/APP/STREAM.flv`, `/APP/STREAM.flv?vhost=NAME`, `/VHOST/APP/STREAM.flv`.
    ///
    /// The first folder is a virtual host if it is one of `vhosts` or `__defaultVhost__`. Otherwise `?vhost=` counts, then
    /// the `Host` header. Other parameters are ignored.
    ///
    /// # Errors
    /// When the path does not end in `.flv` or has no valid key, or exceeds a limit.
    pub fn from_http(
        host: Option<&str>,
        path_and_query: &str,
        vhosts: &[String],
        limits: &NameLimits,
    ) -> Result<Self, InvalidKey> {
        limits.check_http(path_and_query)?;
        let mut query = Query::default();
        let path = query.cut_from(path_and_query);
        let path = path.strip_suffix(".flv").ok_or(InvalidKey::NotAnFlvPath)?;
        if path.ends_with('/') {
            return Err(InvalidKey::Empty(KeyPart::Name));
        }
        let mut path: Vec<String> = segments(path).map(percent_decoded).collect();
        let in_path = take_vhost(&mut path, vhosts);
        let vhost = in_path.or(query.vhost);
        let host = || without_port(host.unwrap_or_default()).to_owned();
        let key = key_of_path(&vhost.unwrap_or_else(host), path, vhosts)?;
        limits.check_key(&key).map(|()| key)
    }
}

/// Returns the application and the stream of an RTMP client that split its URL inside the parameters.
///
/// FFmpeg splits a URL at the second `/`, wherever that is: `live/cam?key=a/b` becomes the application `live/cam?key=a` and
/// the stream `b`. The parameters are the application's own when it has one folder, when they end with a virtual host, which
/// has no `/`, and when the stream has parameters too.
pub fn join_parameters<'a>(app: &'a str, stream: &str) -> Option<(&'a str, String)> {
    let (path, query) = app.split_once('?')?;
    let last = query.rsplit('&').next().unwrap_or_default();
    let (name, _) = last.split_once('=')?;
    let (folder, cut) = path.rsplit_once('/')?;
    let is_own = matches!(name, "vhost" | "domain") || stream.contains('?');
    if is_own || stream.is_empty() || segments_are_empty(folder) || segments_are_empty(cut) {
        return None;
    }
    Some((folder, format!("{cut}?{query}/{stream}")))
}

/// Takes the virtual host from the beginning of a path.
fn take_vhost(path: &mut Vec<String>, vhosts: &[String]) -> Option<String> {
    let first = path.first()?;
    let is_vhost = first == DEFAULT_VHOST || configured(first, vhosts).is_some();
    (path.len() > 2 && is_vhost).then(|| path.remove(0))
}

/// Returns the name without the file format that Flash puts before it.
fn without_format(stream: &str) -> &str {
    let mut prefixes = ["flv:", "mp4:"].iter();
    let name = prefixes.find_map(|prefix| stream.strip_prefix(prefix));
    name.unwrap_or(stream)
}

/// The application of a stream whose address has none, as in SRS.
const DEFAULT_APP: &str = "__defaultApp__";

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

/// Returns the virtual host as the configuration spells it, or `None` if it is not configured.
fn configured<'a>(vhost: &str, vhosts: &'a [String]) -> Option<&'a str> {
    let found = vhosts
        .iter()
        .find(|configured| configured.eq_ignore_ascii_case(vhost));
    found.map(String::as_str)
}

/// The virtual host in the parameters of all parts of an address.
#[derive(Default)]
struct Query {
    vhost: Option<String>,
    /// The path after a virtual host in the middle of an address. It names the stream if no other part does.
    path_after_vhost: String,
}

impl Query {
    /// Reads the parameters after `?` or `#`. Returns the text before them.
    fn cut_from<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(at) = text.find(['?', '#']) else {
            return text;
        };
        let (before, query) = text.split_at(at);
        for parameter in query.split(['?', '#', '&']) {
            if let Some(("vhost" | "domain", vhost)) = parameter.split_once('=') {
                self.add_vhost(vhost);
            }
        }
        before
    }

    /// Reads `...vhost...NAME`, a form for encoders that refuse a `?`. Returns the text before it.
    fn cut_marked_vhost<'a>(&mut self, app: &'a str) -> &'a str {
        let Some((app, marked)) = app.split_once("...") else {
            return app;
        };
        let vhost = marked.strip_prefix("vhost...").unwrap_or(marked);
        self.add_vhost(vhost);
        app
    }

    fn add_vhost(&mut self, vhost: &str) {
        // Encoders append the stream to the text in their server field: `live?vhost=v/cam`.
        let (vhost, path) = vhost.split_once('/').unwrap_or((vhost, ""));
        if self.vhost.is_none() && !vhost.is_empty() {
            self.vhost = Some(percent_decoded(vhost));
            self.path_after_vhost = path.to_owned();
        }
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

/// Decodes `%41` to `A`. Invalid escapes stay, and so does the whole text if it would not be UTF-8.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| hex_pair(after)).flatten();
        decoded.push(escaped.unwrap_or(*first));
        rest = match escaped {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
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
