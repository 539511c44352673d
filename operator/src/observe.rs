//! Reads the objects of a LiveCluster, and scrapes its Pods for their streams.

pub mod api_keys;
pub mod cluster;
pub mod gateway_api;
pub mod gateways;
pub mod live_object;
pub mod node_tokens;
pub mod observed;
pub mod pod_failure;
pub mod pods;
pub mod read;
pub mod references;
pub mod report_interval;
pub mod scrape_target;
mod scraped_streams;
pub mod stream_sample;
pub mod stream_scraper;
