//! Tests through the public interface: publish, read, compare.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod batches;
mod epochs;
mod init_data;
mod largest_streams;
mod lifetimes;
mod memory;
mod notifiers;
mod publications;
mod relays;
mod renewals;
mod retention;
mod slates;
mod splices;
mod standbys;
mod support;
mod timelines;
mod tracks;
mod viewers;
