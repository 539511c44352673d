//! Limits that protect a media node, their defaults and their ranges. They are part of the `LiveCluster` resource.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits that protect a media node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Maximum number of connections on the RTMP and HTTP ports of a Pod together. Further ones are refused with HTTP status 503 or
    /// an RTMP error.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Maximum number of connections without a stream, in percent of `maxConnections`, and 16 at least: those in their handshake,
    /// between two requests, or reading a page. Beyond it the address with the most of these loses its oldest.
    #[schemars(range(min = 1, max = 100))]
    pub max_idle_connections_percent: u32,
    /// Maximum number of connections on the RTMP and HTTP ports of a Pod from one client address (IPv4) or network (IPv6 /64). 0 is no
    /// limit. Choose 0 where clients arrive with the address of a node, as with `externalTrafficPolicy: Cluster`, or of a load
    /// balancer or proxy that `proxies` does not name.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_connections_per_address: u32,
    /// Maximum number of new connections in a second from one client address or network. A further stream that is requested
    /// on a connection counts as a new connection. 0 is no limit, as for `maxConnectionsPerAddress`.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_new_connections_per_second_per_address: u32,
    /// Maximum number of streams on a Pod.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_streams: u32,
    /// Maximum number of streams on a Pod that one client address or network publishes. On an origin Pod, those that edges forward to
    /// it count as well. 0 is no limit, and there is none where `maxConnectionsPerAddress` is 0.
    #[schemars(range(min = 0, max = 100_000))]
    pub max_streams_per_address: u32,
    /// Maximum memory for media on a Pod, in mebibytes: what all streams buffer, and incomplete messages of publishers. When it
    /// becomes short, streams buffer less than `stream.windowSeconds`, down to the newest group of pictures (GOP), and a publisher
    /// that does not fit is refused. When absent, two thirds of the memory limit of the container, or a quarter of the node's
    /// memory where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 1_048_576))]
    pub max_media_mebibytes: Option<u32>,
    /// Maximum size of an RTMP message of a publisher, in mebibytes. Incomplete messages of a connection are not larger together.
    #[schemars(range(min = 1, max = 16))]
    pub max_message_mebibytes: u32,
    /// Maximum bitrate of a publisher, in kilobits per second on average of ten seconds. One that sends more is disconnected. 0 is no
    /// limit. A JSON Web Token can set a lower one with `maxPublishKbps` in its claim `livecluster`.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub max_publish_kbps: u32,
    /// Maximum number of messages of a publisher in a second, on average of five seconds: frames of all tracks, and what it sends beside
    /// them. One that sends more is disconnected, also one that sends a file faster than it plays. 0 is no limit.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_publish_messages_per_second: u32,
    /// Maximum size of a sequence header or metadata message, in kibibytes. An encoder that sends a larger one is disconnected.
    #[schemars(range(min = 4, max = 1024))]
    pub max_init_data_kibibytes: u32,
    /// Maximum number of sequence headers and metadata messages of a publication: one for each track. Further ones do not reach
    /// viewers that join later.
    #[schemars(range(min = 3, max = 256))]
    pub max_init_data_messages: u32,
    /// Maximum size of an RTMP message of a client that does not publish, in kibibytes. It sends commands only.
    #[schemars(range(min = 4, max = 64))]
    pub max_command_kibibytes: u32,
    /// Maximum number of streams that one RTMP connection may begin to publish or play in a minute. It has one stream at a time.
    #[schemars(range(min = 1, max = 6_000))]
    pub max_stream_starts_per_minute: u32,
    /// Maximum size of the names of application and stream together, in bytes. Each of them has at most 255. A client that asks for
    /// longer ones is refused.
    #[schemars(range(min = 16, max = 512))]
    pub max_name_bytes: u32,
    /// Maximum number of parameters in the address of a stream. A client that sends more is refused.
    #[schemars(range(min = 1, max = 128))]
    pub max_parameters: u32,
    /// Maximum size of all parameters in the address of a stream, in kibibytes. A client that sends more is refused. The headers of an
    /// HTTP request have 8 KiB with the address.
    #[schemars(range(min = 1, max = 8))]
    pub max_parameter_kibibytes: u32,
    /// Maximum number of names that a Pod asks the origins for at one time, because viewers wait for streams that do not exist. Viewers
    /// of further names are refused with HTTP status 503 or an RTMP error. They take no place of a stream. Client addresses share the
    /// number: one alone has half of it. A viewer waits for one name, so that as many as `maxConnections` are enough for all.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_lookups: u32,
    /// Milliseconds after which a Pod asks the origins again for a stream that none of them has. Until then viewers of this name get
    /// the last answer.
    #[schemars(range(min = 100, max = 60_000))]
    pub lookup_interval_milliseconds: u32,
    /// Seconds that a connection may take for its handshake and its first command or request, and a viewer for a message that it has
    /// begun.
    #[schemars(range(min = 1, max = 60))]
    pub handshake_timeout_seconds: u32,
    /// Seconds that a viewer may accept no byte before it is disconnected.
    #[schemars(range(min = 1, max = 600))]
    pub stall_timeout_seconds: u32,
    /// Seconds that a viewer may take for what is sent to it at one time before it is disconnected: its minimum rate. Until then it keeps
    /// that in memory, and while memory is short it has `stallTimeoutSeconds` only. When absent, ten times `stallTimeoutSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 6_000))]
    pub batch_timeout_seconds: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_idle_connections_percent: 10,
            max_connections_per_address: 1_000,
            max_new_connections_per_second_per_address: 100,
            max_streams: 1_000,
            max_streams_per_address: 500,
            max_media_mebibytes: None,
            max_message_mebibytes: 8,
            max_publish_kbps: 0,
            max_publish_messages_per_second: 1_000,
            max_init_data_kibibytes: 64,
            max_init_data_messages: 16,
            max_command_kibibytes: 64,
            max_stream_starts_per_minute: 60,
            max_name_bytes: 512,
            max_parameters: 32,
            max_parameter_kibibytes: 4,
            max_lookups: 10_000,
            lookup_interval_milliseconds: 1_000,
            handshake_timeout_seconds: 10,
            stall_timeout_seconds: 30,
            batch_timeout_seconds: None,
        }
    }
}

