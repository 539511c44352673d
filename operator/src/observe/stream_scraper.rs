//! Scrapes the Pods for their streams and viewers, and reports sums that change rarely.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use livecluster_api::{ClusterName, LiveCluster, StreamsStatus};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::report_interval::report_interval;
use super::scrape_target::{ScrapeTarget, TargetState};
use super::scraped_streams::ScrapedStreams;
use super::stream_sample::StreamSample;
use crate::scale::autoscaler::EdgeLoad;
use crate::scale::capacity::EdgeCapacity;
use crate::scale::joins::JoinFleet;

/// Time between two scrapes of a Pod.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
/// Concurrent scrapes of one cluster. Pods that do not respond take up to two seconds each.
const CONCURRENCY: usize = 32;

/// Scrapes the Pods of all clusters.
#[derive(Debug, Default)]
pub struct StreamScraper {
    clusters: Mutex<HashMap<ClusterName, ScrapedStreams>>,
}

impl StreamScraper {
    /// Sets the Pods of a cluster that are scraped.
    pub fn set_targets(&self, cluster: &LiveCluster, targets: Vec<ScrapeTarget>) {
        let mut clusters = self.clusters.lock();
        let streams = clusters.entry(ClusterName::of(cluster)).or_default();
        streams.targets = targets;
        streams.capacity = EdgeCapacity::of(&cluster.spec);
        streams.is_paused = cluster.spec.paused;
    }

    /// Returns the streams for the status of a cluster. They change at most every 15 seconds, and more rarely where there are many
    /// clusters.
    pub fn reported(&self, cluster: &LiveCluster) -> Option<StreamsStatus> {
        let clusters = self.clusters.lock();
        let report = clusters.get(&ClusterName::of(cluster))?.report()?;
        Some(report.status.clone())
    }

    /// Returns the viewers of the Pods that drain, by UID; `None` before the first scrape. They change as rarely as the streams.
    pub fn draining_viewers(&self, cluster: &LiveCluster) -> Option<HashMap<String, i64>> {
        let clusters = self.clusters.lock();
        let report = clusters.get(&ClusterName::of(cluster))?.report()?;
        Some(report.draining.clone())
    }

    /// Returns the clients of each Pod that has responded lately, by UID; `None` before the first scrape.
    pub fn clients(&self, cluster: &LiveCluster, now: Instant) -> Option<HashMap<String, u64>> {
        let clusters = self.clusters.lock();
        clusters.get(&ClusterName::of(cluster))?.clients(now)
    }

    /// Returns the edges that do not retire, for the decision which of them take new clients; `None` before the first scrape.
    pub fn join_fleet(&self, cluster: &LiveCluster, now: Instant) -> Option<JoinFleet> {
        let clusters = self.clusters.lock();
        let streams = clusters.get(&ClusterName::of(cluster))?;
        streams.is_scraped.then(|| streams.join_fleet(now))
    }

    /// Returns whether other edges of a cluster are to take new clients than those that do.
    pub fn have_joins_changed(&self, cluster: &ClusterName, now: Instant) -> bool {
        let mut clusters = self.clusters.lock();
        let streams = clusters.get_mut(cluster);
        streams.is_some_and(|streams| streams.joins_change(now))
    }

    /// Returns whether edges of a cluster take no new clients while emptier ones do.
    pub fn has_full_edges(&self, cluster: &ClusterName) -> bool {
        let clusters = self.clusters.lock();
        let mut targets = clusters.get(cluster).into_iter().flat_map(|it| &it.targets);
        targets.any(|target| target.state == TargetState::Full)
    }

    /// Returns the load of the edges.
    pub fn edge_load(&self, cluster: &ClusterName, now: Instant) -> EdgeLoad {
        let clusters = self.clusters.lock();
        let streams = clusters.get(cluster);
        streams
            .map(|streams| streams.edge_load(now))
            .unwrap_or_default()
    }

    /// Returns all clusters.
    pub fn clusters(&self) -> Vec<ClusterName> {
        self.clusters.lock().keys().cloned().collect()
    }

    /// Drops the state of a deleted cluster.
    pub fn forget(&self, cluster: &ClusterName) {
        self.clusters.lock().remove(cluster);
    }

    /// Scrapes every Pod of a cluster once with `scrape`. Returns whether its reported streams have changed, or a retiring Pod may be
    /// removed since then.
    pub async fn scrape<F>(&self, cluster: &ClusterName, scrape: impl Fn(ScrapeTarget) -> F) -> bool
    where
        F: Future<Output = Option<StreamSample>>,
    {
        let targets = self
            .clusters
            .lock()
            .get(cluster)
            .map(|it| it.targets.clone());
        let is_removable = stream::iter(targets.unwrap_or_default())
            .map(|target| {
                let sample = scrape(target.clone());
                async move { (target, sample.await) }
            })
            .buffer_unordered(CONCURRENCY)
            .fold(false, async |is_removable, (target, sample)| {
                self.insert(cluster, &target, sample) || is_removable
            })
            .await;
        let mut clusters = self.clusters.lock();
        let interval = report_interval(clusters.len());
        let Some(streams) = clusters.get_mut(cluster) else {
            return false;
        };
        streams.is_scraped = true;
        streams.update_report(interval, Instant::now()) || is_removable
    }

    /// Stores what a scrape has returned. Returns whether the Pod retires and may be removed since then.
    fn insert(
        &self,
        cluster: &ClusterName,
        target: &ScrapeTarget,
        sample: Option<StreamSample>,
    ) -> bool {
        let mut clusters = self.clusters.lock();
        let streams = clusters.get_mut(cluster);
        streams.is_some_and(|streams| streams.insert(target, sample, Instant::now()))
    }
}

#[cfg(test)]
mod tests;
