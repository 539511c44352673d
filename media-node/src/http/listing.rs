//! `/streams.json`: the streams of the whole cluster, for the player page. An edge without viewers lists the streams of its
//! origins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media_engine::Registry;
use media_wire::StreamKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::delivery::stream_summary::StreamSummary;
use crate::relay::Relay;

/// Time for which a list is reused: however many player pages there are, the worker threads only send it.
const LIST_TIME: Duration = Duration::from_millis(200);

/// Time for which the origins' answers are reused: there may be many edges, and each asks every few seconds.
const ORIGINS_TIME: Duration = Duration::from_secs(1);

/// The characters that are escaped in a path: all but the unreserved ones (RFC 3986, section 2.3) and the slash.
pub(super) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The list of streams.
pub(crate) struct StreamList {
    instance: String,
    registry: Registry,
    relay: Relay,
    /// Thread that makes the list.
    control: Handle,
    /// Locked while the list is made, so that only one request asks the origins.
    cache: Mutex<ListCache>,
    /// Locked while a list of some streams is made.
    selection: Mutex<()>,
}

#[derive(Default)]
struct ListCache {
    /// The streams of the origins, and when they were asked.
    origins: Option<(Instant, Vec<StreamSummary>)>,
    list: Option<(Instant, Arc<ListContent>)>,
}

/// The streams that can be played, sorted by name.
pub(super) struct ListContent {
    instance: String,
    streams: Vec<ListEntry>,
    /// All of it as JSON.
    json: Bytes,
}

/// The JSON of a list.
#[derive(Serialize)]
struct ListJson<'a> {
    instance: &'a str,
    streams: Vec<&'a ListEntry>,
}

#[derive(Debug, PartialEq, Serialize)]
struct ListEntry {
    vhost: Option<String>,
    app: String,
    name: String,
    path: String,
    codecs: Vec<String>,
    viewers: usize,
    /// Encoders that stand by, on this media node and on the origins.
    standbys: usize,
    live: bool,
    /// That of the newest publication.
    #[serde(skip)]
    epoch: Option<u64>,
}

impl ListContent {
    fn new(instance: String, streams: Vec<ListEntry>) -> Self {
        let mut content = Self {
            instance,
            streams,
            json: Bytes::new(),
        };
        content.json = content.of_streams(|_| true);
        content
    }

    /// Returns all streams as JSON.
    pub(super) fn of_all_streams(&self) -> Bytes {
        self.json.clone()
    }

    /// Returns the streams that `shows` accepts as JSON.
    fn of_streams(&self, shows: impl Fn(&StreamKey) -> bool) -> Bytes {
        let is_shown = |entry: &&ListEntry| {
            let key = StreamKey::new(entry.vhost.as_deref(), &entry.app, &entry.name);
            key.is_ok_and(|key| shows(&key))
        };
        let json = ListJson {
            instance: &self.instance,
            streams: self.streams.iter().filter(is_shown).collect(),
        };
        let json = serde_json::to_string(&json).expect("strings and numbers are always JSON");
        // A terminal may show it.
        Bytes::from(media_log::escape(&json).into_owned())
    }
}

impl StreamList {
    pub(crate) fn new(instance: String, registry: Registry, relay: Relay, control: Handle) -> Self {
        Self {
            instance,
            registry,
            relay,
            control,
            cache: Mutex::default(),
            selection: Mutex::default(),
        }
    }

    /// Returns the streams that `shows` accepts as JSON. One such list is made at a time: it can take a millisecond of its worker, whose
    /// viewers get their turn before the next one.
    pub(super) async fn read_some(&self, shows: impl Fn(&StreamKey) -> bool) -> Bytes {
        let list = self.read().await;
        let _turn = self.selection.lock().await;
        list.of_streams(shows)
    }

    /// Returns the list, which is at most [`LIST_TIME`] old.
    pub(super) async fn read(&self) -> Arc<ListContent> {
        let mut cache = self.cache.lock().await;
        if let Some((made, list)) = &cache.list
            && made.elapsed() < LIST_TIME
        {
            return Arc::clone(list);
        }
        let origins = self.read_origins(&mut cache).await;
        let (registry, instance) = (self.registry.clone(), self.instance.clone());
        let make = async move {
            let streams = registry.streams();
            let local = streams.iter().map(|stream| StreamSummary::of(stream));
            ListContent::new(instance, merge(local.chain(origins)))
        };
        // No streams when the media node ends.
        let made = self.control.spawn(make).await;
        let list = made.unwrap_or_else(|_| ListContent::new(self.instance.clone(), Vec::new()));
        let list = Arc::new(list);
        cache.list = Some((Instant::now(), Arc::clone(&list)));
        list
    }

    async fn read_origins(&self, cache: &mut ListCache) -> Vec<StreamSummary> {
        if let Some((asked, streams)) = &cache.origins
            && asked.elapsed() < ORIGINS_TIME
        {
            return streams.clone();
        }
        let answers = self.relay.fetch_from_origins("/api/v1/streams").await;
        // Thousands of streams with long names are megabytes.
        let read = async move {
            let read = |answer: &Bytes| serde_json::from_slice::<Vec<_>>(answer).ok();
            answers.iter().filter_map(read).flatten().collect()
        };
        let streams: Vec<StreamSummary> = self.control.spawn(read).await.unwrap_or_default();
        cache.origins = Some((Instant::now(), streams.clone()));
        streams
    }
}

