//! Runs a schedule from the start of its cluster to the end.

mod actions;
mod checks;
mod late_clients;
mod leaks;

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Record;
use super::cluster::SimulatedCluster;
use super::encoder::SimulatedEncoder;
use super::on_air::OnAir;
use super::planted::{LONG_WINDOW_SECONDS, Planted};
use super::schedule::{EncoderEnd, Place, Protocol, Schedule, SlateKind};
use super::socket::stream_name;
use super::viewer::SimulatedViewer;
use crate::host::simulated::network::DnsState;
use checks::{Violated, record_panics};

/// What became of a schedule.
pub(super) struct Outcome {
    /// The first thing that must not happen.
    pub(super) violation: Option<String>,
    /// What happened, a line each.
    pub(super) lines: Vec<String>,
    /// Messages that viewers received.
    pub(super) received: u32,
    /// A hash of all that was sent.
    pub(super) history: u64,
}

/// The longest time in which a media node does not run.
const PAUSE: Duration = Duration::from_millis(25);

/// The same without clients, when nothing is urgent.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// Time between two looks at what media nodes hold.
const LOOK: Duration = Duration::from_millis(200);

/// Time in which media nodes start.
const STARTED: Duration = Duration::from_millis(450);

/// Time from the mending of everything until all viewers have to see the encoder that is on air.
const SETTLED: Duration = Duration::from_secs(24);

/// The same where no media node drains or has lost an encoder.
const SETTLED_SOON: Duration = Duration::from_secs(13);

/// How long before the end of that time late viewers join.
const LATE: Duration = Duration::from_secs(9);

/// The late viewers on each media node.
const LATE_VIEWERS: [Protocol; 2] = [Protocol::Rtmp, Protocol::Flv];

/// How long before the end of that time all encoders of one stream finish it, another one publishes it elsewhere, and further viewers
/// join.
const FINISHED: Duration = Duration::from_millis(6500);
const PUBLISHED: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_millis(3500);

/// Time after the last client in which a media node may still hold a stream, besides the waits that are configured: that of an
/// encoder's edge, and those of tails and surveys.
const RELEASED: Duration = Duration::from_secs(14);

/// Time in which media nodes stop.
const STOPPED: Duration = Duration::from_secs(3);

/// Runs a schedule with planted faults.
pub(super) fn explore(schedule: &Schedule, planted: Planted) -> Outcome {
    let steps = [Run::storm, Run::settle, Run::release, Run::stop];
    perform_steps(schedule, planted, &steps)
}

/// Runs a schedule until everything would be mended.
pub(super) fn explore_storm(schedule: &Schedule) -> Outcome {
    perform_steps(schedule, Planted::Nothing, &[Run::storm])
}

type Step<'a> = fn(&mut Run<'a>) -> Result<(), Violated>;

fn perform_steps<'a>(schedule: &'a Schedule, planted: Planted, steps: &[Step<'a>]) -> Outcome {
    record_panics();
    let mut run = Run::new(schedule, planted);
    let _ = steps.iter().try_for_each(|step| step(&mut run));
    Outcome {
        violation: run.record.first_violation(),
        lines: run.record.lines(),
        received: run.received,
        history: run.cluster.network.history(),
    }
}

struct Run<'a> {
    schedule: &'a Schedule,
    planted: Planted,
    encoders: BTreeMap<usize, SimulatedEncoder>,
    viewers: BTreeMap<usize, SimulatedViewer>,
    cluster: SimulatedCluster,
    record: Record,
    on_air: Vec<OnAir>,
    received: u32,
    /// How many tasks each media node has without clients.
    idle_tasks: Vec<(usize, usize)>,
    pause: Duration,
    look_due: Duration,
}

impl<'a> Run<'a> {
    fn new(schedule: &'a Schedule, planted: Planted) -> Self {
        let settings = &schedule.settings;
        let mut built = settings.clone();
        match planted {
            Planted::LongWindow => built.window_seconds = LONG_WINDOW_SECONDS,
            Planted::Stills => built.slate = SlateKind::LastKeyframe,
            _ => {}
        }
        let mut cluster = SimulatedCluster::new(built, schedule.seed);
        if let Some(tamper) = planted.tamper_of_network() {
            cluster.network.set_tamper(tamper);
        }
        cluster.loses_servers = planted == Planted::ServerLost;
        cluster.publications.go_back = planted == Planted::Outdated;
        let record = Record::new(cluster.network.clone());
        record.note(format_args!("{:?} {settings:?}", schedule.hardship));
        for node in 0..cluster.count() {
            cluster.start(node);
        }
        Self {
            schedule,
            planted,
            encoders: BTreeMap::new(),
            viewers: BTreeMap::new(),
            record,
            on_air: (0..settings.streams).map(|_| OnAir::default()).collect(),
            received: 0,
            idle_tasks: Vec::new(),
            pause: PAUSE,
            look_due: Duration::ZERO,
            cluster,
        }
    }

    fn storm(&mut self) -> Result<(), Violated> {
        let end = self.schedule.storm;
        self.run_until(STARTED)?;
        self.idle_tasks = self.cluster.tasks();
        for event in &self.schedule.events {
            if event.at >= end {
                break;
            }
            self.run_until(event.at)?;
            self.perform(&event.action);
        }
        self.run_until(end)?;
        self.count_received();
        Ok(())
    }

