//! What a client presents: the parameters of its URL and the `Authorization` header.

use std::fmt;

use media_wire::stream_key::join_parameters;

/// The maximum number of parameters that are read: the upper bound of `limits.maxParameters`.
const MAX_PARAMETERS: usize = 128;

/// The maximum bytes of the parameters that are kept: the upper bound of `limits.maxParameterKibibytes`.
const MAX_QUERY: usize = 8 * 1024;

/// The parameters of a client's URL, and its bearer token. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    query: String,
    parameters: Vec<(String, String)>,
    bearer: Option<String>,
}

impl Credential {
    /// Reads the parameters `a=b&c=d` and the value of the header `Authorization`.
    pub(super) fn new(query: &str, authorization: Option<&str>) -> Self {
        let parameters = form_urlencoded::parse(query.as_bytes())
            .take(MAX_PARAMETERS)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let bearer = authorization.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("Bearer")
                .then(|| token.trim().to_owned())
        });
        Self {
            query: query.to_owned(),
            parameters,
            bearer,
        }
    }

    /// Reads the parameters of an RTMP client, which may follow the stream, the application or the URL.
    pub(crate) fn of_rtmp(tc_url: &str, app: &str, stream: &str) -> Self {
        if let Some((app, stream)) = join_parameters(app, stream) {
            // The URL has the same part of the parameters as the application.
            return Self::of_rtmp("", app, &stream);
        }
        let parts =
            [stream, app, tc_url].map(|part| part.split_once(['?', '#']).unwrap_or_default().1);
        let mut query = String::new();
        for parameter in parts.iter().flat_map(|part| part.split(['?', '#', '&'])) {
            let is_vhost = ["vhost=", "domain="]
                .iter()
                .any(|name| parameter.starts_with(name));
            let fits = query.len() + parameter.len() < MAX_QUERY;
            if parameter.is_empty() || is_vhost || !fits || contains(&query, parameter) {
                continue;
            }
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(parameter);
        }
        Self::new(&query, None)
    }

    /// Reads the parameters and headers of an HTTP client.
    pub(crate) fn of_http(target: &str, authorization: Option<&str>) -> Self {
        Self::new(target.split_once('?').unwrap_or_default().1, authorization)
    }

    /// Returns the first parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the key of a stream.
    pub(super) fn key(&self) -> Option<&str> {
        self.parameter("key").or(self.bearer.as_deref())
    }

    /// Returns the JSON Web Token.
    pub(super) fn token(&self) -> Option<&str> {
        self.bearer.as_deref().or_else(|| self.parameter("token"))
    }

    /// Returns the parameters as they were sent.
    pub(super) fn query(&self) -> &str {
        &self.query
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Returns whether a query has a parameter already. Encoders send a URL's parameters twice: with the application and with the URL.
fn contains(query: &str, parameter: &str) -> bool {
    query.split('&').any(|other| other == parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_parameter_of_a_name_counts_and_escapes_are_read() {
        let credential = Credential::new("key=a%2Bb&key=c&token=t", None);
        assert_eq!(credential.parameter("key"), Some("a+b"));
        assert_eq!(credential.token(), Some("t"));
        assert_eq!(credential.parameter("signature"), None);
    }

    #[test]
    fn parameters_of_an_rtmp_client_are_found_in_every_place_once() {
        let credential = Credential::of_rtmp("rtmp://h/live?a=1", "live?a=1&vhost=v", "cam?key=x");
        assert_eq!(credential.query(), "key=x&a=1");
        assert_eq!(credential.parameter("key"), Some("x"));
        assert_eq!(
            Credential::of_rtmp("rtmp://h/live", "live", "cam").query(),
            ""
        );
    }

    #[test]
    fn parameters_that_ffmpeg_split_at_a_slash_are_joined() {
        let url = "rtmp://h/live/vf?x=1&secret=a";
        let credential = Credential::of_rtmp(url, "live/vf?x=1&secret=a", "b==&y=2");
        assert_eq!(credential.query(), "x=1&secret=a/b==&y=2");
        assert_eq!(credential.parameter("secret"), Some("a/b=="));
    }

    #[test]
    fn bearer_token_wins_over_the_parameter() {
        let credential = Credential::new("token=t", Some("bearer u"));
        assert_eq!(credential.token(), Some("u"));
        assert_eq!(Credential::new("", Some("Basic x")).token(), None);
    }

    #[test]
    fn key_is_a_parameter_or_a_bearer_token() {
        let key = |query, header| {
            let credential = Credential::new(query, header);
            credential.key().map(str::to_owned)
        };
        assert_eq!(key("key=a", Some("Bearer b")).as_deref(), Some("a"));
        assert_eq!(key("token=a", Some("Bearer b")).as_deref(), Some("b"));
        assert_eq!(key("token=a", None), None);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!("{:?}", Credential::new("key=secret", Some("Bearer secret")));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
