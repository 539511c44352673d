//! Clients that do not come from the schedule: they join once everything is mended.

use super::super::schedule::{EncoderSettings, Protocol, ScheduledAction, ViewerSettings};
use super::Run;

/// The number of the first of them.
pub(super) const FINAL: usize = 1000;

impl Run<'_> {
    /// Lets an encoder publish that does not come from the schedule.
    pub(super) fn publish_late(&mut self, number: usize, stream: usize, node: usize) {
        self.perform(&ScheduledAction::Publish {
            encoder: FINAL + number,
            stream,
            node,
            settings: EncoderSettings::default(),
        });
    }

    /// Lets a viewer join that does not come from the schedule.
    pub(super) fn watch_late(&mut self, number: usize, node: usize, protocol: Protocol) {
        self.perform(&ScheduledAction::Watch {
            viewer: FINAL + number,
            stream: 0,
            node,
            settings: ViewerSettings::plain(protocol),
        });
    }
}
