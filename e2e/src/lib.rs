//! Proof of LiveCluster from outside: real clusters, real encoders and players.
//!
//! [`cluster`] is the Kubernetes cluster under test and what a scenario does with it, [`live`] an encoder and viewers that
//! number every message, [`interop`] holds real encoders, players and a browser against `livecluster local`, [`media`] what they
//! need, `scenarios` holds one file for each thing to prove, named by it. `e2e/run` is the command that
//! brings the cluster and calls this crate.

pub mod cluster;
pub mod interop;
pub mod live;
pub mod media;
mod retry;
pub(crate) mod scenarios;