/// Merges the summaries of several media nodes into one entry for each stream.
fn merge(summaries: impl Iterator<Item = StreamSummary>) -> Vec<ListEntry> {
    let mut entries: BTreeMap<_, ListEntry> = BTreeMap::new();
    let mut playable = BTreeSet::new();
    for summary in summaries {
        let StreamSummary {
            vhost, app, name, ..
        } = summary;
        let key = (vhost.clone(), app.clone(), name.clone());
        if summary.playable {
            playable.insert(key.clone());
        }
        let entry = entries.entry(key).or_insert_with(|| ListEntry {
            path: path(vhost.as_deref(), &app, &name),
            vhost,
            app,
            name,
            codecs: Vec::new(),
            viewers: 0,
            standbys: 0,
            live: false,
            epoch: None,
        });
        entry.standbys += summary.standbys;
        if !summary.playable {
            continue;
        }
        entry.viewers += summary.viewers;
        let epoch = summary.publication.map(|publication| publication.epoch);
        entry.live |= epoch.is_some();
        // A media node that has not had viewers since may have an earlier publication's codecs.
        if (entry.epoch, entry.codecs.len()) < (epoch, summary.codecs.len()) {
            entry.codecs = summary.codecs;
            entry.epoch = epoch;
        }
    }
    entries.retain(|key, _| playable.contains(key));
    entries.into_values().collect()
}

/// Returns the path of a stream on this media node.
fn path(vhost: Option<&str>, app: &str, name: &str) -> String {
    let parts = vhost.into_iter().chain([app, name]);
    let path: String = parts
        .map(|part| format!("/{}", utf8_percent_encode(part, ESCAPED)))
        .collect();
    path + ".flv"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::stream_summary::PublicationSummary;

    fn summary(name: &str, published: bool, viewers: usize) -> StreamSummary {
        StreamSummary {
            vhost: None,
            app: "live".to_owned(),
            name: name.to_owned(),
            publication: published.then(|| PublicationSummary {
                epoch: 1,
                source: "encoder".to_owned(),
            }),
            playable: true,
            codecs: vec!["H.264".to_owned()],
            viewers,
            standbys: 0,
        }
    }

    #[test]
    fn stream_of_several_media_nodes_is_listed_once() {
        let summaries = [
            summary("b", false, 1),
            summary("a", false, 2),
            summary("b", true, 3),
        ];
        let entries = merge(summaries.into_iter());
        let short: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.live, entry.viewers))
            .collect();
        assert_eq!(short, [("a", false, 2), ("b", true, 4)]);
    }

    #[test]
    fn codecs_are_those_of_the_newest_publication() {
        let codecs = |codecs: &[&str], published| StreamSummary {
            codecs: codecs.iter().map(ToString::to_string).collect(),
            ..summary("a", published, 0)
        };
        let before = codecs(&["HEVC", "AAC"], false);
        let now = codecs(&["H.264"], true);
        for order in [[before.clone(), now.clone()], [now, before]] {
            assert_eq!(merge(order.into_iter())[0].codecs, ["H.264"]);
        }
    }

    #[test]
    fn standbys_are_counted_where_the_stream_cannot_be_played() {
        let standby = StreamSummary {
            playable: false,
            standbys: 2,
            ..summary("a", false, 0)
        };
        let alone = StreamSummary {
            name: "b".to_owned(),
            ..standby.clone()
        };
        let entries = merge([standby, alone, summary("a", true, 1)].into_iter());
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!((entries[0].standbys, entries[0].viewers), (2, 1));
    }

    #[test]
    fn list_of_some_streams_has_no_others() {
        let entries = merge([summary("a", true, 1), summary("b", true, 1)].into_iter());
        let list = ListContent::new("n".to_owned(), entries);
        let names = |json: &[u8]| {
            let json: serde_json::Value = serde_json::from_slice(json).unwrap();
            assert_eq!(json["instance"], "n");
            let streams = json["streams"].as_array().unwrap().clone();
            streams
                .iter()
                .map(|entry| entry["name"].to_string())
                .collect::<String>()
        };
        assert_eq!(names(&list.of_all_streams()), "\"a\"\"b\"");
        assert_eq!(names(&list.of_streams(|key| key.name() == "b")), "\"b\"");
    }

    #[test]
    fn path_is_percent_encoded() {
        assert_eq!(path(None, "live/sub", "a"), "/live/sub/a.flv");
        assert_eq!(
            path(Some("v"), "live", "a b?ü"),
            "/v/live/a%20b%3F%C3%BC.flv"
        );
    }

    #[test]
    fn answer_of_a_newer_media_node_is_read() {
        let answer = r#"[{"vhost":null,"app":"live","name":"a","publication":{"epoch":1,"source":"encoder","more":1},
            "playable":true,"codecs":["AAC"],"viewers":0,"more":1}]"#;
        let summaries: Vec<StreamSummary> = serde_json::from_str(answer).unwrap();
        assert!(summaries[0].publication.is_some());
    }
}
