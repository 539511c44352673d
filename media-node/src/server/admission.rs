//! How many connections a node has, and the limit on them.

use std::sync::Arc;

use tokio::sync::watch;

/// Connections over the limit that are told so at one time; more are closed without a word, because telling costs a
/// descriptor and a task each.
const MAX_REFUSALS: usize = 256;

/// The connections of one kind.
pub(crate) struct Connections {
    limit: usize,
    open: Arc<watch::Sender<usize>>,
    refused: Arc<watch::Sender<usize>>,
}

/// What becomes of a new connection.
pub(crate) enum Admission {
    /// It is served.
    Served(Permit),
    /// It is told that the node is full, then closed.
    Refused(Permit),
    /// It is closed.
    Dropped,
}

impl Connections {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            open: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Takes a place for a new connection, if there is one.
    pub(crate) fn admit(&self) -> Admission {
        match Permit::take(&self.open, self.limit) {
            Some(permit) => Admission::Served(permit),
            None => Permit::take(&self.refused, MAX_REFUSALS)
                .map_or(Admission::Dropped, Admission::Refused),
        }
    }

    /// How many are served, as it changes.
    pub(crate) fn open(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }
}

/// The place of one connection, given back on drop.
pub(crate) struct Permit(Arc<watch::Sender<usize>>);

impl Permit {
    fn take(count: &Arc<watch::Sender<usize>>, limit: usize) -> Option<Self> {
        let taken = count.send_if_modified(|count| {
            let free = *count < limit;
            *count += usize::from(free);
            free
        });
        taken.then(|| Self(Arc::clone(count)))
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
    fn over_the_limit_is_refused_until_a_place_is_free() {
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
