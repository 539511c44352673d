//! The operator's process: options, start, leader election, stop.

mod leader;
mod leader_election;
pub mod options;
#[cfg(test)]
mod rbac_tests;
pub mod run;
mod signals;