impl Limits {
    /// Returns each limit with the name of its field.
    pub fn by_field(&self) -> BTreeMap<String, u32> {
        // As JSON, the limits are a map of numbers.
        let fields = serde_json::to_value(self).and_then(serde_json::from_value);
        fields.unwrap_or_default()
    }

    /// Returns the maximum number of streams that one address publishes. `None` is no limit.
    pub fn max_streams_per_address(&self) -> Option<u32> {
        let limit = Some(self.max_streams_per_address);
        limit.filter(|limit| *limit > 0 && self.max_connections_per_address > 0)
    }

    /// Returns the maximum memory for media, in bytes. `None` means a share of the available memory.
    pub fn max_media_bytes(&self) -> Option<usize> {
        self.max_media_mebibytes.map(mebibytes)
    }

    /// Returns the maximum size of an RTMP message, in bytes.
    pub fn max_message_bytes(&self) -> usize {
        mebibytes(self.max_message_mebibytes)
    }

    /// Returns the maximum bitrate of a publisher, in kilobits per second. `None` is no limit.
    pub fn max_publish_kbps(&self) -> Option<u32> {
        Some(self.max_publish_kbps).filter(|kbps| *kbps > 0)
    }

    /// Returns the maximum number of messages of a publisher in a second. `None` is no limit.
    pub fn max_publish_messages_per_second(&self) -> Option<u32> {
        Some(self.max_publish_messages_per_second).filter(|messages| *messages > 0)
    }

    /// Returns the maximum size of a sequence header or metadata message, in bytes.
    pub fn max_init_data_bytes(&self) -> usize {
        kibibytes(self.max_init_data_kibibytes)
    }

    /// Returns the maximum size of an RTMP message of a client that does not publish, in bytes.
    pub fn max_command_bytes(&self) -> usize {
        kibibytes(self.max_command_kibibytes)
    }

    /// Returns the maximum size of all parameters in the address of a stream, in bytes.
    pub fn max_parameter_bytes(&self) -> usize {
        kibibytes(self.max_parameter_kibibytes)
    }

    /// Returns the maximum number of names that are looked up.
    pub fn max_lookups(&self) -> usize {
        usize::try_from(self.max_lookups).unwrap_or(usize::MAX)
    }

    /// Returns the time after which the origins are asked again for a stream that none of them has.
    pub fn lookup_interval(&self) -> Duration {
        Duration::from_millis(self.lookup_interval_milliseconds.into())
    }

    /// Returns the time for the handshake and the first command or request.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_seconds.into())
    }

    /// Returns the time that a viewer may accept no byte.
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_secs(self.stall_timeout_seconds.into())
    }

    /// Returns the time that a viewer may take for what is sent at one time. Some networks are slow for minutes, and the slowest one that
    /// carries a stream is far from ten stall timeouts.
    pub fn batch_timeout(&self) -> Duration {
        let seconds = self.batch_timeout_seconds;
        Duration::from_secs(seconds.unwrap_or(self.stall_timeout_seconds * 10).into())
    }
}

/// Returns a number of mebibytes in bytes.
pub(crate) fn mebibytes(number: u32) -> usize {
    usize::try_from(number).map_or(usize::MAX, |number| number.saturating_mul(1 << 20))
}

/// Returns a number of kibibytes in bytes.
fn kibibytes(number: u32) -> usize {
    usize::try_from(number).map_or(usize::MAX, |number| number.saturating_mul(1 << 10))
}
