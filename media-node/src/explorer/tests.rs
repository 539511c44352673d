//! The schedules that `cargo test` runs, and proofs that the explorer finds what is planted.

mod pinned_seeds;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use media_config::DuplicatePublish;

use super::node_log::with_log;
use super::planted::{Planted, Tamper, TamperKind};
use super::run::{Outcome, explore, explore_storm};
use super::schedule::{
    EncoderSettings, Event, Hardship, Place, Protocol, Schedule, ScheduledAction, ViewerSettings,
};
use super::socket::first_choices;

/// The seeds that every test run explores.
const SEEDS: std::ops::Range<u64> = 1..3;

/// The seeds of which one at least finds a planted fault.
const PLANTED_SEEDS: std::ops::Range<u64> = 1..9;

/// Seeds with rolling updates.
const ROLLOUT_SEEDS: std::ops::Range<u64> = 12..14;

/// Seeds with two streams, and clients that are disconnected.
#[cfg(tokio_unstable)]
const REPLAYED_SEEDS: [u64; 2] = [1, 2];

/// How often a seed is replayed.
const REPLAYS: u32 = 10;

/// Lines of a record that a failure prints, unless it replays a seed.
const LAST_LINES: usize = 60;

#[test]
fn schedules_of_failures_break_nothing() {
    let variable = |name| std::env::var(name).ok().map(|value| value.parse::<u64>());
    let number = |name| variable(name).map(|value| value.expect("a number"));
    match (
        number("EXPLORE_SEED"),
        number("EXPLORE_COUNT"),
        number("EXPLORE_SECONDS"),
    ) {
        (Some(seed), _, _) => replay(seed),
        (None, None, None) => explore_from(SEEDS, Duration::MAX),
        (None, count, seconds) => {
            // Another part of all seeds each time, unless the first one is given.
            let first = number("EXPLORE_FROM").unwrap_or_else(|| crate::host::random("seed") >> 16);
            let end = count.map_or(u64::MAX, |count| first.saturating_add(count));
            explore_from(
                first..end,
                seconds.map_or(Duration::MAX, Duration::from_secs),
            );
        }
    }
}

/// Replays a seed several times, and shows the record of one that fails.
fn replay(seed: u64) {
    let schedule = Schedule::of(seed);
    if let Ok(level) = std::env::var("EXPLORE_LOG") {
        let level = level.parse().expect("a level of log lines");
        with_log(level, || explore(&schedule, Planted::Nothing));
    }
    let outcomes = (0..REPLAYS).map(|_| explore(&schedule, Planted::Nothing));
    let outcomes: Vec<Outcome> = outcomes.collect();
    let records: HashSet<_> = outcomes.iter().map(|it| (&it.lines, it.history)).collect();
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|it| it.violation.is_some())
        .collect();
    let shown = failed.first().copied().or(outcomes.first());
    println!(
        "{}",
        shown.map_or_else(String::new, |it| it.lines.join("\n"))
    );
    println!(
        "{} of {REPLAYS} replays fail, {} different records",
        failed.len(),
        records.len()
    );
    let violation = failed.first().map(|it| &it.violation);
    assert_eq!(violation, None, "seed {seed}");
}

