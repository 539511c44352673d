//! The notifiers of a stream, one for each worker. They wake readers when there are new segments.
//!
//! A notification wakes *one* waiter of each worker, and that waiter wakes the others of its worker. A wake-up from
//! another thread goes through the worker's injection queue and event descriptor and costs three to four times as much as
//! a local one. The publisher would pay it for every viewer (2026-11-22).

mod wake_protocol;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use wake_protocol::WakeProtocol;

/// One notifier for each worker.
#[derive(Debug)]
pub(crate) struct Notifiers(Box<[Notifier]>);

/// The notifier of one worker. Aligned to two cache lines, which processors fetch together: viewers that wait on one worker do
/// not slow those on another.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Notifier {
    notify: Notify,
    protocol: WakeProtocol,
}

impl Notifiers {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Notifier::default()).collect())
    }

    /// Returns the notifier of a worker. Every number is valid, and at least one notifier exists.
    pub(crate) fn of(&self, worker: usize) -> Option<&Notifier> {
        self.0.get(worker.checked_rem(self.0.len())?)
    }

    /// Notifies the readers of all workers.
    pub(crate) fn notify(&self) {
        self.0.iter().for_each(Notifier::notify);
    }
}

impl Notifier {
    /// Adds a reader. Workers without readers are not notified.
    pub(crate) fn join(&self) {
        self.protocol.join();
    }

    /// Removes a reader. Returns whether it was the last one.
    pub(crate) fn leave(&self) -> bool {
        self.protocol.leave()
    }

    /// Returns the number of notifications so far.
    pub(crate) fn notifications(&self) -> u64 {
        self.protocol.notifications()
    }

    pub(crate) fn has_readers(&self) -> bool {
        self.protocol.has_readers()
    }

    /// Notifies the readers of this worker.
    pub(crate) fn notify(&self) {
        self.protocol.notify(|| self.notify.notify_one());
    }

    /// Returns a waiter for all notifications after this call, polled or not.
    pub(crate) fn waiter(&self) -> Waiter<'_> {
        Waiter {
            notifier: self,
            notified: self.notify.notified(),
        }
    }
}

/// A reader that waits.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    notifier: &'a Notifier,
    notified: Notified<'a>,
}

impl Waiter<'_> {
    /// Completes after a notification. If it is dropped before, another waiter gets the notification.
    pub(crate) async fn notified(self) {
        self.notified.await;
        let notify_waiters = || self.notifier.notify.notify_waiters();
        self.notifier.protocol.pass_on(notify_waiters);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn notification_reaches_all_waiters_of_worker_through_first() {
        let notifiers = Notifiers::new(1);
        let notifier = notifiers.of(7).unwrap();
        notifier.join();
        notifier.join();
        let mut first = pin!(notifier.waiter().notified());
        let mut second = pin!(notifier.waiter().notified());
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        notifiers.notify();
        assert!(
            poll(second.as_mut()).is_pending(),
            "the publisher wakes only one"
        );
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn notification_before_first_poll_is_not_lost() {
        let notifiers = Notifiers::new(1);
        let notifier = notifiers.of(0).unwrap();
        notifier.join();
        notifier.join();
        let (first, second) = (notifier.waiter(), notifier.waiter());
        notifiers.notify();
        let (mut first, mut second) = (pin!(first.notified()), pin!(second.notified()));
        assert!(poll(first.as_mut()).is_ready());
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn dropped_waiter_hands_its_notification_to_another() {
        let notifiers = Notifiers::new(1);
        let notifier = notifiers.of(0).unwrap();
        notifier.join();
        let mut second = pin!(notifier.waiter().notified());
        {
            let mut first = Box::pin(notifier.waiter().notified());
            assert!(poll(first.as_mut()).is_pending());
            assert!(poll(second.as_mut()).is_pending());
            notifiers.notify();
        }
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn worker_without_readers_is_not_notified() {
        let notifiers = Notifiers::new(2);
        let [with, without] = [0, 1].map(|worker| notifiers.of(worker).unwrap());
        with.join();
        notifiers.notify();
        assert!(poll(pin!(with.waiter().notified())).is_ready());
        assert!(poll(pin!(without.waiter().notified())).is_pending());
    }
}
