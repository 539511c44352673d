//! What is scraped, and how often the reported sums change.

use livecluster_api::LiveClusterSpec;
use media_config::Role;
use tokio::time::advance;

use super::*;
use crate::observe::scraped_streams::SAMPLE_LIFETIME;
use crate::scale::autoscaler::Load;

fn target(uid: &str, role: Role) -> ScrapeTarget {
    ScrapeTarget {
        uid: uid.to_owned(),
        address: "192.0.2.1:9090".parse().unwrap(),
        role,
        state: TargetState::Serving,
        node: String::new(),
    }
}

fn demo() -> LiveCluster {
    LiveCluster::new("demo", LiveClusterSpec::default())
}

fn sample(publications: u64, viewers: u64) -> Option<StreamSample> {
    Some(StreamSample {
        publications,
        viewers,
        ..StreamSample::default()
    })
}

impl StreamScraper {
    /// Scrapes the Pods of the cluster once more, after an interval.
    async fn next<F>(&self, scrape: impl Fn(ScrapeTarget) -> F) -> bool
    where
        F: Future<Output = Option<StreamSample>>,
    {
        advance(SCRAPE_INTERVAL).await;
        self.scrape(&ClusterName::of(&demo()), scrape).await
    }
}

#[tokio::test(start_paused = true)]
async fn forwarded_publication_counts_once() {
    let scraper = StreamScraper::default();
    scraper.set_targets(
        &demo(),
        vec![target("o", Role::Origin), target("e", Role::Edge)],
    );
    assert!(scraper.next(async |_| sample(2, 30)).await);
    let expected = StreamsStatus {
        active: Some(2),
        viewers: Some(60),
        scraped_pods: 2,
        expected_pods: 2,
        ..StreamsStatus::default()
    };
    assert_eq!(scraper.reported(&demo()), Some(expected));
}

#[tokio::test(start_paused = true)]
async fn pods_whose_memory_is_short_are_counted_by_role() {
    let scraper = StreamScraper::default();
    let targets = [("o", Role::Origin), ("e", Role::Edge), ("f", Role::Edge)];
    let targets = targets.map(|(name, role)| target(name, role));
    scraper.set_targets(&demo(), targets.into());
    let short = async |target: ScrapeTarget| {
        Some(StreamSample {
            memory_pressure: target.role == Role::Edge,
            ..StreamSample::default()
        })
    };
    scraper.next(short).await;
    let reported = scraper.reported(&demo()).unwrap();
    let numbers = (
        reported.memory_pressure_origins,
        reported.memory_pressure_edges,
    );
    assert_eq!(numbers, (0, 2));
}

/// Returns the seconds at which a number that changes at each scrape is reported within a minute and a half.
async fn reports(scraper: &StreamScraper) -> Vec<u64> {
    let start = Instant::now();
    scraper.set_targets(&demo(), vec![target("e", Role::Edge)]);
    let mut seconds = Vec::new();
    for round in 0..18 {
        if scraper.next(async |_| sample(0, 1000 + round * 100)).await {
            seconds.push(start.elapsed().as_secs());
        }
    }
    seconds
}

#[tokio::test(start_paused = true)]
async fn number_that_changes_often_is_reported_at_intervals() {
    let scraper = StreamScraper::default();
    assert_eq!(reports(&scraper).await, [5, 20, 35, 50, 65, 80]);
    // The same with two digits.
    advance(Duration::from_secs(60)).await;
    assert!(scraper.next(async |_| sample(0, 1000)).await);
    advance(Duration::from_secs(60)).await;
    assert!(!scraper.next(async |_| sample(0, 1040)).await);
}

#[tokio::test(start_paused = true)]
async fn numbers_of_many_clusters_are_reported_more_rarely() {
    let scraper = StreamScraper::default();
    for number in 0..99 {
        let other = LiveCluster::new(&format!("demo-{number}"), LiveClusterSpec::default());
        scraper.set_targets(&other, Vec::new());
    }
    assert_eq!(reports(&scraper).await, [5, 65]);
}

#[tokio::test(start_paused = true)]
async fn viewers_of_a_pod_that_begins_to_drain_are_reported_at_once() {
    let scraper = StreamScraper::default();
    let mut edge = target("e", Role::Edge);
    scraper.set_targets(&demo(), vec![edge.clone()]);
    scraper.next(async |_| sample(0, 7)).await;
    edge.state = TargetState::Terminating;
    scraper.set_targets(&demo(), vec![edge]);
    assert!(scraper.next(async |_| None).await);
    let draining = scraper.draining_viewers(&demo()).unwrap();
    assert_eq!(draining.get("e"), Some(&7));
    assert!(!scraper.next(async |_| sample(0, 3)).await);
}