/// Explores seeds on all cores until the time is over. Fails with the first seed that fails.
fn explore_from(seeds: std::ops::Range<u64>, limit: Duration) {
    let start = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let (received, is_failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || start.elapsed() >= limit || is_failed.load(Ordering::Relaxed) {
                return;
            }
            let outcome = explore(&Schedule::of(seed), Planted::Nothing);
            received.fetch_add(outcome.received.into(), Ordering::Relaxed);
            let count = seed - seeds.start + 1;
            if count.is_multiple_of(50) {
                let seconds = start.elapsed().as_secs();
                println!("{count} schedules in {seconds} s");
            }
            if outcome.violation.is_some() {
                is_failed.store(true, Ordering::Relaxed);
                panic!("{}", failure(seed, &outcome));
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let count = next.into_inner().min(seeds.end) - seeds.start;
    let received = received.into_inner();
    assert!(received > 0, "no viewer received anything");
    println!(
        "{count} schedules in {} s, {received} messages received",
        start.elapsed().as_secs()
    );
}

/// No thread, hash map or address of this computer decides anything.
#[cfg(tokio_unstable)]
#[test]
fn seed_replays_exactly() {
    for seed in REPLAYED_SEEDS {
        let schedule = Schedule::of(seed);
        let replays = (0..3).map(|_| explore(&schedule, Planted::Nothing));
        let records: HashSet<_> = replays.map(|it| (it.lines, it.history)).collect();
        assert_eq!(records.len(), 1, "different records of seed {seed}");
    }
}

fn failure(seed: u64, outcome: &Outcome) -> String {
    let first = outcome.lines.len().saturating_sub(LAST_LINES);
    let lines = outcome.lines[first..].join("\n");
    let violation = outcome.violation.as_deref().unwrap_or_default();
    format!(
        "{lines}\n\nseed {seed} fails: {violation}\n\
         replay it: RUSTFLAGS='--cfg tokio_unstable' EXPLORE_SEED={seed} \
         cargo test -p media-node --lib --profile explore schedules_of_failures -- --nocapture"
    )
}

/// On another continent a reply over a new connection takes longer than the limits for origins nearby.
#[test]
fn distant_origins_keep_their_relays() {
    let mut schedule = one_viewer();
    schedule.settings.latency = Duration::from_millis(200);
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(outcome.received > 100, "{lines}");
}

/// Each round trip of a failover holds back what viewers see. Here one takes between 0.6 and 1.2 s.
#[test]
fn distant_origin_takes_over_within_few_round_trips() {
    let mut schedule = one_viewer();
    schedule.settings.latency = Duration::from_millis(300);
    (
        schedule.settings.play_wait_seconds,
        schedule.settings.continuity_seconds,
    ) = (10, 12);
    let carrier = first_choices(0, 2)[0];
    schedule.events = vec![
        event(1000, publish_on(2)),
        event(12_000, watch_on(3)),
        event(22_000, ScheduledAction::Kill(carrier)),
    ];
    schedule.storm = Duration::from_secs(32);
    // Besides the time that messages may take without a failure.
    schedule.outages.longest = vec![Duration::from_secs(4); 4];
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(outcome.received > 250, "{lines}");
}

/// A busy origin replies after a second, and so does the next time.
#[test]
fn edge_waits_for_the_reply_of_a_busy_origin() {
    let mut schedule = one_viewer();
    schedule.settings.origins = 1;
    let busy = (Place::Node(0), Place::Node(1), Duration::from_millis(250));
    schedule.events = vec![
        event(600, ScheduledAction::Delay(busy.0, busy.1, busy.2)),
        event(1000, publish_on(1)),
        event(3000, watch_on(2)),
    ];
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(!lines.contains("Publish.Failed"), "{lines}");
    assert!(outcome.received > 100, "{lines}");
}

/// DNS still has the addresses of origins that have lost their power, and none has replied to anything for long.
#[test]
fn origins_that_are_gone_delay_no_failover() {
    let mut schedule = one_viewer();
    schedule.settings.origins = 4;
    let origins = first_choices(0, 4);
    let node = |number: usize| 4 + number;
    schedule.events = vec![
        event(1000, publish_on(node(0))),
        event(3000, watch_on(node(1))),
        event(3500, ScheduledAction::Lose(origins[1])),
        event(3500, ScheduledAction::Lose(origins[2])),
        event(14_500, ScheduledAction::Lose(origins[0])),
    ];
    schedule.storm = Duration::from_secs(20);
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(outcome.received > 300, "{lines}");
}

/// The edge gives the silent origin the longer time, as the other one is gone, until that one is back.
#[test]
fn origin_that_returns_ends_the_wait_for_one_that_hangs() {
    let mut schedule = one_viewer();
    let [carrier, other] = first_choices(0, 2)[..] else {
        panic!("two origins");
    };
    let start = ScheduledAction::Start {
        node: other,
        new_address: false,
    };
    schedule.settings.continuity_seconds = 12;
    schedule.events.extend([
        event(8000, ScheduledAction::Hang(carrier)),
        event(8000, ScheduledAction::Kill(other)),
        event(9500, start),
    ]);
    schedule.storm = Duration::from_secs(16);
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(outcome.received > 200, "{lines}");
}

/// An origin returns with another address, which DNS has not named to the other origin when an edge forwards the next encoder to it.
#[test]
fn encoder_takes_over_from_one_at_an_origin_with_a_new_address() {
    let mut schedule = one_viewer();
    let settings = &mut schedule.settings;
    // The edge tries the other origin before the new address.
    (settings.origins, settings.edges) = (2, 3);
    (settings.has_dns, settings.time_to_live) = (true, Duration::from_secs(30));
    let returned = first_choices(0, 2)[1];
    let start = ScheduledAction::Start {
        node: returned,
        new_address: true,
    };
    let next = ScheduledAction::Publish {
        encoder: 1,
        stream: 0,
        node: 2,
        settings: EncoderSettings::default(),
    };
    schedule.events = vec![
        event(600, ScheduledAction::Lose(returned)),
        event(900, start),
        event(2000, publish_on(returned)),
        event(3000, watch_on(3)),
        event(5000, next),
    ];
    let outcome = explore_storm(&schedule);
    let lines = outcome.lines.join("\n");
    assert_eq!(outcome.violation, None, "{lines}");
    assert!(lines.contains("encoder 1 of live/0"), "{lines}");
    assert!(outcome.received > 100, "{lines}");
}

/// Requests do not arrive, or responses do not, for as long as TCP waits.
#[test]
fn packets_that_get_lost_in_one_direction_cost_no_message() {
    let carrier = first_choices(0, 2)[0];
    for (from, to) in [(carrier, 2), (2, carrier), (carrier, 3), (3, carrier)] {
        let mut schedule = one_viewer();
        let (from, to) = (Place::Node(from), Place::Node(to));
        schedule.settings.continuity_seconds = 12;
        schedule.events.extend([
            event(6000, ScheduledAction::CutOneWay(from, to)),
            event(12_000, ScheduledAction::Mend(from, to)),
        ]);
        schedule.storm = Duration::from_secs(15);
        schedule.outages.longest = vec![Duration::from_secs(2); 4];
        let outcome = explore_storm(&schedule);
        let lines = outcome.lines.join("\n");
        assert_eq!(outcome.violation, None, "{lines}");
        assert!(!lines.contains("viewer 0 lost"), "{lines}");
        assert!(outcome.received > 200, "{lines}");
    }
}

/// Returns a schedule of two origins and two edges in which nothing fails: one edge has an encoder, the other one a viewer.
fn one_viewer() -> Schedule {
    let mut calm = (1..).map(Schedule::of);
    let calm = calm.find(|it| {
        it.hardship == Hardship::Calm && it.settings.duplicate_publish == DuplicatePublish::Takeover
    });
    let mut schedule = calm.expect("there are some");
    let settings = &mut schedule.settings;
    (settings.origins, settings.edges, settings.streams) = (2, 2, 1);
    (settings.latency, settings.skew) = (Duration::from_millis(1), Duration::ZERO);
    schedule.events = vec![event(1000, publish_on(2)), event(3000, watch_on(3))];
    schedule
}

fn publish_on(node: usize) -> ScheduledAction {
    ScheduledAction::Publish {
        encoder: 0,
        stream: 0,
        node,
        settings: EncoderSettings::default(),
    }
}

fn watch_on(node: usize) -> ScheduledAction {
    ScheduledAction::Watch {
        viewer: 0,
        stream: 0,
        node,
        settings: ViewerSettings::plain(Protocol::Flv),
    }
}

fn event(milliseconds: u64, action: ScheduledAction) -> Event {
    Event {
        at: Duration::from_millis(milliseconds),
        action,
    }
}

/// Returns some seeds in which a media node has too little memory for its windows.
fn seeds_with_short_memory() -> impl Iterator<Item = u64> {
    let has_short_memory = |seed: &u64| {
        let events = Schedule::of(*seed).events;
        let mut actions = events.iter().map(|event| &event.action);
        actions.any(|action| matches!(action, ScheduledAction::LimitMemory(_, Some(_))))
    };
    (1..).filter(has_short_memory).take(8)
}

/// Returns some seeds in which the paths between media nodes are narrow while origins fail.
fn seeds_with_narrow_paths() -> impl Iterator<Item = u64> {
    let is_narrow = |seed: &u64| Schedule::of(*seed).hardship == Hardship::Narrow;
    (1..).filter(is_narrow).take(16)
}

/// Returns some seeds in which edges of another cluster play from edges.
fn seeds_with_chains() -> impl Iterator<Item = u64> {
    let is_chain = |seed: &u64| Schedule::of(*seed).settings.further_edges > 0;
    (1..).filter(is_chain).take(4)
}

#[test]
fn each_planted_fault_is_found() {
    let tampered = |kind| Planted::Tampered(Tamper { kind, after: 60 });
    let planted = [
        (tampered(TamperKind::Repeat), "a message was repeated"),
        (tampered(TamperKind::Tear), "torn"),
        (tampered(TamperKind::Lose), "is no keyframe"),
        (tampered(TamperKind::TurnBackTime), "time goes back"),
        (tampered(TamperKind::Delay), "s old, after"),
        (Planted::Leak, "still holds"),
        (Planted::Connection, "connections are open"),
        (Planted::SecondOnAir, "that are on air"),
        (Planted::Superseded, "superseded by none"),
        (Planted::Outdated, "which is later"),
        (Planted::NotRejected, "is accepted although"),
        (Planted::Task, "tasks without a client"),
        (Planted::Remains, "still in memory"),
        (Planted::Panic, "a panic: "),
        (Planted::NotDrained, "does not see the encoder"),
        (Planted::Reordered, "a message arrived after a later one"),
        (Planted::NotAnnounced, "two encoders are accepted for long"),
        (Planted::LongWindow, "holds too much"),
        (Planted::IgnoredMemory, "holds too much"),
        (Planted::NeedsUnknown, "s old, after"),
        (Planted::ServerLost, "does not see the encoder"),
        (Planted::Stills, "arrived after a later one"),
    ];
    for (planted, expected) in planted {
        let mut seeds = PLANTED_SEEDS
            .chain(ROLLOUT_SEEDS)
            .chain(seeds_with_short_memory())
            .chain(seeds_with_narrow_paths())
            .chain(seeds_with_chains());
        let found = seeds.find_map(|seed| explore(&Schedule::of(seed), planted).violation);
        let violation = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        assert!(violation.contains(expected), "{planted:?}: {violation}");
    }
}
