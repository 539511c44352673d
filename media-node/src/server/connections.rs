//! Number of open connections, and its limit.

use std::sync::Arc;

use tokio::sync::watch;

/// Connections over the limit that are refused with an error at one time. Further ones are closed without one, because a
/// refusal costs a file descriptor and a task.
const MAX_REFUSALS: usize = 256;

/// Open connections of one kind of port, and their limit.
pub(super) struct Connections {
    limit: usize,
    open: Arc<watch::Sender<usize>>,
    refused: Arc<watch::Sender<usize>>,
}

/// Decision about a new connection.
pub(super) enum Admission {
    /// It is served.
    Served(Permit),
    /// It gets an error that the media node is full, and is closed.
    Refused(Permit),
    /// It is closed without an error.
    Dropped,
}

impl Connections {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            open: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Decides about a new connection.
    pub(super) fn admit(&self) -> Admission {
        match Permit::acquire(&self.open, self.limit) {
            Some(permit) => Admission::Served(permit),
            None => Permit::acquire(&self.refused, MAX_REFUSALS)
                .map_or(Admission::Dropped, Admission::Refused),
        }
    }

    /// Returns the number of served connections as it changes.
    pub(super) fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }
}

/// Permit of one connection, returned on drop.
pub(super) struct Permit(Arc<watch::Sender<usize>>);

impl Permit {
    fn acquire(count: &Arc<watch::Sender<usize>>, limit: usize) -> Option<Self> {
        let acquired = count.send_if_modified(|count| {
            let free = *count < limit;
            *count += usize::from(free);
            free
        });
        acquired.then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_over_the_limit_is_refused_until_another_one_ends() {
        let connections = Connections::new(1);
        let Admission::Served(first) = connections.admit() else {
            panic!("refused below the limit")
        };
        assert!(matches!(connections.admit(), Admission::Refused(_)));
        drop(first);
        assert!(matches!(connections.admit(), Admission::Served(_)));
        assert_eq!(*connections.open().borrow(), 0);
    }
}
