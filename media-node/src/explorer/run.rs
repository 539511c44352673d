//! Runs a schedule from the start of its cluster to the end, and checks what must hold on the way and at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;
use std::sync::Once;
use std::time::Duration;

use super::client::Record;
use super::cluster::Cluster;
use super::encoder::{Encoder, EncoderSetup, OnAir};
use super::media::{BYTES_PER_SECOND, RATE};
use super::planted::Planted;
use super::schedule::{Action, EncoderEnd, Hardship, Place, Protocol, STORM, Schedule};
use super::viewer::{Viewer, ViewerSetup};
use crate::host::simulated::{current, network::DnsState};

/// What became of a schedule.
pub(super) struct Outcome {
    /// The first thing that must not happen.
    pub(super) violation: Option<String>,
    /// What happened, a line each.
    pub(super) lines: Vec<String>,
    /// Messages that viewers received.
    pub(super) received: u32,
}

/// The time that the cluster gets between two looks at it.
const TICK: Duration = Duration::from_millis(5);

/// Time after which everybody has to see the encoder that is on air again, once everything is mended.
const SETTLED: Duration = Duration::from_secs(22);

/// How long before that viewers join.
const LATE: Duration = Duration::from_secs(8);

/// How far behind the encoder a viewer may be then.
const BEHIND: Duration = Duration::from_secs(2);
const BEHIND_MESSAGES: u32 = 2 * 2 * RATE;

/// Time after the last client in which a media node may still hold a stream, besides the waits that are configured: that of an
/// encoder's edge, and those of tails and surveys.
const RELEASED: Duration = Duration::from_secs(14);

/// Time in which media nodes stop.
const STOPPED: Duration = Duration::from_secs(3);

/// Runs a schedule with planted faults.
pub(super) fn explore(schedule: &Schedule, planted: Planted) -> Outcome {
    record_panics();
    let mut run = Run::new(schedule, planted);
    let steps = [Run::storm, Run::settle, Run::release, Run::stop];
    let _ = steps.iter().try_for_each(|step| step(&mut run));
    Outcome {
        violation: run.record.first_violation(),
        lines: run.record.lines(),
        received: run.received,
    }
}

/// A violation was recorded.
struct Violated;

struct Run<'a> {
    schedule: &'a Schedule,
    planted: Planted,
    encoders: BTreeMap<usize, Encoder>,
    viewers: BTreeMap<usize, Viewer>,
    cluster: Cluster,
    record: Record,
    on_air: Vec<OnAir>,
    received: u32,
}

impl<'a> Run<'a> {
    fn new(schedule: &'a Schedule, planted: Planted) -> Self {
        let settings = &schedule.settings;
        let mut cluster = Cluster::new(settings.clone(), schedule.seed);
        let record = Record::new(cluster.network.clone());
        record.note(format_args!("{:?} {settings:?}", schedule.hardship));
        for node in 0..cluster.count() {
            cluster.start(node, false);
        }
        Self {
            schedule,
            planted,
            encoders: BTreeMap::new(),
            viewers: BTreeMap::new(),
            record,
            on_air: (0..settings.streams).map(|_| OnAir::default()).collect(),
            received: 0,
            cluster,
        }
    }

    fn storm(&mut self) -> Result<(), Violated> {
        for event in &self.schedule.events {
            if event.at >= STORM {
                break;
            }
            self.run_until(event.at)?;
            self.perform(&event.action);
        }
        self.run_until(STORM)
    }

