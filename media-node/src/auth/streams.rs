//! Patterns of streams, in tokens and in the configuration.

use media_wire::StreamKey;

/// The streams that a token allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Streams(Vec<Pattern>);

/// `APP/NAME`, `APP/PREFIX*`, `APP/*`, the same behind `//VHOST/`, or `*` for every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    All,
    Some {
        vhost: Option<String>,
        app: String,
        name: Name,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exactly(String),
    Prefix(String),
}

impl Streams {
    /// Parses patterns. An invalid one allows nothing.
    pub(super) fn parse<'a>(patterns: impl IntoIterator<Item = &'a String>) -> Self {
        Self(
            patterns
                .into_iter()
                .filter_map(|p| Pattern::parse(p))
                .collect(),
        )
    }

    pub(super) fn contains(&self, stream: &StreamKey) -> bool {
        self.0.iter().any(|pattern| pattern.matches(stream))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let (vhost, path) = match text.strip_prefix("//") {
            Some(rest) => {
                let (vhost, path) = rest.split_once('/')?;
                (Some(vhost.to_ascii_lowercase()), path)
            }
            None => (None, text),
        };
        let (app, name) = path.rsplit_once('/')?;
        if app.is_empty() || app.contains('*') || name.is_empty() {
            return None;
        }
        let name = match name.strip_suffix('*') {
            Some(prefix) => Name::Prefix(prefix.to_owned()),
            None => Name::Exactly(name.to_owned()),
        };
        Some(Self::Some {
            vhost,
            app: app.to_owned(),
            name,
        })
    }

    fn matches(&self, stream: &StreamKey) -> bool {
        let Self::Some { vhost, app, name } = self else {
            return true;
        };
        let same_name = match name {
            Name::Exactly(name) => stream.name() == name,
            Name::Prefix(prefix) => stream.name().starts_with(prefix),
        };
        stream.vhost() == vhost.as_deref() && stream.app() == app && same_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, vhost: Option<&str>, app: &str, name: &str) -> bool {
        let stream = StreamKey::new(vhost, app, name).unwrap();
        Streams::parse(&[pattern.to_owned()]).contains(&stream)
    }

    #[test]
    fn pattern_matches_one_application_and_names_in_it() {
        assert!(allows("live/cam", None, "live", "cam"));
        assert!(!allows("live/cam", None, "live", "cam2"));
        assert!(allows("live/*", None, "live", "cam"));
        assert!(allows("live/cam*", None, "live", "cam2"));
        assert!(!allows("live/*", None, "live2", "cam"));
        assert!(!allows("live/*", None, "live/room", "cam"));
        assert!(allows("live/room/*", None, "live/room", "cam"));
        assert!(allows("*", Some("v.example"), "a/b", "c"));
    }

    #[test]
    fn virtual_host_is_never_implied() {
        assert!(!allows("live/*", Some("v.example"), "live", "cam"));
        assert!(!allows(
            "v.example/live/*",
            Some("v.example"),
            "live",
            "cam"
        ));
        assert!(allows(
            "//V.example/live/*",
            Some("v.example"),
            "live",
            "cam"
        ));
        assert!(!allows("//v.example/live/*", None, "live", "cam"));
    }

    #[test]
    fn text_that_is_no_pattern_allows_nothing() {
        for pattern in ["", "cam", "*/cam", "live/", "/cam", "//v.example"] {
            assert!(!allows(pattern, None, "live", "cam"), "{pattern}");
        }
    }
}
