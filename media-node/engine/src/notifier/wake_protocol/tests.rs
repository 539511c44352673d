//! The wake protocol under loom, which runs every interleaving of the threads and every effect of the memory orders.
//!
//! tokio's `Notify` cannot be built for loom from outside of tokio, so a model with the same contract replaces it. A reader
//! that is not woken ends in a deadlock, which loom reports.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::atomic::AtomicU64 as LoomU64;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

impl AtomicCounter for LoomU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn swap(&self, value: u64, order: Ordering) -> u64 {
        self.swap(value, order)
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_sub(value, order)
    }
}

/// A model of `tokio::sync::Notify`.
#[derive(Default)]
struct NotifyModel {
    state: Mutex<NotifyState>,
    changed: Condvar,
}

#[derive(Default)]
struct NotifyState {
    /// `notify_one` found no waiter: the next one that is polled completes.
    permit: bool,
    /// The number of `notify_waiters` calls.
    calls: u64,
    next_id: u64,
    waiting: VecDeque<u64>,
    woken_by_one: Vec<u64>,
    woken_by_all: Vec<u64>,
}

impl NotifyModel {
    fn notify_one(&self) {
        let mut state = self.state.lock().unwrap();
        match state.waiting.pop_front() {
            Some(id) => state.woken_by_one.push(id),
            None => state.permit = true,
        }
        self.changed.notify_all();
    }

    fn notify_waiters(&self) {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        let waiting = std::mem::take(&mut state.waiting);
        state.woken_by_all.extend(waiting);
        self.changed.notify_all();
    }

    fn notified(&self) -> NotifiedModel<'_> {
        let calls = self.state.lock().unwrap().calls;
        NotifiedModel {
            notify: self,
            calls,
            id: None,
        }
    }
}

/// A model of `tokio::sync::futures::Notified`.
struct NotifiedModel<'a> {
    notify: &'a NotifyModel,
    /// `notify_waiters` calls before its creation. A later call completes it, polled or not.
    calls: u64,
    /// Its identity while it waits.
    id: Option<u64>,
}

impl NotifiedModel<'_> {
    /// Polls it for the first time. Returns whether it is complete.
    fn poll(&mut self) -> bool {
        let mut state = self.notify.state.lock().unwrap();
        if std::mem::take(&mut state.permit) || state.calls != self.calls {
            return true;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiting.push_back(id);
        self.id = Some(id);
        false
    }

    fn wait(mut self) {
        if self.poll() {
            return;
        }
        let id = self.id.take().unwrap();
        let mut state = self.notify.state.lock().unwrap();
        while state.waiting.contains(&id) {
            state = self.notify.changed.wait(state).unwrap();
        }
    }
}

impl Drop for NotifiedModel<'_> {
    /// Hands a notification of `notify_one` to another waiter.
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut state = self.notify.state.lock().unwrap();
        state.waiting.retain(|waiting| *waiting != id);
        let unused = state.woken_by_one.contains(&id);
        drop(state);
        if unused {
            self.notify.notify_one();
        }
    }
}

/// A stream with a log of numbered segments.
#[derive(Default)]
struct StreamModel {
    segments: Mutex<u64>,
    notify: NotifyModel,
    protocol: WakeProtocol<LoomU64>,
}

impl StreamModel {
    fn segments(&self) -> u64 {
        *self.segments.lock().unwrap()
    }

    fn publish(&self) {
        *self.segments.lock().unwrap() += 1;
        self.protocol.notify(|| self.notify.notify_one());
    }

    /// Reads segments up to a number, as a cursor does.
    fn read(&self, last: u64, pass_on: impl Fn(&Self)) {
        self.protocol.join();
        loop {
            let seen = self.protocol.notifications();
            if self.segments() == last {
                break;
            }
            let waiter = self.notify.notified();
            if self.protocol.notifications() == seen {
                waiter.wait();
                pass_on(self);
            }
        }
        self.protocol.leave();
    }

    fn pass_on(&self) {
        self.protocol.pass_on(|| self.notify.notify_waiters());
    }

    /// Polls a waiter once and drops it, as a cancelled cursor does.
    fn give_up(&self) {
        self.protocol.join();
        let seen = self.protocol.notifications();
        // The read of the log, whose lock orders this reader with the publisher.
        self.segments();
        let mut waiter = self.notify.notified();
        if self.protocol.notifications() == seen && waiter.poll() {
            self.pass_on();
        }
        drop(waiter);
        self.protocol.leave();
    }
}

/// Runs two readers of `last` segments beside a publisher in every interleaving.
fn check(last: u64, publish: fn(&StreamModel), pass_on: fn(&StreamModel)) {
    let mut model = loom::model::Builder::new();
    // Two preemptions find every planted bug. A third one takes ten times as long.
    model.preemption_bound = Some(2);
    model.check(move || {
        let stream = Arc::new(StreamModel::default());
        let readers = [(); 2].map(|()| {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.read(last, pass_on))
        });
        for _ in 0..last {
            publish(&stream);
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn every_reader_is_woken_by_one_notification() {
    check(1, StreamModel::publish, StreamModel::pass_on);
}

#[test]
fn every_reader_is_woken_by_notifications_in_quick_succession() {
    check(2, StreamModel::publish, StreamModel::pass_on);
}

#[test]
fn reader_is_woken_when_another_gives_up() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let stream = Arc::new(StreamModel::default());
        let [first, second] = [(); 2].map(|()| Arc::clone(&stream));
        let gives_up = thread::spawn(move || first.give_up());
        let reads = thread::spawn(move || second.read(1, StreamModel::pass_on));
        stream.publish();
        gives_up.join().unwrap();
        reads.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn waking_before_counting_loses_a_wake_up() {
    let publish = |stream: &StreamModel| {
        *stream.segments.lock().unwrap() += 1;
        stream.notify.notify_one();
        stream.protocol.notify(|| {});
    };
    check(1, publish, StreamModel::pass_on);
}

#[test]
#[should_panic(expected = "deadlock")]
fn not_passing_on_loses_a_wake_up() {
    check(1, StreamModel::publish, |_| {});
}
