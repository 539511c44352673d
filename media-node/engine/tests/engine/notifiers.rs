//! Waiting readers: they are woken on every thread, and no message is lost.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Buf;
use media_engine::{Appended, CursorEvent, EngineSettings, Format, Registry, Start};

use crate::support::*;

#[tokio::test]
async fn waiting_viewer_is_woken() {
    let registry = Registry::new(settings());
    let stream = registry.open(&key("a")).unwrap();
    let mut cursor = stream.subscribe(Format::Flv, Start::Newest, 0);
    let reading = tokio::spawn(async move { cursor.next().await });
    tokio::task::yield_now().await;
    assert!(!reading.is_finished());
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    assert!(matches!(reading.await.unwrap(), CursorEvent::Batch(batch) if batch.keyframe));
}

#[tokio::test]
async fn waiting_viewer_is_notified_of_end() {
    let registry = Registry::new(EngineSettings {
        continuity: Duration::ZERO,
        ..settings()
    });
    let publication = encoder(&registry, "a", 1);
    let mut cursor = publication
        .stream()
        .subscribe(Format::Rtmp, Start::Newest, 0);
    let reading = tokio::spawn(async move { cursor.next().await });
    tokio::task::yield_now().await;
    drop(publication);
    registry.sweep(Instant::now());
    assert!(matches!(reading.await.unwrap(), CursorEvent::Ended));
}

#[test]
fn cancelled_wait_loses_nothing() {
    let registry = Registry::new(settings());
    let mut viewer = FlvReader::of(&registry, "a", Start::Newest);
    let mut publication = encoder(&registry, "a", 1);
    send(&mut publication, headers());
    send(&mut publication, [keyframe(0, 0)]);
    assert_eq!(viewer.taken().len(), 4);
    for n in 1..10 {
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut waiting = pin!(viewer.cursor.next());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            send(&mut publication, [interframe(n * 40, n)]);
            if n % 2 == 0 {
                assert!(matches!(
                    waiting.as_mut().poll(&mut context),
                    Poll::Ready(_)
                ));
                continue;
            }
        }
        assert_eq!(viewer.taken(), [interframe(n * 40, n)]);
    }
}

#[test]
fn busy_worker_is_notified_later_than_an_idle_one() {
    let registry = Registry::new(EngineSettings {
        workers: 2,
        ..EngineSettings::default()
    });
    let mut publication = encoder(&registry, "a", 1);
    let stream = Arc::clone(publication.stream());
    let subscribe = |worker| stream.subscribe(Format::Flv, Start::Newest, worker);
    let mut busy: Vec<_> = (0..500).map(|_| subscribe(0)).collect();
    let mut idle = subscribe(1);
    for _ in 0..40 {
        registry.report_load(0, 1.0);
    }
    assert_eq!(registry.report_load(0, 1.0), Duration::from_millis(50));
    assert_eq!(registry.report_load(1, 0.5), Duration::ZERO);
    let start = Instant::now();
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    for message in headers().into_iter().chain([keyframe(0, 0)]) {
        publication.append(message);
    }
    assert_eq!(publication.pulse(start), None);
    for cursor in [&mut busy[0], &mut idle] {
        while cursor.try_next().is_some() {}
    }
    let mut context = Context::from_waker(Waker::noop());
    let (mut busy, mut idle) = (pin!(busy[0].next()), pin!(idle.next()));
    assert!(busy.as_mut().poll(&mut context).is_pending());
    assert!(idle.as_mut().poll(&mut context).is_pending());
    publication.append(interframe(10, 1));
    assert_eq!(publication.pulse(after(10)), Some(after(50)));
    assert!(idle.as_mut().poll(&mut context).is_ready());
    assert!(busy.as_mut().poll(&mut context).is_pending());
    assert_eq!(publication.pulse(after(50)), None);
    assert!(busy.as_mut().poll(&mut context).is_ready());
}

/// Workers with a runtime each, as in a media node, and a publisher on its own thread.
#[test]
fn no_viewer_on_any_worker_misses_a_message() {
    const WORKERS: usize = 3;
    const VIEWERS: usize = 20;
    const FRAMES: u32 = 3_000;
    let registry = Registry::new(EngineSettings {
        workers: WORKERS,
        window: Duration::from_secs(3_600),
        continuity: Duration::ZERO,
        ..settings()
    });
    let stream = registry.open(&key("a")).unwrap();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let cursors: Vec<_> = (0..VIEWERS)
                .map(|_| stream.subscribe(Format::Flv, Start::Oldest, worker))
                .collect();
            std::thread::spawn(move || work(cursors))
        })
        .collect();
    let mut publication = encoder(&registry, "a", 1);
    let mut sent = media_wire::flv::FILE_HEADER_LEN;
    let frames = (0..FRAMES).map(|n| {
        if n == 0 {
            keyframe(0, 0)
        } else {
            interframe(n, n)
        }
    });
    for message in headers().into_iter().chain(frames) {
        sent += 15 + message.payload.len();
        assert_eq!(publication.append(message), Appended::New);
        publication.pulse(Instant::now());
    }
    drop(publication);
    registry.sweep(Instant::now());
    for worker in workers {
        assert_eq!(worker.join().unwrap(), [sent; VIEWERS]);
    }
}

/// Reads until the end. Returns the bytes of each cursor.
fn work(cursors: Vec<media_engine::Cursor>) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let readers: Vec<_> = cursors
            .into_iter()
            .map(|mut cursor| {
                tokio::spawn(async move {
                    let mut bytes = 0;
                    while let CursorEvent::Batch(batch) = cursor.next().await {
                        bytes += batch.remaining();
                    }
                    bytes
                })
            })
            .collect();
        let mut all = Vec::new();
        for reader in readers {
            all.push(reader.await.unwrap());
        }
        all
    })
}
