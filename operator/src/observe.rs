//! Reads the objects of a LiveCluster, and scrapes its Pods for their streams.

pub mod observed;
pub mod read;
pub mod stream_sample;
pub mod stream_scraper;
