//! Publications of other origins, for edges that do not reach these. This origin asks the others, and passes on what the one sends that has
//! the publication. It asks them directly, so that there are no circles.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::unfold;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use media_config::Role;
use tokio::time::timeout;

use super::super::client::{ClientError, NodeConnection, empty};
use super::super::context::RelayContext;
use super::super::protocol::{PULL, Parameters, PublicationStatus};
use super::super::survey::{OriginStatus, SurveyEnd, survey};
use super::request::{PeerNode, RelayRequestError};
use crate::response::Body;
use crate::state::clients::{ClientGuard, ClientRole, StopReason};

/// Returns the publication that another origin has, if one does.
pub(super) async fn publication_elsewhere(
    context: &RelayContext,
    parameters: &Parameters,
) -> Option<PublicationStatus> {
    let status = carrier(context, parameters).await?;
    Some(PublicationStatus {
        indirect: true,
        ..status.publication
    })
}

/// Pulls from the origin that has the publication, and passes on what it sends.
pub(super) async fn pull_indirectly(
    context: &Arc<RelayContext>,
    parameters: &Parameters,
    peer: &PeerNode,
) -> Result<Response<Body>, RelayRequestError> {
    let carrier = carrier(context, parameters).await;
    let origin = carrier.ok_or(RelayRequestError::NotPublished)?.origin;
    let pull = async {
        let mut connection = context.connect(origin).await?;
        let direct = Parameters {
            indirect: false,
            ..parameters.clone()
        };
        let uri = direct.uri(PULL);
        let response = connection.send(Method::GET, &uri, empty()).await?;
        Ok::<_, ClientError>((connection, response))
    };
    let pulled = timeout(context.timeouts().pull.response, pull).await;
    let Ok(Ok((connection, response))) = pulled else {
        return Err(RelayRequestError::NotPublished);
    };
    if response.status() != StatusCode::OK {
        return Err(RelayRequestError::NotPublished);
    }
    let (key, role) = (&parameters.key, ClientRole::Viewer);
    let passed = PassedOn {
        client: context.add_client(peer.address, role, key, &peer.node),
        body: response.into_body(),
        _connection: connection,
    };
    let mut response = Response::new(passed.boxed());
    let media = HeaderValue::from_static("video/x-flv");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

/// Returns the origin that has the publication.
async fn carrier(context: &RelayContext, parameters: &Parameters) -> Option<OriginStatus> {
    if context.settings.role != Role::Origin {
        return None;
    }
    let direct = Parameters::of(&parameters.key);
    let survey = survey(context, &direct, SurveyEnd::Found).await;
    let newest = survey.newest().filter(|newest| newest.has_encoder());
    newest.cloned()
}

/// A response that is passed on to an edge. It is read only while the edge accepts bytes.
struct PassedOn {
    client: ClientGuard,
    body: Incoming,
    _connection: NodeConnection,
}

impl PassedOn {
    fn boxed(self) -> Body {
        let frames = unfold(self, |mut passed| async move {
            let bytes = passed.next().await?;
            Some((Ok(Frame::data(bytes)), passed))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// Returns the next bytes, or `None` when the origin sends no more or the edge is disconnected.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                frame = self.body.frame() => {
                    let bytes = frame?.ok()?.into_data().ok()?;
                    self.client.sent(bytes.len());
                    return Some(bytes);
                }
                reason = self.client.stopped() => match reason {
                    // A draining media node serves other media nodes until the publication ends.
                    StopReason::Draining => {}
                    StopReason::Kicked | StopReason::Now => return None,
                },
            }
        }
    }
}
