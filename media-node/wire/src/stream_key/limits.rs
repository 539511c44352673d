//! Limits of a client's address. They are checked before anything reads it or keeps it, so that no address costs more time and
//! memory than a valid one.

use super::{InvalidKey, StreamKey};

/// Limits of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLimits {
    /// Maximum bytes of application and stream together, without parameters and escapes.
    pub name_bytes: usize,
    /// Maximum number of parameters.
    pub parameters: usize,
    /// Maximum bytes of all parameters together.
    pub parameter_bytes: usize,
}

impl Default for NameLimits {
    fn default() -> Self {
        Self {
            name_bytes: 512,
            parameters: 32,
            parameter_bytes: 4 * 1024,
        }
    }
}

/// The maximum bytes of a character that is escaped as `%41`.
const ESCAPED: usize = 3;

/// Bytes of a URL beside the application: scheme and host.
const MAX_HOST_BYTES: usize = 512;

impl NameLimits {
    /// Checks the lengths of an RTMP address, whose parts are those of [`StreamKey::from_rtmp`]. Encoders send the
    /// parameters of the application twice, also in the URL, so these count once.
    ///
    /// # Errors
    /// When the address exceeds a limit.
    pub fn check_rtmp(&self, tc_url: &str, app: &str, stream: &str) -> Result<(), InvalidKey> {
        let [(url, url_query), (app, app_query), (stream, query)] =
            [tc_url, app, stream].map(split);
        let escaped = ESCAPED * self.name_bytes;
        self.check_names(app.len() + stream.len(), escaped)?;
        self.check_names(url.len(), escaped + MAX_HOST_BYTES)?;
        self.check_parameters(
            query.len() + app_query.len().max(url_query.len()),
            count(query) + count(app_query).max(count(url_query)),
        )
    }

    /// Checks the lengths of the path and query of an HTTP request.
    ///
    /// # Errors
    /// When the address exceeds a limit.
    pub(super) fn check_http(&self, path_and_query: &str) -> Result<(), InvalidKey> {
        let (path, query) = split(path_and_query);
        self.check_names(path.len(), ESCAPED * self.name_bytes)?;
        self.check_parameters(query.len(), count(query))
    }

    /// Checks the length of the names without escapes.
    pub(super) fn check_key(&self, key: &StreamKey) -> Result<(), InvalidKey> {
        self.check_names(key.app().len() + key.name().len(), self.name_bytes)
    }

    fn check_names(&self, bytes: usize, limit: usize) -> Result<(), InvalidKey> {
        let allowed = self.name_bytes;
        if bytes > limit {
            Err(InvalidKey::LongNames { bytes, allowed })
        } else {
            Ok(())
        }
    }

    fn check_parameters(&self, bytes: usize, count: usize) -> Result<(), InvalidKey> {
        let allowed = self.parameter_bytes;
        if bytes > allowed {
            return Err(InvalidKey::LongParameters { bytes, allowed });
        }
        let allowed = self.parameters;
        if count > allowed {
            Err(InvalidKey::TooManyParameters { count, allowed })
        } else {
            Ok(())
        }
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
