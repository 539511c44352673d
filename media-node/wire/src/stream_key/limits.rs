//! Limits of a client's address. They are checked before anything reads it or keeps it, so that no address costs more time and
//! memory than a valid one.

use super::{InvalidKey, StreamKey};

/// The maximum number of parameters of an address.
pub const MAX_PARAMETERS: usize = 32;

/// The maximum bytes of all parameters of an address together.
pub const MAX_PARAMETER_BYTES: usize = 4 * 1024;

/// The maximum bytes of application and stream without parameters: 512 characters, each of which can be escaped as `%41`.
pub const MAX_NAME_BYTES: usize = 3 * 512;

/// The maximum bytes of the URL without parameters: scheme, host and application.
const MAX_URL_BYTES: usize = MAX_NAME_BYTES + 512;

impl StreamKey {
    /// Checks the lengths of an RTMP address, whose parts are those of [`from_rtmp`](Self::from_rtmp). Encoders send the
    /// parameters of the application twice, also in the URL, so these count once.
    ///
    /// # Errors
    /// When the address exceeds a limit.
    pub fn check_rtmp_lengths(tc_url: &str, app: &str, stream: &str) -> Result<(), InvalidKey> {
        let [(url, url_query), (app, app_query), (stream, query)] =
            [tc_url, app, stream].map(split);
        check_names(app.len() + stream.len(), MAX_NAME_BYTES)?;
        check_names(url.len(), MAX_URL_BYTES)?;
        check_parameters(
            query.len() + app_query.len().max(url_query.len()),
            count(query) + count(app_query).max(count(url_query)),
        )
    }

    /// Checks the lengths of the path and query of an HTTP request.
    ///
    /// # Errors
    /// When the address exceeds a limit.
    pub(super) fn check_http_lengths(path_and_query: &str) -> Result<(), InvalidKey> {
        let (path, query) = split(path_and_query);
        check_names(path.len(), MAX_NAME_BYTES)?;
        check_parameters(query.len(), count(query))
    }
}

fn check_names(bytes: usize, limit: usize) -> Result<(), InvalidKey> {
    match bytes > limit {
        true => Err(InvalidKey::LongNames(bytes)),
        false => Ok(()),
    }
}

fn check_parameters(bytes: usize, parameters: usize) -> Result<(), InvalidKey> {
    if bytes > MAX_PARAMETER_BYTES {
        return Err(InvalidKey::LongParameters(bytes));
    }
    match parameters > MAX_PARAMETERS {
        true => Err(InvalidKey::TooManyParameters(parameters)),
        false => Ok(()),
    }
}

/// Splits a part of an address before its parameters.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(['?', '#']).unwrap_or(text.len()))
}

fn count(query: &str) -> usize {
    let parameters = query.split(['?', '#', '&']);
    parameters.filter(|parameter| !parameter.is_empty()).count()
}
