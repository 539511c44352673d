//! What must hold while a schedule runs, and once everything is mended.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use media_config::DuplicatePublish;

use super::super::attempts::Precedence;
use super::super::media::{BYTES_PER_SECOND, RATE};
use super::super::on_air::{PREFERRED, Sending};
use super::super::planted::Planted;
use super::super::socket::stream_name;
use super::super::viewer::FROM_START;
use super::late_clients::FINAL;
use super::{FINISHED, LATEST, Run};
use crate::host::simulated::current;
use crate::server::Held;

/// How far behind the encoder a viewer may be once everything is mended.
const BEHIND: Duration = Duration::from_secs(2);
const BEHIND_MESSAGES: u32 = 2 * 2 * RATE;

/// How old messages may be without failures: a group of pictures, latency and pulses, and the search for the stream.
const MAX_AGE: Duration = Duration::from_millis(2500);

/// How long an encoder may wait until it is accepted.
const ACCEPTED: Duration = Duration::from_millis(1500);

/// A violation was recorded.
pub(super) struct Violated;

impl Run<'_> {
    /// Returns how old a message may be when a viewer on this media node gets it.
    pub(super) fn max_age(&self, viewer: usize, node: usize) -> Duration {
        if !self.is_undisturbed(viewer) {
            return Duration::MAX;
        }
        // An RTMP server does not say that a publication is over. Who joins before the next one begins gets the end of it.
        let settings = &self.schedule.settings;
        if settings.has_rtmp_server {
            let continuity = Duration::from_secs(settings.continuity_seconds.into());
            let since_end = if viewer >= FINAL {
                FINISHED - LATEST
            } else {
                continuity
            };
            return MAX_AGE + since_end;
        }
        if viewer >= FINAL {
            return MAX_AGE;
        }
        MAX_AGE + self.schedule.outages.of(node)
    }

    /// Returns how old those may be with which it begins: where one joins as a publication moves that has just begun, the next origin gets all
    /// of that.
    pub(super) fn max_first_age(&self, viewer: usize, node: usize) -> Duration {
        let max_age = self.max_age(viewer, node);
        if viewer < FINAL && !self.schedule.outages.of(node).is_zero() {
            max_age.saturating_add(Duration::from_secs(FROM_START.into()))
        } else {
            max_age
        }
    }

    /// Returns whether nothing fails that a viewer depends on. One that is not of the schedule joins once everything is mended.
    fn is_undisturbed(&self, viewer: usize) -> bool {
        !self.schedule.hardship.disturbs() || viewer >= FINAL
    }

    /// Returns how long a viewer's stream waits for an encoder at least.
    pub(super) fn min_wait(&self) -> Duration {
        if self.schedule.hardship.disturbs() {
            Duration::ZERO
        } else {
            Duration::from_secs(self.schedule.settings.continuity_seconds.into())
        }
    }

    /// Returns the policy that decides at all times which encoder viewers see, where nothing fails.
    pub(super) fn policy_that_holds(&self) -> Option<DuplicatePublish> {
        let policy = match self.planted {
            Planted::NotRejected => DuplicatePublish::Reject,
            _ => self.schedule.settings.duplicate_publish,
        };
        self.schedule.hardship.is_calm().then_some(policy)
    }

    /// Returns which encoders may supersede another one. Where media nodes may not know of each other's encoders, the clock decides.
    pub(super) fn precedence(&self) -> Precedence {
        let hardship = self.schedule.hardship;
        let is_exact = hardship.is_calm() || hardship.has_right_clocks();
        let clocks = if is_exact {
            Duration::ZERO
        } else {
            self.schedule.clock_difference()
        };
        match self.schedule.settings.duplicate_publish {
            DuplicatePublish::Reject if hardship.is_calm() => Precedence::AtOnce(ACCEPTED),
            DuplicatePublish::Reject => Precedence::Any,
            DuplicatePublish::Takeover | DuplicatePublish::Standby => {
                Precedence::Later(ACCEPTED + clocks)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), Violated> {
        if let Some(panicked) = PANIC.take() {
            self.record.violation(format_args!("a panic: {panicked}"));
        }
        match self.record.first_violation() {
            None => Ok(()),
            Some(_) => Err(Violated),
        }
    }

    /// Checks that the connection of an encoder ends once another one is on air.
    pub(super) fn check_superseded(&self, now: Duration) {
        if !self.schedule.hardship.is_calm() || self.schedule.settings.has_standby() {
            return;
        }
        for on_air in &self.on_air {
            if let Some(both) = on_air.both_accepted(now) {
                self.record
                    .violation(format_args!("two encoders are accepted for long: {both:?}"));
            }
        }
    }

    /// Checks that no media node buffers more than the window of its streams.
    pub(super) fn check_held(&self) {
        let settings = &self.schedule.settings;
        // Besides the window, the newest group of pictures, and a slate.
        let seconds = usize::try_from(settings.window_seconds + 3).unwrap_or_default();
        let limit = settings.streams * seconds * BYTES_PER_SECOND;
        let clients = 2 * (self.encoders.len() + self.viewers.len() + 4 * self.cluster.count());
        for (node, held) in self.cluster.held() {
            let short = self.cluster.memory_limit(node);
            let windows = short.map_or(limit, |short| limit.min(short));
            if held.window_bytes > windows
                || held.media_bytes > limit + clients * BYTES_PER_SECOND
                || held.streams > settings.streams
                || held.clients > clients
            {
                self.record.violation(format_args!(
                    "node {node} holds too much: {held:?}, of {windows} bytes and {clients} clients"
                ));
            }
        }
    }

    /// Checks that media nodes without clients hold nothing but the addresses of the origins that there are.
    pub(super) fn check_released(&self) {
        let settings = &self.schedule.settings;
        for (node, held) in self.cluster.held() {
            let has_origins = !settings.plays_from_rtmp_servers(node);
            let expected = Held {
                origins: if has_origins { settings.origins } else { 0 },
                ..Held::default()
            };
            if held != expected {
                self.record
                    .violation(format_args!("node {node} still holds {held:?}"));
            }
        }
        for (started, now) in self.idle_tasks.iter().zip(self.cluster.tasks()) {
            if now.1 > started.1 {
                let (node, tasks) = now;
                self.record.violation(format_args!(
                    "node {node} has {tasks} tasks without a client, {} at its start",
                    started.1
                ));
            }
        }
        let connections = self.cluster.network.connections();
        if connections > 0 {
            self.record.violation(format_args!(
                "{connections} connections are open without a client"
            ));
        }
    }

    pub(super) fn check_settled(&self) {
        for stream in 0..self.on_air.len() {
            self.check_on_air(stream);
        }
        let undisturbed = self
            .viewers
            .iter()
            .filter(|(id, _)| self.is_undisturbed(**id));
        for (id, viewer) in undisturbed {
            let seen = viewer.seen();
            self.record.note(format_args!("viewer {id}: {seen:?}"));
            if seen.lost > self.schedule.outages.lost || seen.disconnects > 0 {
                self.record.violation(format_args!(
                    "viewer {id}: {seen:?} although nothing failed that it depends on"
                ));
            }
        }
    }

    /// Checks that one encoder of a stream is on air, and that all viewers see it.
    fn check_on_air(&self, stream: usize) {
        let (record, name) = (&self.record, stream_name(stream));
        let mut accepted = self.on_air[stream].accepted();
        if self.planted == Planted::SecondOnAir {
            accepted.extend(accepted.first().copied());
        }
        let has_standby = self.schedule.settings.has_standby();
        if accepted.is_empty() || (accepted.len() > 1 && !has_standby) {
            record.violation(format_args!(
                "encoders of {name} that are on air: {accepted:?}"
            ));
        }
        let now = record.now();
        let is_steady = |it: &&Sending| now - it.since >= PREFERRED && now - it.last < BEHIND;
        let preferred = accepted.iter().filter(is_steady).map(|it| it.priority);
        let least = preferred.max().filter(|_| has_standby).unwrap_or_default();
        let is_changing = has_standby && accepted.iter().any(|it| it.is_being_preferred(now));
        let viewers = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.setup.stream == name)
            .filter(|(_, viewer)| viewer.setup.settings.pause.is_zero());
        let mut on_air = None;
        for (id, viewer) in viewers {
            let last = viewer.seen().last;
            let fresh = last.filter(|(last, at)| {
                let sent = accepted.iter().find(|it| it.encoder == last.encoder);
                sent.is_some_and(|it| {
                    let is_preferred = it.priority >= least || it.is_being_preferred(now);
                    is_preferred && last.number + BEHIND_MESSAGES >= it.next
                }) && now - *at < BEHIND
                    && (is_changing || *on_air.get_or_insert(last.encoder) == last.encoder)
            });
            if fresh.is_none() {
                let node = viewer.setup.node;
                record.violation(format_args!(
                    "viewer {id} on node {node} does not see the encoder of {name} that is on air, of {accepted:?}, only {last:?}"
                ));
            }
        }
    }
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers a panic on a simulated host. A task that panics only ends otherwise.
pub(super) fn record_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if current().is_some() {
                PANIC.replace(Some(info.to_string()));
            }
            before(info);
        }));
    });
}
