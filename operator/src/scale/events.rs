//! Which edges announced events need, and when: a pure function.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use livecluster_api::{AnnouncedEvent, Autoscaling};

/// Time before an event at which its edges are added. A cluster autoscaler takes up to five minutes for a node, and a node
/// another one for an image that it does not have.
pub const LEAD_TIME: Duration = Duration::from_secs(600);

/// What the announced events need at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventDemand {
    /// Edges that are to be there now, whatever is allowed.
    pub edges: u32,
    /// The event that matters most of those that have not ended.
    pub event: Option<EventReport>,
}

/// An event that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventReport {
    /// When it begins.
    pub starts_at: Timestamp,
    /// Viewers of the event, and of others at the same time.
    pub viewers: u64,
    /// Edges that they need, whatever is allowed.
    pub edges: u32,
    /// Its phase.
    pub phase: EventPhase,
}

/// Whether an event's edges are to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventPhase {
    /// They are not added yet.
    Ahead,
    /// They are added.
    Near,
    /// It has begun.
    Begun,
}

/// An event in the terms of a clock.
#[derive(Clone, Copy)]
struct Period {
    starts_at: Timestamp,
    ends_at: Timestamp,
    viewers: u64,
}

/// Returns what the events of the spec need at `now`. The reported event is the first that needs more edges than are allowed,
/// else the first one.
pub fn event_demand(autoscaling: &Autoscaling, now: Timestamp) -> EventDemand {
    let Some(target) = autoscaling.target_viewers.filter(|target| *target > 0) else {
        return EventDemand::default();
    };
    let mut periods: Vec<Period> = autoscaling.events.iter().filter_map(period).collect();
    periods.retain(|period| now < period.ends_at);
    periods.sort_by_key(|period| period.starts_at);
    let viewers_at = |at: Timestamp| -> u64 {
        let present = periods.iter().filter(|period| period.needs_edges_at(at));
        present.map(|period| period.viewers).sum()
    };
    let edges = |viewers: u64| edges(viewers, target, autoscaling.buffer_percent);
    let report = |period: &Period| {
        let viewers = viewers_at(period.starts_at.max(now));
        EventReport {
            starts_at: period.starts_at,
            viewers,
            edges: edges(viewers),
            phase: period.phase(now),
        }
    };
    let reports: Vec<EventReport> = periods.iter().map(report).collect();
    let too_large = |report: &&EventReport| report.edges > autoscaling.max_replicas.into();
    let event = reports.iter().find(too_large).or(reports.first());
    EventDemand {
        edges: edges(viewers_at(now)),
        event: event.copied(),
    }
}

impl Period {
    fn needs_edges_at(&self, at: Timestamp) -> bool {
        self.starts_at <= at.saturating_add(LEAD_TIME).unwrap_or(at) && at < self.ends_at
    }

    fn phase(&self, now: Timestamp) -> EventPhase {
        if self.starts_at <= now {
            EventPhase::Begun
        } else if self.needs_edges_at(now) {
            EventPhase::Near
        } else {
            EventPhase::Ahead
        }
    }
}

/// The API server refuses other times than those that parse.
fn period(event: &AnnouncedEvent) -> Option<Period> {
    let starts_at: Timestamp = event.starts_at.parse().ok()?;
    Some(Period {
        starts_at,
        ends_at: starts_at.checked_add(event.duration()).ok()?,
        viewers: event.viewers.into(),
    })
}

/// Returns the edges for so many viewers, with the buffer.
fn edges(viewers: u64, target: u32, buffer_percent: u16) -> u32 {
    let with_buffer = viewers.saturating_mul(100 + u64::from(buffer_percent));
    let edges = with_buffer.div_ceil(u64::from(target) * 100);
    u32::try_from(edges).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn demand(events: Value, now: &str) -> EventDemand {
        let autoscaling = json!({"maxReplicas": 30, "targetViewers": 500, "events": events});
        let autoscaling = serde_json::from_value(autoscaling).unwrap();
        event_demand(&autoscaling, now.parse().unwrap())
    }

    fn event(starts_at: &str, duration: &str, viewers: u32) -> Value {
        json!({"startsAt": starts_at, "duration": duration, "viewers": viewers})
    }

    #[test]
    fn edges_are_needed_from_the_lead_time_to_the_end() {
        let events = json!([event("2027-01-31T21:00:00+01:00", "1h30m", 10_000)]);
        for (now, edges, phase) in [
            ("2027-01-31T19:49:59Z", 0, Some(EventPhase::Ahead)),
            ("2027-01-31T19:50:00Z", 22, Some(EventPhase::Near)),
            ("2027-01-31T20:00:00Z", 22, Some(EventPhase::Begun)),
            ("2027-01-31T21:29:59Z", 22, Some(EventPhase::Begun)),
            ("2027-01-31T21:30:00Z", 0, None),
        ] {
            let demand = demand(events.clone(), now);
            let seen = (demand.edges, demand.event.map(|event| event.phase));
            assert_eq!(seen, (edges, phase), "{now}");
        }
    }

    #[test]
    fn viewers_of_events_at_the_same_time_are_added_up() {
        let events = json!([
            event("2027-01-31T20:00:00Z", "2h", 5_000),
            event("2027-01-31T21:00:00Z", "2h", 5_000)
        ]);
        assert_eq!(demand(events.clone(), "2027-01-31T20:30:00Z").edges, 11);
        assert_eq!(demand(events.clone(), "2027-01-31T20:50:00Z").edges, 22);
        assert_eq!(demand(events, "2027-01-31T22:00:00Z").edges, 11);
    }

    #[test]
    fn nested_past_and_far_events_have_their_time() {
        let events = json!([
            event("2027-01-31T20:00:00Z", "3h", 5_000),
            event("2027-02-01T06:00:00+09:00", "1h", 10_000),
            event("2020-01-01T00:00:00Z", "999h", 90_000),
            event("9998-12-31T23:59:59Z", "999h", 20_000)
        ]);
        for (now, edges) in [
            ("2020-01-20T00:00:00Z", 198),
            ("2027-01-31T20:30:00Z", 11),
            ("2027-01-31T21:30:00Z", 33),
            ("2027-01-31T22:00:00Z", 11),
            ("2027-01-31T23:00:00Z", 0),
            ("9999-01-01T00:00:00Z", 44),
        ] {
            assert_eq!(demand(events.clone(), now).edges, edges, "{now}");
        }
        let last = demand(events, "2030-01-01T00:00:00Z").event.unwrap();
        assert_eq!((last.viewers, last.phase), (20_000, EventPhase::Ahead));
    }

    #[test]
    fn event_that_needs_too_many_edges_is_reported_before_earlier_ones() {
        let events = json!([
            event("2027-01-31T20:00:00Z", "1h", 500),
            event("2027-02-28T20:00:00Z", "1h", 50_000)
        ]);
        let event = demand(events, "2027-01-01T00:00:00Z").event.unwrap();
        assert_eq!((event.viewers, event.edges), (50_000, 110));
        assert_eq!(event.starts_at.to_string(), "2027-02-28T20:00:00Z");
    }
}
