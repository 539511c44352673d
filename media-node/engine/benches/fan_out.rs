//! The cost of the engine without sockets: `cargo bench -p media-engine`.
//!
//! Times on a busy computer vary, so each is printed beside the time of copying the same bytes. A server with a queue for
//! each viewer would pay at least that.
//!
//! One stream of 4 Mbit/s, with 25 video frames and 47 audio frames a second and a pulse of 100 ms: 50 KB a segment.
//!
//! 2026-11-22, two busy cores, medians: a cursor takes its batch in 0.06 of the time of copying it for FLV (95 ns) and in
//! 0.13 for RTMP (220 ns). With the wake-up of its task it takes 250 to 380 ns. Append and seal cost as much as one copy. A
//! write to a socket costs about 5,000 ns. 2026-11-29: two workers that take the same segments at the same time need what one
//! needs alone (109 and 117 ns, 146 and 144, 117 and 114), so they share nothing that a delivery writes.

use std::hint::black_box;
use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use media_engine::{
    Batch, Cursor, CursorEvent, DuplicatePolicy, EngineSettings, Epoch, Format, Publication,
    PublicationSource, Registry, Start,
};
use media_wire::{MediaKind, Message, StreamKey};

const PULSE: Duration = Duration::from_millis(100);

fn main() {
    // `cargo test --all-targets` runs this briefly, to check that it works.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let rounds = if measured { 200 } else { 2 };
    let viewers: &[usize] = if measured {
        &[1, 100, 1_000, 5_000]
    } else {
        &[1, 10]
    };
    println!("append and seal       {}", publishing(rounds * 10));
    for format in [Format::Flv, Format::Rtmp] {
        for viewers in viewers {
            println!(
                "{format:?}, {viewers:>5} cursors    {}",
                reading(format, *viewers, rounds)
            );
        }
    }
    for workers in [1, 2] {
        println!(
            "{workers} workers at a time     {}",
            reading_beside(workers, 1_000, rounds)
        );
    }
    for viewers in viewers {
        println!("{viewers:>5} waiting tasks    {}", waking(*viewers, rounds));
    }
    println!(
        "a cursor has {} bytes, a batch {}",
        size_of::<Cursor>(),
        size_of::<Batch>()
    );
}

/// Nanoseconds, and those of copying the same bytes.
struct FanOutCost {
    what: &'static str,
    nanoseconds: f64,
    copying: f64,
}

impl std::fmt::Display for FanOutCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            nanoseconds,
            copying,
        } = self;
        let ratio = nanoseconds / copying;
        write!(
            f,
            "{nanoseconds:>8.0} ns {what}, copying {copying:>6.0} ns: {ratio:.3}"
        )
    }
}

struct BenchStream {
    registry: Registry,
    publication: Publication,
    clock: u32,
    payloads: [Bytes; 3],
}

impl BenchStream {
    fn new() -> Self {
        let registry = Registry::new(EngineSettings {
            pulse_min: PULSE,
            pulse_max: PULSE,
            workers: 2,
            ..EngineSettings::default()
        });
        let key = StreamKey::new(None, "live", "bench").expect("a valid name");
        let policy = DuplicatePolicy::Takeover;
        let publication = registry
            .publish(
                &key,
                Epoch(1),
                PublicationSource::Encoder,
                policy,
                Instant::now(),
            )
            .expect("the first publisher");
        let payload = |header: &[u8], len| {
            let mut payload = header.to_vec();
            payload.resize(len, 0x55);
            Bytes::from(payload)
        };
        Self {
            registry,
            publication,
            clock: 0,
            payloads: [
                payload(&[0x17, 1, 0, 0, 0], 60_000),
                payload(&[0x27, 1, 0, 0, 0], 19_000),
                payload(&[0xAF, 1], 400),
            ],
        }
    }

    /// Appends the messages of one pulse. Returns their bytes.
    fn publish(&mut self) -> usize {
        let mut bytes = 0;
        for time in (0..100).step_by(20) {
            let [keyframe, interframe, audio] = self.payloads.clone();
            let video = if (self.clock + time).is_multiple_of(2_000) {
                keyframe
            } else {
                interframe
            };
            let timestamp = self.clock + time;
            if time % 40 == 0 {
                bytes += self.append(MediaKind::Video, timestamp, video.clone());
            }
            bytes += self.append(MediaKind::Audio, timestamp, audio.clone());
        }
        self.clock += 100;
        bytes
    }

    fn append(&mut self, kind: MediaKind, timestamp: u32, payload: Bytes) -> usize {
        let len = payload.len();
        self.publication.append(Message {
            kind,
            timestamp,
            payload,
        });
        len
    }

    fn seal(&mut self) {
        let now = Instant::now() + PULSE * self.clock;
        assert_eq!(self.publication.pulse(now), None, "all is sealed");
    }

    fn cursors(&self, format: Format, count: usize) -> Vec<Cursor> {
        self.cursors_of(0, format, count)
    }

    fn cursors_of(&self, worker: usize, format: Format, count: usize) -> Vec<Cursor> {
        let stream = self.publication.stream();
        (0..count)
            .map(|_| stream.subscribe(format, Start::Newest, worker))
            .collect()
    }
}

