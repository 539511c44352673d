//! What a client presents: the parameters of its URL and the `Authorization` header.

use std::fmt;

/// Parameters that are read; security does not rest on the others.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a client's URL, and its bearer token. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    query: String,
    parameters: Vec<(String, String)>,
    bearer: Option<String>,
}

impl Credential {
    /// Reads the parameters `a=b&c=d` and the value of the header `Authorization`.
    pub(crate) fn new(query: &str, authorization: Option<&str>) -> Self {
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

    /// Returns the first parameter of this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
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
    fn bearer_token_wins_over_the_parameter() {
        let credential = Credential::new("token=t", Some("bearer u"));
        assert_eq!(credential.token(), Some("u"));
        assert_eq!(Credential::new("", Some("Basic x")).token(), None);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!("{:?}", Credential::new("key=secret", Some("Bearer secret")));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
