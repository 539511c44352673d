//! The operator's process: options, start, leader election, stop.

mod leader;
mod leader_election;
mod log;
pub mod options;
pub mod run;
mod signals;
