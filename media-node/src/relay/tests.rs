//! Clusters of media nodes in one process, with real sockets between them.

mod addresses;
mod cluster;
mod duplicates;
mod encoder;
mod failover;
mod freezer;
mod indirect;
mod large_packets;
mod lookups;
mod many_streams;
mod narrow_path;
mod outages;
mod protocol;
mod pulling;
mod replaced_origins;
mod slow_link;
mod viewer;
