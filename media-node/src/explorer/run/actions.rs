//! What happens in a schedule.

use media_config::DuplicatePublish;

use super::super::encoder::{EncoderSetup, SimulatedEncoder};
use super::super::judge::Allowed;
use super::super::media::SentTracks;
use super::super::planted::Planted;
use super::super::schedule::{
    EncoderSettings, Hardship, ScheduledAction, SlateKind, ViewerSettings,
};
use super::super::socket::stream_name;
use super::super::viewer::{SimulatedViewer, ViewerSetup};
use super::Run;

impl Run<'_> {
    pub(super) fn perform(&mut self, action: &ScheduledAction) {
        self.record.note(format_args!("{action:?}"));
        match action.clone() {
            ScheduledAction::Kill(node) => self.cluster.kill(node),
            ScheduledAction::Lose(node) => self.cluster.lose(node),
            ScheduledAction::Drain(node) => self.cluster.drain(node),
            ScheduledAction::Start { node, new_address } => {
                if new_address {
                    self.cluster.move_node(node);
                }
                self.cluster.start(node);
            }
            ScheduledAction::Replace(node) => {
                let drains = self.planted != Planted::NotDrained;
                self.cluster.replace(node, drains);
            }
            ScheduledAction::Hang(node) => self.cluster.hang(node, true),
            ScheduledAction::Resume(node) => self.cluster.hang(node, false),
            ScheduledAction::Cut(one, other) => self.cluster.cut(one, other, true),
            ScheduledAction::CutOneWay(from, to) => self.cluster.cut_one_way(from, to),
            ScheduledAction::Mend(one, other) => self.cluster.cut(one, other, false),
            ScheduledAction::Forget(one, other) => self.cluster.forget_connections(one, other),
            ScheduledAction::Delay(one, other, delay) => self.cluster.delay(one, other, delay),
            ScheduledAction::Narrow(one, other, rate) => self.cluster.narrow(one, other, rate),
            ScheduledAction::Dns(state) => self.cluster.network.set_dns(state),
            ScheduledAction::EndEncoder(encoder, end) => {
                if let Some(encoder) = self.encoders.get(&encoder) {
                    encoder.stop(end);
                }
            }
            ScheduledAction::Leave(viewer) => drop(self.viewers.remove(&viewer)),
            ScheduledAction::SetClock(node, skew) => self.cluster.set_clock(node, skew),
            ScheduledAction::Revoke(node) => self.cluster.revoke(node),
            ScheduledAction::LimitMemory(node, bytes) => {
                let applies = self.planted != Planted::IgnoredMemory;
                self.cluster.limit_memory(node, bytes, applies);
            }
            ScheduledAction::Publish {
                encoder,
                stream,
                node,
                settings,
            } => self.publish(encoder, stream, node, settings),
            ScheduledAction::Watch {
                viewer,
                stream,
                node,
                settings,
            } => self.watch(viewer, stream, node, settings),
        }
    }

    fn publish(&mut self, encoder: usize, stream: usize, node: usize, settings: EncoderSettings) {
        let encoding = if settings.is_same_encoding {
            0
        } else {
            u32::try_from(100 * (encoder + 1)).unwrap_or_default()
        };
        let tracks = if encoder.is_multiple_of(2) {
            self.schedule.tracks
        } else {
            SentTracks::Both
        };
        let setup = EncoderSetup {
            network: self.cluster.network.clone(),
            record: self.record.clone(),
            on_air: self.on_air[stream].clone(),
            stream: stream_name(stream),
            encoding: tracks.encoding(encoding),
            settings,
            changes_encoding: self.schedule.changes_encoding,
            nodes: self.cluster.addresses.clone(),
            publications: self.cluster.publications.clone(),
            node,
            is_protected: !self.schedule.hardship.disturbs(),
            precedence: self.precedence(),
            is_rejected: self.policy_that_holds() == Some(DuplicatePublish::Reject),
            superseded_at: (self.planted == Planted::Superseded).then_some(60),
        };
        let start = async { SimulatedEncoder::start(setup) };
        let started = self.cluster.clients.block_on(start);
        self.encoders.insert(encoder, started);
    }

    fn watch(&mut self, viewer: usize, stream: usize, node: usize, settings: ViewerSettings) {
        let setup = ViewerSetup {
            network: self.cluster.network.clone(),
            record: self.record.clone(),
            on_air: self.on_air[stream].clone(),
            id: viewer,
            stream: stream_name(stream),
            settings,
            nodes: self.cluster.addresses.clone(),
            node,
            allowed: self.allowed(),
            max_age: self.max_age(viewer, node),
            max_first_age: self.max_first_age(viewer, node),
            is_latest_on_air: self.has_epochs(),
            policy: self.policy_that_holds(),
            min_wait: self.min_wait(),
            rests_until: self.schedule.storm,
            tamper: self.planted.tamper(),
        };
        let start = async { SimulatedViewer::start(setup) };
        let started = self.cluster.clients.block_on(start);
        self.viewers.insert(viewer, started);
    }

    /// Returns whether epochs decide which encoder is on air: an RTMP server knows none, and an encoder that stands by has several.
    fn has_epochs(&self) -> bool {
        let settings = &self.schedule.settings;
        !settings.has_rtmp_server && !settings.has_standby()
    }

    /// Returns what viewers may see in this schedule.
    fn allowed(&self) -> Allowed {
        let hardship = self.schedule.hardship;
        let has_standby = self.schedule.settings.has_standby();
        Allowed {
            // Encoders of RTMP servers follow each other.
            returns: has_standby || (hardship.disturbs() && !hardship.has_rtmp_server()),
            repeats: hardship == Hardship::RtmpServerFails,
            restarts: has_standby && self.policy_that_holds().is_none(),
            stills: self.schedule.settings.slate == SlateKind::LastKeyframe,
        }
    }
}