#[tokio::test(start_paused = true)]
async fn failed_scrape_keeps_the_last_sample_for_a_while() {
    let scraper = StreamScraper::default();
    scraper.set_targets(&demo(), vec![target("e", Role::Edge)]);
    scraper.next(async |_| sample(0, 7)).await;
    let no_response = async |_| None;
    advance(SAMPLE_LIFETIME - SCRAPE_INTERVAL).await;
    assert!(!scraper.next(no_response).await);
    assert!(scraper.next(no_response).await);
    let reported = scraper.reported(&demo()).unwrap();
    assert_eq!((reported.viewers, reported.scraped_pods), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn retiring_pod_that_becomes_empty_is_noticed_at_once() {
    let scraper = StreamScraper::default();
    let retiring = ScrapeTarget {
        state: TargetState::Retiring,
        ..target("e", Role::Edge)
    };
    let clients = || scraper.clients(&demo(), Instant::now());
    assert_eq!(clients(), None);
    scraper.set_targets(&demo(), vec![retiring]);
    assert_eq!(clients(), None);
    scraper.next(async |_| sample(0, 3)).await;
    for (viewers, is_noticed) in [(3, false), (0, true)] {
        assert_eq!(scraper.next(async |_| sample(0, viewers)).await, is_noticed);
    }
    // Every node knows by then that it retires.
    for is_noticed in [true, false] {
        assert_eq!(scraper.next(async |_| sample(0, 0)).await, is_noticed);
    }
    // One scrape may fail.
    scraper.next(async |_| None).await;
    assert_eq!(clients().unwrap().get("e"), Some(&0));
    scraper.next(async |_| None).await;
    assert!(clients().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn pod_that_retires_empty_is_noticed_when_it_may_be_removed() {
    let scraper = StreamScraper::default();
    let mut edge = target("e", Role::Edge);
    scraper.set_targets(&demo(), vec![edge.clone()]);
    scraper.next(async |_| sample(0, 0)).await;
    edge.state = TargetState::Retiring;
    scraper.set_targets(&demo(), vec![edge]);
    // The first of them reports the number of its viewers.
    scraper.next(async |_| sample(0, 0)).await;
    for is_noticed in [true, false, false] {
        assert_eq!(scraper.next(async |_| sample(0, 0)).await, is_noticed);
    }
}

/// An edge of each kind, of which the silent one does not respond.
fn edges() -> Vec<ScrapeTarget> {
    let draining = |state| ScrapeTarget {
        state,
        ..target("draining", Role::Edge)
    };
    vec![
        target("a", Role::Edge),
        target("b", Role::Edge),
        target("origin", Role::Origin),
        target("silent", Role::Edge),
        draining(TargetState::Retiring),
    ]
}

#[tokio::test(start_paused = true)]
async fn load_is_that_of_edges_that_take_new_viewers_and_of_those_that_drain() {
    let scraper = StreamScraper::default();
    scraper.set_targets(&demo(), edges());
    let load = || scraper.edge_load(&ClusterName::of(&demo()), Instant::now());
    for (sent, lacks_egress) in [(9_000_000, true), (14_000_000, false)] {
        let scrape = async |target: ScrapeTarget| {
            let sample = StreamSample {
                viewers: 10,
                egress_bytes: sent,
                ..StreamSample::default()
            };
            (target.uid != "silent").then_some(sample)
        };
        scraper.next(scrape).await;
        assert_eq!(load().lacks_egress, lacks_egress);
    }
    let of = |edges: f64| Load {
        viewers: edges * 10.0,
        egress_mbps: edges * 8.0,
    };
    let expected = EdgeLoad {
        serving: of(2.0),
        draining: of(1.0),
        responded: 2,
        asked: 3,
        lacks_egress: false,
    };
    assert_eq!(load(), expected);
    scraper.next(async |_| None).await;
    assert_eq!((load().responded, load().asked), (2, 3));
    // It has ended, and its viewers come to the others.
    assert_eq!(load().draining, Load::default());
    scraper.next(async |_| None).await;
    assert_eq!((load().responded, load().asked), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn absurd_sample_counts_as_a_full_pod_at_most() {
    let scraper = StreamScraper::default();
    scraper.set_targets(&demo(), vec![target("a", Role::Edge)]);
    for _ in 0..2 {
        let absurd = async |_| {
            Some(StreamSample {
                viewers: u64::MAX,
                egress_bytes: u64::from(scraper.reported(&demo()).is_some()) * u64::MAX,
                ..StreamSample::default()
            })
        };
        scraper.next(absurd).await;
    }
    let load = scraper.edge_load(&ClusterName::of(&demo()), Instant::now());
    assert_eq!(load.serving.viewers, 10_000.0);
    assert_eq!((load.serving.egress_mbps, load.lacks_egress), (0.0, true));
}

#[tokio::test(start_paused = true)]
async fn container_that_restarts_counts_from_zero() {
    let scraper = StreamScraper::default();
    scraper.set_targets(&demo(), vec![target("a", Role::Edge)]);
    for sent in [90_000_000, 5_000_000] {
        let scrape = async |_| {
            Some(StreamSample {
                egress_bytes: sent,
                ..StreamSample::default()
            })
        };
        scraper.next(scrape).await;
    }
    let load = scraper.edge_load(&ClusterName::of(&demo()), Instant::now());
    assert_eq!(load.serving.egress_mbps, 8.0);
}
