//! Clusters of nodes in one process, with real sockets between them.

mod duplicates;
mod failover;
mod freezer;
mod requests;
mod support;
mod viewer;
mod watching;