    /// Mends everything, and waits until everybody has to see what is on air.
    fn settle(&mut self) -> Result<(), Violated> {
        self.record.note("everything is mended");
        let places = (0..self.cluster.count()).map(Place::Node);
        let places: Vec<Place> = places.chain([Place::Clients]).collect();
        for one in &places {
            for other in &places {
                self.cluster.cut(*one, *other, false);
                self.cluster.delay(*one, *other, Duration::ZERO);
            }
        }
        self.cluster.network.set_dns(DnsState::Answers);
        for node in 0..self.cluster.count() {
            self.cluster.hang(node, false);
            self.cluster.start(node, false);
        }
        let end = STORM + SETTLED;
        // More than one attempt, as an encoder may be refused while another one is on air.
        for (attempt, after) in [2, 6, 11].into_iter().enumerate() {
            self.run_until(STORM + Duration::from_secs(after))?;
            // Those that were draining as well.
            for node in 0..self.cluster.count() {
                self.cluster.start(node, false);
            }
            for stream in 0..self.on_air.len() {
                if self.on_air[stream].accepted().is_empty() {
                    self.perform(&Action::Publish {
                        encoder: FINAL + 10 * stream + attempt,
                        stream,
                        node: stream
                            + attempt
                            + usize::try_from(self.schedule.seed % 7).unwrap_or(0),
                        is_same_encoding: false,
                        priority: 0,
                    });
                }
            }
        }
        self.run_until(end - LATE)?;
        for node in 0..self.cluster.count() {
            for (number, protocol) in [Protocol::Rtmp, Protocol::Flv].into_iter().enumerate() {
                self.perform(&Action::Watch {
                    viewer: FINAL + 10 * node + number,
                    stream: 0,
                    node,
                    protocol,
                    pause: Duration::ZERO,
                    capacity: 64 << 10,
                });
            }
        }
        self.run_until(end)?;
        self.check_settled();
        let received = self.viewers.values().map(|viewer| viewer.seen().received);
        self.received = received.sum();
        self.check()
    }

    /// Ends all clients, and waits until the media nodes hold nothing of them.
    fn release(&mut self) -> Result<(), Violated> {
        self.record.note("all clients leave");
        for encoder in self.encoders.values() {
            encoder.stop(EncoderEnd::Finish);
        }
        let kept = match self.planted {
            Planted::Leak => self.viewers.pop_first(),
            _ => None,
        };
        self.viewers.clear();
        let settings = &self.schedule.settings;
        let waits = settings.continuity_seconds
            + settings.linger_seconds
            + settings.publish_idle_timeout_seconds
            + settings.play_wait_seconds;
        let now = self.record.now();
        self.run_until(now + Duration::from_secs(waits.into()) + RELEASED)?;
        self.encoders.clear();
        for (node, held) in self.cluster.held() {
            if held != Default::default() {
                self.record
                    .violation(format_args!("node {node} still holds {held:?}"));
            }
        }
        drop(kept);
        self.check()
    }

    /// Stops the media nodes, of which nothing may be left.
    fn stop(&mut self) -> Result<(), Violated> {
        for node in 0..self.cluster.count() {
            self.cluster.stop(node);
        }
        let now = self.record.now();
        self.run_until(now + STOPPED)?;
        let (running, leaked) = (self.cluster.held().len(), self.cluster.leaked());
        if running + leaked > 0 {
            self.record.violation(format_args!(
                "{running} media nodes do not stop, {leaked} that ended are still in memory"
            ));
        }
        let connections = self.cluster.network.connections();
        if connections > 0 {
            self.record
                .violation(format_args!("{connections} connections are still open"));
        }
        self.check()
    }

