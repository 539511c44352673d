//! What is planted so that media nodes do not give up everything.

use std::any::Any;
use std::future::pending;
use std::sync::Arc;

use super::super::planted::Planted;
use super::Run;

impl Run<'_> {
    /// Plants what a media node holds when all clients leave, until the result is dropped.
    pub(super) fn plant_leak(&mut self) -> Option<Box<dyn Any>> {
        match self.planted {
            Planted::Leak => return Some(Box::new(self.viewers.pop_first())),
            Planted::Connection => return Some(Box::new(self.cluster.connect())),
            Planted::Task => self.cluster.spawn(pending()),
            Planted::Panic => self.cluster.spawn(async { panic!("it is planted") }),
            _ => {}
        }
        None
    }

    /// Plants what keeps a media node in memory that stops, until the result is dropped.
    pub(super) fn plant_remains(&self) -> Option<Arc<dyn Any>> {
        let is_planted = self.planted == Planted::Remains;
        is_planted.then(|| self.cluster.keep()).flatten()
    }
}
