//! The operator's process, from its start to its end.

pub mod leader_election;
pub mod run;
