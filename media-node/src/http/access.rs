//! Who may see the list of streams and the player page, and the response to a client that may not do what it requests.

use std::io;

use bytes::Bytes;
use http::StatusCode;
use media_wire::StreamKey;
use percent_encoding::utf8_percent_encode;

use super::connection::{AfterResponse, HttpConnection, ResponseMode};
use super::listing::ESCAPED;
use super::request::HttpRequest;
use crate::auth::{Credential, Denial, ListRequest};

impl HttpConnection {
    /// Sends the reason of a refusal as JSON: status 401 where another credential could help, else 403. Then the connection ends: a
    /// client that guesses needs another one for each attempt, and an address has a limited number of new ones in a second.
    pub(super) async fn respond_denied(
        &mut self,
        denial: Denial,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        let mode = ResponseMode {
            keep_alive: false,
            ..mode
        };
        let answer = serde_json::json!({"reason": denial.label(), "message": denial.to_string()});
        let body = format!("{answer}\n");
        let json = ("Content-Type", "application/json");
        let (status, headers) = if denial.is_unauthorized() {
            (
                StatusCode::UNAUTHORIZED,
                vec![json, ("WWW-Authenticate", "Bearer")],
            )
        } else {
            (StatusCode::FORBIDDEN, vec![json])
        };
        self.respond(status, &headers, body.as_bytes(), mode).await
    }

    /// Returns the list of the streams that the client may play, as JSON.
    pub(super) async fn list_for(&self, request: &HttpRequest) -> Result<Bytes, Denial> {
        let (credential, stream) = self.presented(request);
        let listing = self
            .context
            .auth
            .list(self.list_request(&credential, &stream))?;
        let list = &self.context.list;
        Ok(if listing.shows_all() {
            list.read().await.of_all_streams()
        } else {
            list.read_some(|stream| listing.shows(stream)).await
        })
    }

    /// Returns whether the client may see the player page.
    pub(super) fn may_see_page(&self, request: &HttpRequest) -> Result<(), Denial> {
        let (credential, stream) = self.presented(request);
        self.context
            .auth
            .show_page(self.list_request(&credential, &stream))
    }

    fn list_request<'a>(
        &self,
        credential: &'a Credential,
        stream: &'a Option<StreamKey>,
    ) -> ListRequest<'a> {
        ListRequest {
            credential,
            peer: self.client.ip(),
            stream: stream.as_ref(),
        }
    }

    /// Returns the credential of a request, and the stream that its parameter `stream` names.
    fn presented(&self, request: &HttpRequest) -> (Credential, Option<StreamKey>) {
        let credential = Credential::of_http(&request.target, request.authorization.as_deref());
        let (vhosts, limits) = (&self.context.config.vhosts, self.context.limits.names());
        let stream = credential.parameter("stream").and_then(|name| {
            let name = name.trim_start_matches('/').trim_end_matches(".flv");
            let path = format!("/{}.flv", utf8_percent_encode(name, ESCAPED));
            StreamKey::from_http(request.host.as_deref(), &path, vhosts, &limits).ok()
        });
        (credential, stream)
    }
}
