//! The bells of a stream: one for each worker, rung when there is something new and only where somebody listens.
//!
//! A ring wakes *one* listener of each worker, and that one wakes the others of its worker. A wake-up from another
//! thread goes through the worker's injection queue and its event descriptor, three to four times the price of a
//! local one, and the publisher would pay it for every viewer (2026-11-22).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// One bell a worker.
#[derive(Debug)]
pub(crate) struct Bells(Box<[Bell]>);

/// One worker's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    notify: Notify,
    listeners: AtomicUsize,
    /// How often it was rung, and which of these rings was passed on to all listeners.
    rings: AtomicU64,
    passed_on: AtomicU64,
}

impl Bells {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Bell::default()).collect())
    }

    /// The bell of a worker. Any number is good: there is always one bell at least.
    pub(crate) fn of(&self, worker: usize) -> Option<&Bell> {
        self.0.get(worker.checked_rem(self.0.len())?)
    }

    pub(crate) fn ring(&self) {
        for bell in &self.0 {
            if bell.listeners.load(Ordering::Relaxed) > 0 {
                bell.rings.fetch_add(1, Ordering::Release);
                bell.notify.notify_one();
            }
        }
    }
}

impl Bell {
    pub(crate) fn join(&self) {
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }

    /// Starts to listen: a ring after this call is heard by [`Listening::rung`], polled or not.
    pub(crate) fn listen(&self) -> Listening<'_> {
        Listening {
            bell: self,
            notified: self.notify.notified(),
        }
    }
}

/// A listener.
#[derive(Debug)]
pub(crate) struct Listening<'a> {
    bell: &'a Bell,
    notified: Notified<'a>,
}

impl Listening<'_> {
    /// Completes after a ring. Dropped before, it hands the ring to another listener.
    pub(crate) async fn rung(self) {
        self.notified.await;
        let rings = self.bell.rings.load(Ordering::Acquire);
        if self.bell.passed_on.swap(rings, Ordering::AcqRel) != rings {
            self.bell.notify.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_ring_reaches_all_listeners_of_a_worker_through_the_first() {
        let bells = Bells::new(1);
        let bell = bells.of(7).unwrap();
        bell.join();
        bell.join();
        let (mut first, mut second) = (pin!(bell.listen().rung()), pin!(bell.listen().rung()));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        bells.ring();
        assert!(
            poll(second.as_mut()).is_pending(),
            "only one is woken by the publisher"
        );
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn a_ring_between_listening_and_waiting_is_heard() {
        let bells = Bells::new(1);
        let bell = bells.of(0).unwrap();
        bell.join();
        bell.join();
        let (first, second) = (bell.listen(), bell.listen());
        bells.ring();
        let (mut first, mut second) = (pin!(first.rung()), pin!(second.rung()));
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn a_listener_that_leaves_hands_the_ring_on() {
        let bells = Bells::new(1);
        let bell = bells.of(0).unwrap();
        bell.join();
        let mut second = pin!(bell.listen().rung());
        {
            let mut first = Box::pin(bell.listen().rung());
            assert!(poll(first.as_mut()).is_pending());
            assert!(poll(second.as_mut()).is_pending());
            bells.ring();
        }
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn a_worker_without_listeners_is_not_rung() {
        let bells = Bells::new(2);
        bells.of(0).unwrap().join();
        bells.ring();
        assert_eq!(bells.of(0).unwrap().rings.load(Ordering::Relaxed), 1);
        assert_eq!(bells.of(1).unwrap().rings.load(Ordering::Relaxed), 0);
    }
}
