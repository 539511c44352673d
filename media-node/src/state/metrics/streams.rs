//! Metrics of streams: how many there are, and of each one where that is configured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use media_engine::{PublicationSource, Stream, StreamState};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, Opts};

use super::registration::{Registration, STATIC};

/// The label of a stream's name. Encoders choose it, and a terminal may show it.
const STREAM: &str = "stream";

/// Metrics of streams.
pub(crate) struct StreamMetrics {
    streams: IntGauge,
    publications: IntGauge,
    standbys: IntGauge,
    slates: IntGauge,
    left_out: IntGauge,
    /// The maximum number of streams that have metrics of their own.
    max_own: AtomicUsize,
}

impl StreamMetrics {
    pub(super) fn new(new: &Registration) -> Self {
        Self {
            streams: new.gauge("live_streams", "Streams that exist on this media node."),
            publications: new.gauge("live_publications", "Streams that have an encoder."),
            standbys: new.gauge("live_standbys", "Encoders that stand by."),
            slates: new.gauge("live_slates", "Streams that show the slate of this origin."),
            left_out: new.gauge(
                "live_streams_without_metrics",
                "Streams without metrics of their own because metrics.streams is reached. 0 where it is 0.",
            ),
            max_own: AtomicUsize::new(0),
        }
    }

    /// Changes the maximum number of streams that have metrics of their own.
    pub(crate) fn set_max_own(&self, max: usize) {
        self.max_own.store(max, Ordering::Relaxed);
    }

    /// Sets the metrics of all streams together, and returns those of single ones.
    pub(super) fn set(&self, streams: &[Arc<Stream>]) -> Vec<MetricFamily> {
        let mut published: Vec<(StreamState, &Stream)> = streams
            .iter()
            .map(|stream| (stream.state(), &**stream))
            .filter(|(state, _)| state.publication.is_some())
            .collect();
        let slates = published.iter().filter(|(state, _)| {
            let source = state.publication.map(|publication| publication.source);
            source == Some(PublicationSource::Slate)
        });
        super::set(&self.slates, slates.count());
        published.retain(|(state, _)| state.has_encoder());
        let standbys = streams.iter().map(|stream| stream.standbys());
        super::set(&self.standbys, standbys.sum());
        super::set(&self.streams, streams.len());
        super::set(&self.publications, published.len());
        let max = self.max_own.load(Ordering::Relaxed);
        if max == 0 {
            self.left_out.set(0);
            return Vec::new();
        }
        super::set(&self.left_out, published.len().saturating_sub(max));
        // The first ones stay: a later publication takes the metrics of no other stream.
        published.sort_by_cached_key(|(state, stream)| {
            let epoch = state.publication.map(|publication| publication.epoch);
            (epoch, stream.key().to_string())
        });
        let own = published.into_iter().take(max);
        own_metrics(own.map(|(_, stream)| stream))
    }
}

/// Returns the metrics of single streams. They are made for each scrape, so that those of a stream end with it.
fn own_metrics<'a>(streams: impl Iterator<Item = &'a Stream>) -> Vec<MetricFamily> {
    let new = Registration::default();
    let counters = |name, help| {
        let counters = IntCounterVec::new(Opts::new(name, help), &[STREAM]);
        new.register(counters.expect(STATIC))
    };
    let bytes = counters(
        "live_stream_received_bytes_total",
        "Bytes of audio, video and metadata of a stream. Their rate is its bitrate.",
    );
    let frames = counters(
        "live_stream_video_frames_total",
        "Video frames of a stream. Their rate is its frame rate.",
    );
    let interval = new.ratios(
        "live_stream_keyframe_interval_seconds",
        "Media time between the last two keyframes of a stream.",
        STREAM,
    );
    let viewers = new.gauges(
        "live_stream_viewers",
        "Viewers of a stream on this media node.",
        &[STREAM],
    );
    for stream in streams {
        let stats = stream.stats();
        let name = stream.key().to_string();
        let labels = [media_log::escape(&name)];
        bytes.with_label_values(&labels).inc_by(stats.bytes_in);
        frames.with_label_values(&labels).inc_by(stats.video_frames);
        super::set(
            &viewers.with_label_values(&labels),
            stream.readers().viewers,
        );
        if let Some(last) = stats.keyframe_interval {
            interval.with_label_values(&labels).set(last.as_secs_f64());
        }
    }
    new.0.gather()
}
