//! A node as a process: what it opens at its start, the threads it serves on, who is let in, and how it drains.

pub(crate) mod admission;
pub(crate) mod context;
mod drain;
mod lifecycle;
mod listener;
mod open_files;
pub(crate) mod workers;

pub use lifecycle::{Addresses, Node};
pub use listener::BindError;
