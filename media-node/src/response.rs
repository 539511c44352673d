//! HTTP responses of the internal port, used by the API and the relays.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

/// Body of every response of the internal port.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Returns a response of one line of text.
pub(crate) fn text(status: StatusCode, line: &str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// Returns a response in JSON. Names and agents are texts of clients, and a terminal may show it.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => {
            let body = media_log::escape(&body).into_owned();
            with_type(status, "application/json", body)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Returns a response with a body of this media type.
pub(crate) fn with_type(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
