//! The limits that hold now: they change with the live settings. A connection keeps those that it began with.

use std::sync::Arc;

use media_config::Limits;
use media_wire::NameLimits;
use parking_lot::RwLock;

/// The limits that hold now. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct CurrentLimits(Arc<RwLock<Arc<Limits>>>);

impl CurrentLimits {
    /// Returns limits that hold until they are replaced.
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(limits))))
    }

    /// Returns the limits that hold now. Called once for a connection, request or relay, never for a message.
    pub(crate) fn get(&self) -> Arc<Limits> {
        let current = self.0.read();
        Arc::clone(&current)
    }

    /// Returns the limits of the address of a stream, as a client sends it.
    pub(crate) fn names(&self) -> NameLimits {
        let limits = self.get();
        let number = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        NameLimits {
            name_bytes: number(limits.max_name_bytes),
            parameters: number(limits.max_parameters),
            parameter_bytes: limits.max_parameter_bytes(),
        }
    }

    /// Replaces the limits.
    pub(crate) fn replace(&self, limits: Limits) {
        let mut current = self.0.write();
        *current = Arc::new(limits);
    }
}
