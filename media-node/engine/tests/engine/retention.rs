//! What a log keeps: little without readers that need more, and the whole window for relays and for viewers that are behind.

use std::time::{Duration, Instant};

use media_engine::{CursorEvent, EngineSettings, Format, Publication, Registry, Start};

use crate::support::*;

const CONTINUITY: Duration = Duration::from_secs(30);

/// A stream of 25 frames a second.
struct Live {
    registry: Registry,
    publication: Publication,
    start: Instant,
    frames: u32,
    /// Frames of a group of pictures.
    group: u32,
}

impl Live {
    /// Returns a stream that was published long ago.
    fn new() -> Self {
        let registry = Registry::new(EngineSettings {
            continuity: CONTINUITY,
            ..settings()
        });
        let mut publication = encoder(&registry, "a", 1);
        send(&mut publication, headers());
        Self {
            registry,
            publication,
            start: Instant::now() + Duration::from_secs(60),
            frames: 0,
            group: 25,
        }
    }

    fn viewer(&self) -> FlvReader {
        FlvReader::of(&self.registry, "a", Start::Newest)
    }

    fn send_frame(&mut self) {
        let number = self.frames;
        self.publication.append(match number % self.group {
            0 => keyframe(number * 40, number),
            _ => interframe(number * 40, number),
        });
        self.frames += 1;
    }

    fn pulse(&mut self) {
        let now = self.start + Duration::from_millis(40) * self.frames;
        self.publication.pulse(now);
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 25 {
            self.send_frame();
            self.pulse();
        }
    }

    /// Runs, and lets a viewer read each frame.
    fn run_with(&mut self, viewer: &mut FlvReader, seconds: u32) {
        for _ in 0..seconds * 25 {
            self.send_frame();
            self.pulse();
            viewer.read();
        }
    }

    /// Sends frames that all come at the same time.
    fn burst(&mut self, seconds: u32) {
        for _ in 0..seconds * 25 {
            self.send_frame();
        }
        self.pulse();
    }

    /// Frames in the log.
    fn kept(&self) -> usize {
        self.publication.stream().stats().window_segments
    }
}

const LITTLE: std::ops::Range<usize> = 25..40;
const ALL: std::ops::Range<usize> = 250..255;

#[test]
fn log_whose_viewers_have_everything_keeps_little_more_than_a_second() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    live.run_with(&mut viewer, 20);
    assert!(LITTLE.contains(&live.kept()), "{}", live.kept());
    assert_eq!((viewer.messages.len(), viewer.lags), (3 + 20 * 25, 0));
}

#[test]
fn new_publication_is_kept_from_its_beginning_for_as_long_as_the_window() {
    let mut live = Live::new();
    live.start = Instant::now();
    live.run(9);
    assert_eq!(live.kept(), 3 + 9 * 25);
}

#[test]
fn new_viewer_starts_at_the_keyframe_of_a_long_group() {
    let mut live = Live::new();
    live.group = 150;
    live.run(5);
    assert_eq!(live.viewer().taken().len(), 3 + 5 * 25);
}

#[test]
fn viewer_that_is_behind_finds_the_whole_window_until_it_has_caught_up() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    live.run_with(&mut viewer, 3);
    viewer.cursor.fall_behind();
    live.run(9);
    assert!(live.kept() >= 9 * 25, "{}", live.kept());
    live.run_with(&mut viewer, 3);
    assert_eq!((viewer.messages.len(), viewer.lags), (3 + 15 * 25, 0));
    assert!(LITTLE.contains(&live.kept()), "{}", live.kept());
}

#[test]
fn viewer_whose_first_batch_takes_long_finds_the_whole_window() {
    let mut live = Live::new();
    live.run(3);
    let mut viewer = live.viewer();
    let first = viewer.cursor.try_next();
    assert!(matches!(first, Some(CursorEvent::Batch(_))));
    live.run(8);
    assert!(live.kept() >= 8 * 25, "{}", live.kept());
    drop(viewer);
    live.run(2);
    assert!(LITTLE.contains(&live.kept()), "{}", live.kept());
}

#[test]
fn burst_after_a_pause_stays_for_viewers_whose_turn_comes_later() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    live.run_with(&mut viewer, 3);
    live.burst(5);
    live.run(1);
    viewer.read();
    assert_eq!((viewer.messages.len(), viewer.lags), (3 + 9 * 25, 0));
}

#[test]
fn readers_that_had_everything_lose_only_what_is_more_than_the_window() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    let mut relay = Upstream::of(&live.registry, "a", Start::Newest);
    live.run_with(&mut viewer, 3);
    relay.placed();
    live.burst(25);
    viewer.read();
    // From the oldest keyframe of the newest nine tenths of the window.
    let (messages, number) = (3 + (3 + 9) * 25, 3 + 28 * 25);
    assert_eq!((viewer.messages.len(), viewer.lags), (messages, 1));
    let placed = relay.placed();
    let numbers: Vec<u64> = placed.iter().map(|it| it.1).collect();
    let frames: Vec<u64> = (number - 9 * 25..number).collect();
    assert!(numbers.ends_with(&frames), "{numbers:?}");
}

#[test]
fn slow_viewer_continues_at_the_newest_keyframe() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    live.run_with(&mut viewer, 3);
    viewer.cursor.fall_behind();
    live.run(25);
    viewer.read();
    assert_eq!((viewer.messages.len(), viewer.lags), (3 + 4 * 25, 1));
}

#[test]
fn viewers_of_a_worker_that_does_not_run_find_the_whole_window() {
    let mut live = Live::new();
    let mut viewer = live.viewer();
    live.run_with(&mut viewer, 3);
    live.run(8);
    viewer.read();
    assert_eq!((viewer.messages.len(), viewer.lags), (3 + 11 * 25, 0));
}

#[test]
fn relay_that_returns_within_continuity_finds_the_whole_window() {
    let mut live = Live::new();
    let stream = live.publication.stream();
    let relay = stream.subscribe(Format::Relay, Start::Newest, 0);
    live.run(10);
    drop(relay);
    live.run(29);
    assert!(ALL.contains(&live.kept()), "{}", live.kept());
    live.run(3);
    assert!(LITTLE.contains(&live.kept()), "{}", live.kept());
}

#[test]
fn forwarded_publication_keeps_the_whole_window_without_a_relay() {
    let mut live = Live::new();
    let kept = live.publication.stream().keep_window();
    live.run(40);
    assert!(ALL.contains(&live.kept()), "{}", live.kept());
    drop(kept);
    live.run(32);
    assert!(LITTLE.contains(&live.kept()), "{}", live.kept());
}