    fn run_until(&mut self, end: Duration) -> Result<(), Violated> {
        let mut now = self.record.now();
        while now < end {
            now = (now + TICK).min(end);
            self.cluster.run_until(now);
            self.check_memory();
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Violated> {
        if let Some(panicked) = PANIC.take() {
            self.record.violation(format_args!("a panic: {panicked}"));
        }
        match self.record.first_violation() {
            None => Ok(()),
            Some(_) => Err(Violated),
        }
    }

    /// Checks that no media node buffers more than the window of its streams.
    fn check_memory(&self) {
        let settings = &self.schedule.settings;
        // Besides the window, the newest group of pictures, and a former publication that is as long.
        let seconds = usize::try_from(settings.window_seconds + 3).unwrap_or_default();
        let limit = 2 * settings.streams * seconds * BYTES_PER_SECOND;
        let clients = 2 * (self.encoders.len() + self.viewers.len() + 4 * self.cluster.count());
        for (node, held) in self.cluster.held() {
            if held.window_bytes > limit
                || held.streams > settings.streams
                || held.clients > clients
            {
                self.record.violation(format_args!(
                    "node {node} holds too much: {held:?}, of {limit} bytes and {clients} clients"
                ));
            }
        }
    }

    fn check_settled(&self) {
        let record = &self.record;
        for stream in 0..self.on_air.len() {
            self.check_on_air(stream);
        }
        if self.schedule.hardship == Hardship::Calm {
            for (id, viewer) in &self.viewers {
                let seen = viewer.seen();
                if seen.lost + seen.disconnects > 0 {
                    record.violation(format_args!(
                        "viewer {id}: {seen:?} although nothing failed"
                    ));
                }
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
        if accepted.is_empty() || (accepted.len() > 1 && !self.schedule.settings.has_standby()) {
            record.violation(format_args!(
                "encoders of {name} that are on air: {accepted:?}"
            ));
        }
        let viewers = self
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.setup.stream == name && viewer.setup.pause.is_zero());
        let mut on_air = None;
        for (id, viewer) in viewers {
            let last = viewer.seen().last;
            let fresh = last.filter(|(last, at)| {
                let sent = accepted.iter().find(|(id, _)| *id == last.encoder);
                sent.is_some_and(|(_, next)| last.number + BEHIND_MESSAGES >= *next)
                    && record.now() - *at < BEHIND
                    && *on_air.get_or_insert(last.encoder) == last.encoder
            });
            if fresh.is_none() {
                let node = viewer.setup.node;
                record.violation(format_args!(
                    "viewer {id} on node {node} does not see the encoder of {name} that is on air, of {accepted:?}, only {last:?}"
                ));
            }
        }
    }

    fn perform(&mut self, action: &Action) {
        self.record.note(format_args!("{action:?}"));
        match action.clone() {
            Action::Kill(node) => self.cluster.kill(node),
            Action::Lose(node) => self.cluster.lose(node),
            Action::Drain(node) => self.cluster.drain(node),
            Action::Start { node, new_address } => self.cluster.start(node, new_address),
            Action::Hang(node) => self.cluster.hang(node, true),
            Action::Resume(node) => self.cluster.hang(node, false),
            Action::Cut(one, other) => self.cluster.cut(one, other, true),
            Action::Mend(one, other) => self.cluster.cut(one, other, false),
            Action::Delay(one, other, delay) => self.cluster.delay(one, other, delay),
            Action::Dns(state) => self.cluster.network.set_dns(state),
            Action::EndEncoder(encoder, end) => {
                if let Some(encoder) = self.encoders.get(&encoder) {
                    encoder.stop(end);
                }
            }
            Action::Leave(viewer) => drop(self.viewers.remove(&viewer)),
            Action::Publish {
                encoder,
                stream,
                node,
                is_same_encoding,
                priority,
            } => {
                let setup = EncoderSetup {
                    network: self.cluster.network.clone(),
                    record: self.record.clone(),
                    on_air: self.on_air[stream].clone(),
                    stream: format!("{}?priority={priority}", stream_name(stream)),
                    encoding: match is_same_encoding {
                        true => 0,
                        false => u32::try_from(100 * (encoder + 1)).unwrap_or_default(),
                    },
                    is_same_encoding,
                    nodes: self.cluster.addresses.clone(),
                    node,
                };
                let started = self
                    .cluster
                    .clients
                    .block_on(async { Encoder::start(setup) });
                self.encoders.insert(encoder, started);
            }
            Action::Watch {
                viewer,
                stream,
                node,
                protocol,
                pause,
                capacity,
            } => {
                let setup = ViewerSetup {
                    network: self.cluster.network.clone(),
                    record: self.record.clone(),
                    id: viewer,
                    stream: stream_name(stream),
                    protocol,
                    nodes: self.cluster.addresses.clone(),
                    node,
                    pause,
                    capacity,
                    allows_return: self.schedule.settings.has_standby(),
                    tamper: self.planted.tamper(),
                };
                let started = self
                    .cluster
                    .clients
                    .block_on(async { Viewer::start(setup) });
                self.viewers.insert(viewer, started);
            }
        }
    }
}

/// The number of the first client that does not come from the schedule.
const FINAL: usize = 1000;

fn stream_name(number: usize) -> String {
    format!("live/{number}")
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers a panic on a simulated host. A task that panics only ends otherwise.
fn record_panics() {
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
