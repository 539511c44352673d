//! Names that viewers wait for: whose the origins are asked for, and when again.

use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use media_config::Limits;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::cluster::{LIMIT, RelayCluster, RelayNode, key};
use crate::relay::protocol::Parameters;

const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Names that one address invents: more than it has turns of either kind.
const INVENTED: usize = 200;
/// Names of one address that the origins are asked for at one time.
const ASKED: usize = 32;
/// Names of one address whose requests the origins hold.
const HELD: usize = 64;

/// Lets a viewer with this address wait for a stream.
fn wait_for(node: &RelayNode, name: &str, viewer: IpAddr) {
    let (relay, key) = (node.relay.clone(), key(name));
    tokio::spawn(async move { relay.appearance(&key, viewer).await.is_ok() });
}

fn invented(number: usize) -> String {
    format!("invented-{number}")
}

/// Returns the first lines of requests to an origin that answers none of them.
async fn silent_origin(cluster: &RelayCluster) -> mpsc::Receiver<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    cluster.add(listener.local_addr().unwrap());
    let (sender, requests) = mpsc::channel(2 * INVENTED);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(report_request(stream, sender.clone()));
        }
    });
    requests
}

async fn report_request(stream: TcpStream, requests: mpsc::Sender<String>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    if !line.is_empty() {
        drop(requests.send(line).await);
    }
    pending::<()>().await;
}

/// Waits until the origin is asked for a name.
async fn until_asked_for(requests: &mut mpsc::Receiver<String>, name: &str) {
    let asked = async {
        while let Some(request) = requests.recv().await {
            if request.contains(name) {
                return;
            }
        }
    };
    timeout(LIMIT, asked).await.expect("the origin is asked");
}

/// Waits for names until the origin has been asked for as many as one address may ask for at one time.
async fn fill_turns(edge: &RelayNode, requests: &mut mpsc::Receiver<String>) {
    for number in 0..INVENTED {
        wait_for(edge, &invented(number), ONE);
    }
    for _ in 0..ASKED {
        until_asked_for(requests, "invented").await;
    }
}

#[tokio::test]
async fn name_is_looked_up_beside_hundreds_that_another_address_waits_for() {
    let cluster = RelayCluster::new();
    let (mut requests, edge) = (silent_origin(&cluster).await, cluster.edge("e").await);
    fill_turns(&edge, &mut requests).await;
    wait_for(&edge, "real", OTHER);
    until_asked_for(&mut requests, "real").await;
}

#[tokio::test]
async fn name_that_another_address_has_asked_for_last_is_looked_up_for_its_own_viewer() {
    let cluster = RelayCluster::new();
    let (mut requests, edge) = (silent_origin(&cluster).await, cluster.edge("e").await);
    fill_turns(&edge, &mut requests).await;
    wait_for(&edge, "real", ONE);
    wait_for(&edge, "real", OTHER);
    until_asked_for(&mut requests, "real").await;
}

#[tokio::test]
async fn origins_hold_a_name_beside_hundreds_that_another_address_waits_for() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    for number in 0..INVENTED {
        wait_for(&edge, &invented(number), ONE);
    }
    let mut asked = AskedNames::default();
    let held = |asked: &AskedNames| asked.0.values().filter(|it| it.held > 0).count();
    asked.until(&origin, |asked| held(asked) >= HELD).await;
    wait_for(&edge, "real", OTHER);
    let is_held = |asked: &AskedNames| asked.0.get("real").is_some_and(|it| it.held > 0);
    asked.until(&origin, is_held).await;
}

#[tokio::test]
async fn name_that_no_origin_holds_is_asked_for_again_after_the_configured_interval() {
    let cluster = RelayCluster::new();
    cluster.settings.limits.replace(Limits {
        lookup_interval_milliseconds: 60_000,
        ..Limits::default()
    });
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    for number in 0..INVENTED {
        wait_for(&edge, &invented(number), ONE);
    }
    let mut asked = AskedNames::default();
    // Each request is held for a fifth of a second, so that this takes longer than the interval that is the default.
    let is_long =
        |asked: &AskedNames| asked.0.len() == INVENTED && asked.0.values().any(|it| it.held > 10);
    asked.until(&origin, is_long).await;
    let not_held = asked.0.values().filter(|it| it.held == 0);
    let times: Vec<_> = not_held.map(|it| it.times).collect();
    assert_eq!(times, [1; INVENTED - HELD]);
}

/// A viewer that waits for a stream, until this is dropped.
type Waiting = BoxFuture<'static, bool>;

/// Lets a viewer with this address wait for a stream, unless it is refused.
fn waiting(node: &RelayNode, name: &str, viewer: IpAddr) -> Option<Waiting> {
    let (relay, key) = (node.relay.clone(), key(name));
    let mut waiting = async move { relay.appearance(&key, viewer).await.is_ok() }.boxed();
    match (&mut waiting).now_or_never() {
        Some(false) => None,
        _ => Some(waiting),
    }
}

/// Lets so many names be looked up at one time.
fn limit_lookups(cluster: &RelayCluster, max_lookups: u32) {
    cluster.settings.limits.replace(Limits {
        max_lookups,
        ..Limits::default()
    });
}

#[tokio::test]
async fn names_of_one_address_keep_half_of_the_places_free() {
    let cluster = RelayCluster::new();
    limit_lookups(&cluster, 16);
    let edge = cluster.edge("e").await;
    let names = (0..INVENTED).map(invented);
    let one: Vec<_> = names
        .filter_map(|name| waiting(&edge, &name, ONE))
        .collect();
    assert_eq!(one.len(), 8);
    assert!(waiting(&edge, "real", OTHER).is_some());
    // A name that another one waits for needs no place.
    assert!(waiting(&edge, &invented(0), ONE).is_some());
}

#[tokio::test]
async fn names_whose_viewers_have_left_keep_no_other_one_out() {
    let cluster = RelayCluster::new();
    limit_lookups(&cluster, 16);
    let (mut requests, edge) = (silent_origin(&cluster).await, cluster.edge("e").await);
    for number in 0..INVENTED {
        assert!(waiting(&edge, &invented(number), ONE).is_some());
    }
    let _real = waiting(&edge, "real", ONE).expect("a place");
    // Those that have lost their place are not asked for any more.
    until_asked_for(&mut requests, "real").await;
}

/// The names that an origin was asked for.
#[derive(Debug, Default)]
struct AskedNames(HashMap<String, Asked>);

#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    times: usize,
    /// How often the origin was to hold the request.
    held: usize,
}

impl AskedNames {
    /// Waits for a condition on the requests to an origin.
    async fn until(&mut self, origin: &RelayNode, is_met: impl Fn(&Self) -> bool) {
        let met = async {
            while !is_met(self) {
                sleep(Duration::from_millis(2)).await;
                for (_, uri) in origin.take_requests() {
                    self.count(&uri);
                }
            }
        };
        let met = timeout(LIMIT, met).await;
        met.unwrap_or_else(|_| panic!("not asked so: {self:?}"));
    }

    fn count(&mut self, uri: &str) {
        let Some((_, query)) = uri.split_once('?') else {
            return;
        };
        let parameters = Parameters::parse(query).unwrap();
        let asked = self.0.entry(parameters.key.name().to_owned()).or_default();
        asked.times += 1;
        asked.held += usize::from(!parameters.wait.is_zero());
    }
}
