//! `/streams.json`: what can be watched in the whole cluster, for the player page. An edge that nobody watches yet lists
//! what the origins have.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::internal::api;
use crate::server::context::Shared;

/// How long the other nodes' answers are good for: a page asks every few seconds, and there may be many pages.
const FRESH: Duration = Duration::from_secs(1);

/// The streams that a viewer can choose from.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    node: String,
    streams: Vec<Listed>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Listed {
    vhost: Option<String>,
    app: String,
    name: String,
    path: String,
    codecs: Vec<String>,
    viewers: usize,
    live: bool,
}

/// The other nodes' streams, and when they were asked.
#[derive(Default)]
pub(crate) struct Elsewhere(Mutex<Option<(Instant, Vec<Known>)>>);

/// As much as is used of another node's `/api/v1/streams`.
#[derive(Clone, Debug, Deserialize)]
struct Known {
    vhost: Option<String>,
    app: String,
    name: String,
    publication: Option<serde::de::IgnoredAny>,
    playable: bool,
    codecs: Vec<String>,
    viewers: usize,
}

/// All streams that can be watched, in the order of their names.
pub(crate) async fn listing(shared: &Shared) -> Listing {
    let elsewhere = shared.elsewhere.streams(shared).await;
    Listing {
        node: shared.name.clone(),
        streams: together(here(shared).into_iter().chain(elsewhere)),
    }
}

fn here(shared: &Shared) -> Vec<Known> {
    let streams = shared.registry.streams();
    let known = streams.iter().map(|stream| {
        let (key, state) = (stream.key(), stream.state());
        Known {
            vhost: key.vhost().map(str::to_owned),
            app: key.app().to_owned(),
            name: key.name().to_owned(),
            publication: state.publication.map(|_| serde::de::IgnoredAny),
            playable: state.playable,
            codecs: api::codecs(&stream.stats()),
            viewers: state.viewers,
        }
    });
    known.collect()
}

impl Elsewhere {
    /// One asks, the others wait for the answer: it is bounded in time.
    async fn streams(&self, shared: &Shared) -> Vec<Known> {
        let mut known = self.0.lock().await;
        if let Some((asked, streams)) = &*known
            && asked.elapsed() < FRESH
        {
            return streams.clone();
        }
        let answers = shared.relay.ask_origins("/api/v1/streams").await;
        let read = |answer: &bytes::Bytes| serde_json::from_slice::<Vec<Known>>(answer).ok();
        let streams: Vec<Known> = answers.iter().filter_map(read).flatten().collect();
        *known = Some((Instant::now(), streams.clone()));
        streams
    }
}

/// What several nodes know of the same stream becomes one entry.
fn together(known: impl Iterator<Item = Known>) -> Vec<Listed> {
    let mut listed: BTreeMap<_, Listed> = BTreeMap::new();
    for known in known.filter(|known| known.playable) {
        let key = (known.vhost.clone(), known.app.clone(), known.name.clone());
        let entry = listed.entry(key).or_insert_with(|| Listed {
            path: path(known.vhost.as_deref(), &known.app, &known.name),
            vhost: known.vhost,
            app: known.app,
            name: known.name,
            codecs: Vec::new(),
            viewers: 0,
            live: false,
        });
        entry.viewers += known.viewers;
        entry.live |= known.publication.is_some();
        if entry.codecs.len() < known.codecs.len() {
            entry.codecs = known.codecs;
        }
    }
    listed.into_values().collect()
}

/// Where the stream is on this node.
fn path(vhost: Option<&str>, app: &str, name: &str) -> String {
    let mut path = String::new();
    for part in vhost.into_iter().chain([app, name]) {
        path.push('/');
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    path.push(char::from(byte));
                }
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path + ".flv"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, published: bool, viewers: usize) -> Known {
        Known {
            vhost: None,
            app: "live".to_owned(),
            name: name.to_owned(),
            publication: published.then_some(serde::de::IgnoredAny),
            playable: true,
            codecs: vec!["H.264".to_owned()],
            viewers,
        }
    }

    #[test]
    fn a_stream_of_several_nodes_is_listed_once() {
        let listed = together(
            [
                known("b", false, 1),
                known("a", false, 2),
                known("b", true, 3),
            ]
            .into_iter(),
        );
        let short: Vec<_> = listed
            .iter()
            .map(|listed| (listed.name.as_str(), listed.live, listed.viewers))
            .collect();
        assert_eq!(short, [("a", false, 2), ("b", true, 4)]);
    }

    #[test]
    fn a_path_is_one_whatever_the_name_has() {
        assert_eq!(path(None, "live/sub", "a"), "/live/sub/a.flv");
        assert_eq!(
            path(Some("v"), "live", "a b?ü"),
            "/v/live/a%20b%3F%C3%BC.flv"
        );
    }

    #[test]
    fn an_answer_of_a_node_is_read() {
        let answer = r#"[{"vhost":null,"app":"live","name":"a","publication":{"epoch":1,"source":"encoder"},
            "playable":true,"codecs":["AAC"],"viewers":0,"more":1}]"#;
        let known: Vec<Known> = serde_json::from_str(answer).unwrap();
        assert!(known[0].publication.is_some());
    }
}
