//! The configuration of a media node.

use std::net::SocketAddr;

use media_config::NodeConfig;

use super::{SERVICE, SimulatedCluster};
use crate::explorer::schedule::{Settings, SlateKind};
use crate::explorer::socket::{HTTP, HTTPS, INTERNAL, RTMP, RTMPS, certificate};

const METRICS: u16 = 9092;

impl SimulatedCluster {
    pub(super) fn config(&self, number: usize) -> NodeConfig {
        let node = &self.nodes[number];
        let settings = &self.settings;
        let mut config = NodeConfig {
            role: node.role,
            name: format!("node-{number}"),
            workers: 2,
            ..NodeConfig::default()
        };
        let at = |port| SocketAddr::from((node.address, port));
        config.listen.rtmp = Some(at(RTMP));
        config.listen.http = Some(at(HTTP));
        config.listen.rtmps = Some(at(RTMPS));
        config.listen.https = Some(at(HTTPS));
        config.tls = Some(certificate());
        config.listen.internal = at(INTERNAL);
        config.listen.metrics = Some(at(METRICS));
        if settings.plays_from_rtmp_servers(number) {
            config.origins.rtmp = self.rtmp_servers();
        } else if settings.has_dns {
            config.origins.service = Some(SERVICE.to_owned());
        } else {
            let origins = self.origins().map(|origin| format!("{origin}:{INTERNAL}"));
            config.origins.addresses = origins.collect();
        }
        config.slate = (settings.slate == SlateKind::Clip).then(|| self.slate());
        let stream = &mut config.stream;
        stream.repeat_last_keyframe = settings.slate == SlateKind::LastKeyframe;
        stream.duplicate_publish = settings.duplicate_publish;
        stream.publish_idle_timeout_seconds = settings.publish_idle_timeout_seconds;
        stream.play_wait_seconds = settings.play_wait_seconds;
        stream.continuity_seconds = settings.continuity_seconds;
        stream.linger_seconds = settings.linger_seconds;
        stream.window_seconds = settings.window_seconds;
        stream.window_max_mebibytes = 1;
        // A pulse that follows the load would follow that of this computer.
        stream.pulse_min_milliseconds = settings.pulse_milliseconds;
        stream.pulse_max_milliseconds = settings.pulse_milliseconds;
        config.drain.accept_seconds = 1;
        config.drain.timeout_seconds = 6;
        config
    }

    /// Returns the addresses of the media nodes that others know as RTMP servers.
    fn rtmp_servers(&self) -> Vec<String> {
        let Settings {
            origins,
            edges,
            further_edges,
            ..
        } = self.settings;
        let servers = if further_edges == 0 {
            0..origins
        } else {
            origins..origins + edges
        };
        let addresses = self.nodes[servers].iter().map(|node| node.address);
        let port = if self.loses_servers { METRICS } else { RTMP };
        let urls = addresses.map(|server| format!("rtmp://{server}:{port}"));
        urls.collect()
    }
}
