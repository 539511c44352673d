//! The operator's process: options, start, leader election, stop.

mod leader;
mod leader_election;
pub mod options;
pub mod run;
mod signals;
