//! The URL `rtmp://host:port/app/stream`, for clients.

use thiserror::Error;

/// The parts of a stream's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpUrl {
    /// The name or address. IPv6 has no brackets.
    pub host: String,
    /// The port, or 1935 if the URL has none.
    pub port: u16,
    /// All folders of the path.
    pub app: String,
    /// The last part of the path, with the parameters.
    pub stream: String,
    /// The URL up to the application.
    pub tc_url: String,
}

/// An error of an RTMP URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// The scheme is not `rtmp`.
    #[error("{0:?} does not start with rtmp://")]
    Scheme(String),
    /// The port is not a number up to 65,535.
    #[error("{0:?} is not a port")]
    Port(String),
    /// The host, application or stream is missing.
    #[error("{0:?} is not rtmp://HOST[:PORT]/APP/STREAM")]
    Incomplete(String),
}

/// The port of a URL without one.
const DEFAULT_PORT: u16 = 1935;

impl RtmpUrl {
    /// Parses a URL. The stream is the part after the last `/` before the parameters.
    ///
    /// # Errors
    /// When a part is missing or invalid.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let rest = url.strip_prefix("rtmp://");
        let rest = rest.ok_or_else(|| InvalidUrl::Scheme(url.to_owned()))?;
        let incomplete = || InvalidUrl::Incomplete(url.to_owned());
        let (authority, path) = rest.split_once('/').ok_or_else(incomplete)?;
        let before_query = path.find('?').unwrap_or(path.len());
        let cut = path.get(..before_query).and_then(|path| path.rfind('/'));
        let (app, stream) = path.split_at(cut.ok_or_else(incomplete)?);
        let stream = stream.trim_start_matches('/');
        let (host, port) = host_and_port(authority)?;
        if host.is_empty() || app.is_empty() || stream.is_empty() || stream.starts_with('?') {
            return Err(incomplete());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            app: app.to_owned(),
            stream: stream.to_owned(),
            tc_url: format!("rtmp://{authority}/{app}"),
        })
    }
}

fn host_and_port(authority: &str) -> Result<(&str, u16), InvalidUrl> {
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let parse = |port: &str| port.parse().map_err(|_| InvalidUrl::Port(port.to_owned()));
    Ok((host, port.map_or(Ok(DEFAULT_PORT), parse)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_has_host_port_app_and_stream() {
        let url = RtmpUrl::parse("rtmp://h:19350/live/room/cam?token=a/b").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("h", 19350));
        assert_eq!(
            (url.app.as_str(), url.stream.as_str()),
            ("live/room", "cam?token=a/b")
        );
        assert_eq!(url.tc_url, "rtmp://h:19350/live/room");
        let url = RtmpUrl::parse("rtmp://[::1]/live/cam").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("::1", 1935));
    }

    #[test]
    fn incomplete_url_is_refused() {
        let refused = |url| RtmpUrl::parse(url).unwrap_err();
        assert!(matches!(
            refused("http://h/live/cam"),
            InvalidUrl::Scheme(_)
        ));
        assert!(matches!(
            refused("rtmp://h:x/live/cam"),
            InvalidUrl::Port(_)
        ));
        for url in [
            "rtmp://h",
            "rtmp://h/live",
            "rtmp://h/live/",
            "rtmp:///live/cam",
            "rtmp://h/live/?x",
        ] {
            assert!(matches!(refused(url), InvalidUrl::Incomplete(_)), "{url}");
        }
    }
}
