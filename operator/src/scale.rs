//! How many edges a cluster has, which of them take new clients, and which of them retire: pure functions.

pub mod autoscaler;
pub mod capacity;
pub mod events;
pub mod joins;
pub mod retirement;
mod rise;
mod stabilization;

#[cfg(test)]
mod tests;
