//! What is scraped, and how often the reported sums change.

use livecluster_api::LiveClusterSpec;

use super::*;

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

#[test]
fn numbers_have_two_significant_digits() {
    for (number, shown) in [
        (0, 0),
        (9, 9),
        (99, 99),
        (101, 100),
        (1847, 1800),
        (99_999, 99_000),
    ] {
        assert_eq!(round_down(number), shown);
    }
    assert_eq!(round_down(u64::MAX), i64::MAX);
}

#[tokio::test]
async fn forwarded_publication_counts_once() {
    let scraper = StreamScraper::default();
    scraper.set_targets(
        &demo(),
        vec![target("o", Role::Origin), target("e", Role::Edge)],
    );
    let changed = scraper
        .scrape_all(Instant::now(), async |_| sample(2, 30))
        .await;
    assert_eq!(changed.len(), 1);
    let expected = StreamsStatus {
        active: Some(2),
        viewers: Some(60),
        scraped_pods: 2,
        expected_pods: 2,
        ..StreamsStatus::default()
    };
    assert_eq!(scraper.reported(&demo()), Some(expected));
}

#[tokio::test]
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
    scraper.scrape_all(Instant::now(), short).await;
    let reported = scraper.reported(&demo()).unwrap();
    let numbers = (
        reported.memory_pressure_origins,
        reported.memory_pressure_edges,
    );
    assert_eq!(numbers, (0, 2));
}

#[tokio::test]
async fn number_that_changes_often_is_reported_at_intervals() {
    let scraper = StreamScraper::default();
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    scraper.set_targets(&demo(), vec![target("e", Role::Edge)]);
    assert_eq!(
        scraper
            .scrape_all(start, async |_| sample(0, 1000))
            .await
            .len(),
        1
    );
    assert_eq!(
        scraper
            .scrape_all(later(20), async |_| sample(0, 1040))
            .await
            .len(),
        0
    );
    assert_eq!(
        scraper
            .scrape_all(later(25), async |_| sample(0, 1100))
            .await
            .len(),
        1
    );
    assert_eq!(
        scraper
            .scrape_all(later(30), async |_| sample(0, 1200))
            .await
            .len(),
        0
    );
    assert_eq!(
        scraper
            .scrape_all(later(40), async |_| sample(0, 1200))
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn failed_scrape_keeps_the_last_sample_for_a_while() {
    let scraper = StreamScraper::default();
    let start = Instant::now();
    scraper.set_targets(&demo(), vec![target("e", Role::Edge)]);
    scraper.scrape_all(start, async |_| sample(0, 7)).await;
    let no_response = async |_| None;
    assert_eq!(
        scraper
            .scrape_all(start + SAMPLE_LIFETIME, no_response)
            .await
            .len(),
        0
    );
    let expired = start + SAMPLE_LIFETIME + SCRAPE_INTERVAL;
    assert_eq!(scraper.scrape_all(expired, no_response).await.len(), 1);
    let reported = scraper.reported(&demo()).unwrap();
    assert_eq!((reported.viewers, reported.scraped_pods), (None, 0));
}

#[tokio::test]
async fn retiring_pod_that_becomes_empty_is_noticed_at_once() {
    let scraper = StreamScraper::default();
    let now = Instant::now();
    let retiring = ScrapeTarget {
        state: TargetState::Retiring,
        ..target("e", Role::Edge)
    };
    assert_eq!(scraper.clients(&demo(), now), None);
    scraper.set_targets(&demo(), vec![retiring]);
    assert_eq!(scraper.clients(&demo(), now), None);
    scraper.scrape_all(now, async |_| sample(0, 3)).await;
    for (viewers, noticed) in [(3, 0), (0, 1), (0, 0)] {
        let changed = scraper.scrape_all(now, async |_| sample(0, viewers)).await;
        assert_eq!(changed.len(), noticed);
    }
    let clients = |later| scraper.clients(&demo(), now + later).unwrap();
    assert_eq!(clients(FRESH_LIFETIME).get("e"), Some(&0));
    assert!(clients(FRESH_LIFETIME * 2).is_empty());
}

#[tokio::test]
async fn load_is_that_of_edges_that_take_new_viewers() {
    let scraper = StreamScraper::default();
    let start = Instant::now();
    let mut targets = vec![target("a", Role::Edge), target("b", Role::Edge)];
    targets.push(target("origin", Role::Origin));
    targets.push(target("silent", Role::Edge));
    targets.push(ScrapeTarget {
        state: TargetState::Retiring,
        ..target("retiring", Role::Edge)
    });
    scraper.set_targets(&demo(), targets);
    for (second, sent) in [(0, 9_000_000), (5, 14_000_000)] {
        let scrape = async |target: ScrapeTarget| {
            let sample = StreamSample {
                viewers: 10,
                egress_bytes: sent,
                ..StreamSample::default()
            };
            (target.uid != "silent").then_some(sample)
        };
        let now = start + Duration::from_secs(second);
        scraper.scrape_all(now, scrape).await;
    }
    let expected = EdgeLoad {
        viewers: 20.0,
        egress_mbps: 16.0,
        responded: 2,
        asked: 3,
    };
    let name = ClusterName::of(&demo());
    let now = start + Duration::from_secs(5);
    assert_eq!(scraper.edge_load(&name, now), expected);
    let later = scraper.edge_load(&name, now + FRESH_LIFETIME * 2);
    assert_eq!((later.responded, later.asked), (0, 3));
}
