//! Summary of a stream: what `/api/v1/streams` and `/streams.json` both say about it.

use media_engine::{PublicationSource, Stream};
use serde::{Deserialize, Serialize};

/// Summary of a stream on one media node.
///
/// Media nodes also read it from each other's `/api/v1/streams`, so that a field may be added but not removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamSummary {
    pub(crate) vhost: Option<String>,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) publication: Option<PublicationSummary>,
    pub(crate) playable: bool,
    /// Codec names, video first.
    pub(crate) codecs: Vec<String>,
    pub(crate) viewers: usize,
    /// Encoders that stand by.
    #[serde(default)]
    pub(crate) standbys: usize,
}

/// Summary of a stream's publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicationSummary {
    pub(crate) epoch: u64,
    /// `encoder`, `forwarded`, `pulled` or `slate`.
    pub(crate) source: String,
}

impl StreamSummary {
    pub(crate) fn of(stream: &Stream) -> Self {
        let (key, state, stats) = (stream.key(), stream.state(), stream.stats());
        let codecs = [stats.video, stats.audio].into_iter().flatten();
        Self {
            vhost: key.vhost().map(str::to_owned),
            app: key.app().to_owned(),
            name: key.name().to_owned(),
            publication: state.publication.map(|publication| PublicationSummary {
                epoch: publication.epoch.0,
                source: source_name(publication.source).to_owned(),
            }),
            playable: state.playable,
            codecs: codecs.map(|codec| codec.to_string()).collect(),
            viewers: stream.readers().viewers,
            standbys: stream.standbys(),
        }
    }
}

fn source_name(source: PublicationSource) -> &'static str {
    match source {
        PublicationSource::Encoder => "encoder",
        PublicationSource::Forwarded => "forwarded",
        PublicationSource::Pulled | PublicationSource::PulledSlate => "pulled",
        PublicationSource::Slate => "slate",
    }
}
