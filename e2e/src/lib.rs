//! Proof of LiveCluster from outside: real encoders and players, and real clusters. `e2e/run` is the command.
//!
//! A [`scenario`] proves one thing and is one file, named by it: [`interop`] holds those with real programs against
//! `livecluster local`, [`kubernetes`] those on a cluster. The [`runner`] runs them. They share [`media`] (encoders, viewers and the
//! judge of what was received), [`instances`] (of `livecluster local`) and [`cluster`] (the Kubernetes cluster).

pub mod certificate;
pub mod cluster;
pub mod instances;
pub mod interop;
pub mod kubernetes;
pub mod media;
pub mod process;
pub mod runner;
pub mod scenario;
pub mod stage;
pub mod wait;

pub use runner::{Options, run};
