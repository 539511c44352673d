//! The way back from a pull through another origin, which an edge has while it does not reach the one that has the publication.

use std::future::pending;

use media_engine::Stream;
use tokio::time::sleep;

use super::super::context::RelayContext;
use super::super::protocol::Parameters;
use super::super::survey::{OriginStatus, SurveyEnd, survey};

/// Waits until an origin replies that has the publication, if that is pulled through another one.
pub(super) async fn reached_directly(
    context: &RelayContext,
    stream: &Stream,
    status: &OriginStatus,
) -> OriginStatus {
    if !status.publication.indirect {
        return pending().await;
    }
    loop {
        sleep(context.timeouts().pull.indirect).await;
        let parameters = Parameters::of(stream.key());
        let survey = survey(context, &parameters, SurveyEnd::Found).await;
        let has_all = |newest: &&OriginStatus| {
            let position = (newest.epoch(), newest.publication.sequence);
            newest.has_encoder() && Some(position) >= stream.position()
        };
        if let Some(direct) = survey.newest().filter(has_all) {
            return direct.clone();
        }
    }
}