/// Measures one pulse of a stream: 8 messages.
fn publishing(rounds: u32) -> FanOutCost {
    let mut stream = BenchStream::new();
    let mut bytes = 0;
    let times = (0..rounds).map(|_| {
        let started = Instant::now();
        bytes += stream.publish();
        stream.seal();
        started.elapsed()
    });
    let spent = median(times.collect());
    FanOutCost {
        what: "a segment",
        nanoseconds: nanoseconds(spent, 1),
        copying: copying(bytes / usize::try_from(rounds).expect("few")),
    }
}

/// Measures cursors that take their batch and make the list of slices for a socket.
fn reading(format: Format, viewers: usize, rounds: u32) -> FanOutCost {
    let mut stream = BenchStream::new();
    stream.publish();
    stream.seal();
    let mut cursors = stream.cursors(format, viewers);
    take_all(&mut cursors);
    let mut bytes = 0;
    let times = (0..rounds).map(|_| {
        bytes += stream.publish();
        stream.seal();
        let started = Instant::now();
        take_all(&mut cursors);
        started.elapsed()
    });
    let spent = median(times.collect());
    assert_eq!(stream.registry.viewers(), viewers);
    FanOutCost {
        what: "a segment",
        nanoseconds: nanoseconds(spent, viewers),
        copying: copying(bytes / usize::try_from(rounds).expect("few")),
    }
}

fn take_all(cursors: &mut [Cursor]) {
    for cursor in cursors {
        while let Some(CursorEvent::Batch(mut batch)) = cursor.try_next() {
            let mut slices = [IoSlice::new(&[]); 64];
            black_box(batch.chunks_vectored(&mut slices));
            batch.advance(batch.remaining());
        }
    }
}

/// Measures the cursors of one worker, while those of the others take the same segment on threads of their own.
fn reading_beside(workers: usize, viewers: usize, rounds: u32) -> FanOutCost {
    let mut stream = BenchStream::new();
    stream.publish();
    stream.seal();
    let begin = Barrier::new(workers + 1);
    let mut bytes = 0;
    let times = thread::scope(|scope| {
        let begin = &begin;
        let threads = (0..workers).map(|worker| {
            let mut cursors = stream.cursors_of(worker, Format::Flv, viewers);
            take_all(&mut cursors);
            scope.spawn(move || {
                let times = (0..rounds).map(|_| {
                    begin.wait();
                    let started = Instant::now();
                    take_all(&mut cursors);
                    started.elapsed()
                });
                times.collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        for _ in 0..rounds {
            bytes += stream.publish();
            stream.seal();
            begin.wait();
            // Longer than they take.
            thread::sleep(Duration::from_millis(2));
        }
        let times = threads.into_iter().map(|thread| thread.join());
        times.flat_map(|times| times.expect("no panic")).collect()
    });
    FanOutCost {
        what: "a segment",
        nanoseconds: nanoseconds(median(times), viewers),
        copying: copying(bytes / usize::try_from(rounds).expect("few")),
    }
}

/// Measures the time from a seal until all viewers have read. Each viewer is a waiting task on one worker.
fn waking(viewers: usize, rounds: u32) -> FanOutCost {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut stream = BenchStream::new();
    stream.publish();
    stream.seal();
    let segments = Arc::new(AtomicUsize::new(0));
    for mut cursor in stream.cursors(Format::Flv, viewers) {
        let segments = Arc::clone(&segments);
        runtime.spawn(async move {
            while let CursorEvent::Batch(batch) = cursor.next().await {
                black_box(batch.remaining());
                segments.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let until = |expected| {
        runtime.block_on(async {
            while segments.load(Ordering::Relaxed) < expected {
                tokio::task::yield_now().await;
            }
        });
    };
    until(viewers);
    let mut bytes = 0;
    let times = (0..rounds).map(|_| {
        bytes += stream.publish();
        let before = segments.load(Ordering::Relaxed);
        let started = Instant::now();
        stream.seal();
        until(before + viewers);
        let spent = started.elapsed();
        runtime.block_on(tokio::task::yield_now());
        spent
    });
    let spent = median(times.collect());
    FanOutCost {
        what: "a viewer",
        nanoseconds: nanoseconds(spent, viewers),
        copying: copying(bytes / usize::try_from(rounds).expect("few")),
    }
}

/// Measures copying.
fn copying(len: usize) -> f64 {
    // The sources exceed every cache, as those of many streams do.
    let sources: Vec<Vec<u8>> = (0..=255).map(|n| vec![n; len]).collect();
    let mut target = vec![0; len];
    let times = (0..8).flat_map(|_| &sources).map(|source| {
        let started = Instant::now();
        target.copy_from_slice(black_box(source));
        black_box(&mut target);
        started.elapsed()
    });
    nanoseconds(median(times.collect()), 1)
}

/// Returns the median, because other processes make some times longer.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn nanoseconds(time: Duration, parts: usize) -> f64 {
    time.as_nanos() as f64 / parts.max(1) as f64
}
