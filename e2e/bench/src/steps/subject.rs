//! What a step measures beside others in turns: a stream of a server with its setting.

use super::{Against, FLOOR, MEDIA_NODE};
use crate::server::{Interval, PlayProtocol, Server};

/// The stream that is published to each of them.
pub(super) const STREAM: &str = "bench";

/// A stream that viewers play.
pub(super) struct Subject {
    pub(super) server: String,
    pub(super) protocol: String,
    pub(super) setting: String,
    pub(super) url: String,
    pub(super) process: Option<u32>,
}

impl Subject {
    pub(super) fn floor(floor: &Server, interval: Interval) -> Self {
        Self {
            server: FLOOR.to_owned(),
            protocol: PlayProtocol::Flv.to_string(),
            setting: interval.to_string(),
            url: floor.play_url(PlayProtocol::Flv, STREAM),
            process: Some(floor.process()),
        }
    }

    pub(super) fn media_node(node: &Server, protocol: PlayProtocol, interval: Interval) -> Self {
        Self {
            server: MEDIA_NODE.to_owned(),
            protocol: protocol.to_string(),
            setting: interval.to_string(),
            url: node.play_url(protocol, STREAM),
            process: Some(node.process()),
        }
    }

    /// Another server, as it is.
    pub(super) fn other(server: &Against) -> Self {
        Self {
            server: server.name.clone(),
            protocol: server.protocol().to_owned(),
            setting: "its own".to_owned(),
            url: server.play_url(STREAM),
            process: server.process,
        }
    }
}
