//! `rtmp://host:port/app/stream`, for the dialling side.

use thiserror::Error;

/// Where a stream is, taken apart as a client needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpUrl {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// 1935 when the URL has none.
    pub port: u16,
    /// All folders.
    pub app: String,
    /// The last part, parameters included.
    pub stream: String,
    /// The URL up to the application.
    pub tc_url: String,
}

/// Why a text is no RTMP URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// It is none of `rtmp://`.
    #[error("{0:?} does not start with rtmp://")]
    Scheme(String),
    /// Not a number up to 65,535.
    #[error("{0:?} is no port")]
    Port(String),
    /// Host, application or stream is missing.
    #[error("{0:?} is not rtmp://HOST[:PORT]/APP/STREAM")]
    Incomplete(String),
}

/// RTMP's port where a URL has none.
const DEFAULT_PORT: u16 = 1935;

impl RtmpUrl {
    /// Takes a URL apart. The stream is what stands behind the last `/` before the parameters.
    ///
    /// # Errors
    /// When a part is missing or wrong.
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
    fn a_url_is_taken_apart() {
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
    fn what_lacks_a_part_is_refused() {
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
