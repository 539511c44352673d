//! What an admitted connection holds until it is closed: its place in the number of connections and in the load of its worker.

/// The places of one connection, returned on drop. The session passes it on from task to task.
pub(crate) struct Admitted {
    _places: Box<dyn Send>,
}

impl Admitted {
    /// Returns a value that holds `places` until it is dropped.
    pub(crate) fn new(places: impl Send + 'static) -> Self {
        Self {
            _places: Box::new(places),
        }
    }
}