    fn count_received(&mut self) {
        let received = self.viewers.values().map(|viewer| viewer.seen().received);
        self.received = received.sum();
    }

    /// Mends everything, and waits until all viewers have to see what is on air.
    fn settle(&mut self) -> Result<(), Violated> {
        self.mend();
        let Schedule {
            storm, hardship, ..
        } = *self.schedule;
        let end = storm
            + if hardship.drains() {
                SETTLED
            } else {
                SETTLED_SOON
            };
        // More than one attempt, as an encoder may be refused while another one is on air.
        for (attempt, after) in [2, 6, 11].into_iter().enumerate() {
            let due = storm + Duration::from_secs(after);
            if due + LATE > end {
                break;
            }
            self.run_until(due)?;
            // Those that were draining as well.
            for node in 0..self.cluster.count() {
                self.cluster.start(node);
            }
            for stream in 0..self.on_air.len() {
                if self.on_air[stream].is_free(due) {
                    let seed = usize::try_from(self.schedule.seed % 7).unwrap_or(0);
                    self.publish_late(10 * stream + attempt, stream, stream + attempt + seed);
                }
            }
        }
        self.run_until(end - LATE)?;
        for node in 0..self.cluster.count() {
            for (number, protocol) in LATE_VIEWERS.into_iter().enumerate() {
                self.watch_late(10 * node + number, node, protocol);
            }
        }
        self.change_encoder(end)?;
        self.run_until(end)?;
        self.check_settled();
        self.count_received();
        self.check()
    }

    /// Ends all that the schedule has broken.
    fn mend(&mut self) {
        self.record.note("everything is mended");
        let places = (0..self.cluster.count()).map(Place::Node);
        let places: Vec<Place> = places.chain([Place::Clients]).collect();
        for one in &places {
            for other in &places {
                self.cluster.cut(*one, *other, false);
                self.cluster.delay(*one, *other, Duration::ZERO);
                self.cluster.narrow(*one, *other, None);
            }
        }
        self.cluster.network.set_dns(DnsState::Answers);
        for node in 0..self.cluster.count() {
            self.cluster.limit_memory(node, None, true);
            self.cluster.hang(node, false);
            self.cluster.start(node);
        }
    }

    /// Lets the encoders of one stream finish it, and another one publish it elsewhere. Viewers who join then see only that one.
    fn change_encoder(&mut self, end: Duration) -> Result<(), Violated> {
        self.run_until(end - FINISHED)?;
        self.check_settled();
        let stream = stream_name(0);
        self.record
            .note(format_args!("the encoders of {stream} finish it"));
        for encoder in self.encoders.values().filter(|it| it.stream == stream) {
            encoder.stop(EncoderEnd::Finish);
        }
        self.run_until(end - PUBLISHED)?;
        let seed = usize::try_from(self.schedule.seed % 5).unwrap_or(0);
        self.publish_late(9, 0, seed);
        self.run_until(end - LATEST)?;
        for node in 0..self.cluster.count() {
            self.watch_late(10 * node + 9, node, LATE_VIEWERS[node % 2]);
        }
        Ok(())
    }

    /// Ends all clients, and waits until the media nodes hold nothing of them.
    fn release(&mut self) -> Result<(), Violated> {
        self.record.note("all clients leave");
        for encoder in self.encoders.values() {
            encoder.stop(EncoderEnd::Finish);
        }
        let leaked = self.plant_leak();
        self.viewers.clear();
        self.pause = IDLE_PAUSE;
        let settings = &self.schedule.settings;
        let waits = settings.continuity_seconds
            + settings.linger_seconds
            + settings.publish_idle_timeout_seconds
            + settings.play_wait_seconds;
        let now = self.record.now();
        self.run_until(now + Duration::from_secs(waits.into()) + RELEASED)?;
        self.encoders.clear();
        self.check_released();
        drop(leaked);
        self.check()
    }

    /// Stops the media nodes, of which nothing may be left.
    fn stop(&mut self) -> Result<(), Violated> {
        let remains = self.plant_remains();
        for node in 0..self.cluster.count() {
            self.cluster.stop(node);
        }
        let now = self.record.now();
        self.run_until(now + STOPPED)?;
        let (running, leaked) = (
            self.cluster.held().len() + self.cluster.draining(),
            self.cluster.leaked(),
        );
        if running + leaked > 0 {
            self.record.violation(format_args!(
                "{running} media nodes do not stop, {leaked} that ended are still in memory"
            ));
        }
        drop(remains);
        let connections = self.cluster.network.connections();
        if connections > 0 {
            self.record
                .violation(format_args!("{connections} connections are still open"));
        }
        self.check()
    }

    fn run_until(&mut self, end: Duration) -> Result<(), Violated> {
        while self.record.now() < end {
            self.cluster.step(end, self.pause);
            let now = self.record.now();
            if now >= self.look_due {
                self.look_due = now + LOOK;
                self.check_held();
                self.check_superseded(now);
            }
            self.check()?;
        }
        Ok(())
    }
}
