//! The fields of the configuration, their defaults and their ranges.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AuthSettings;

/// Everything a media node is told at its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeConfig {
    /// What the node does with a stream that is published to it.
    pub role: Role,
    /// The node's name in logs, metrics and the API; the host's name when empty.
    pub name: String,
    /// Threads that serve viewers; 0 is one for each core.
    pub workers: usize,
    /// The addresses that the node listens on.
    pub listen: Listen,
    /// Where the origins are. Empty: the node is alone and serves what is published to it.
    pub origins: Discovery,
    /// Host names that have streams of their own. Any other host name, and none, means the default virtual host.
    pub vhosts: Vec<String>,
    /// How streams behave.
    pub stream: StreamSettings,
    /// What the node refuses.
    pub limits: Limits,
    /// How the node goes away.
    pub drain: DrainSettings,
    /// What the node writes to standard error.
    pub log: LogSettings,
    /// The HTTP port.
    pub http: HttpSettings,
    /// Who may publish and who may play.
    pub auth: AuthSettings,
}

/// What a node does with a stream that is published to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Keeps it, and answers for it to the other nodes.
    #[default]
    Origin,
    /// Forwards it to an origin.
    Edge,
}

/// The three ports of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Listen {
    /// RTMP: publish and play.
    pub rtmp: SocketAddr,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    pub http: SocketAddr,
    /// Metrics, probes, API and the other nodes' relays: never for the public.
    pub internal: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self {
            rtmp: any(1935),
            http: any(8080),
            internal: any(9090),
        }
    }
}

/// How the origins are found: by a Service's DNS name, or by a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Discovery {
    /// DNS name of the origins' headless Service: SRV records of its port `internal` where there are any, else all of
    /// its A and AAAA records.
    pub service: Option<String>,
    /// The origins' internal port, for names without SRV records; 9090 when absent.
    pub port: Option<u16>,
    /// Addresses of the origins' internal ports, `HOST:PORT`, instead of a Service.
    pub addresses: Vec<String>,
}

impl Discovery {
    /// Whether any origin is configured.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.addresses.is_empty()
    }

    /// The internal port of an origin that is known by its address only.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(9090)
    }
}

/// How streams behave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct StreamSettings {
    /// What happens to a second publisher of a stream: `takeover` closes the first one, `reject` refuses the second
    /// with `NetStream.Publish.BadName`.
    pub duplicate_publish: DuplicatePublish,
    /// Seconds without a message after which a publisher is closed.
    #[schemars(range(min = 1, max = 3600))]
    pub publish_idle_timeout_seconds: u32,
    /// Seconds that a viewer waits for a stream that is not there, before it gets a 404 or
    /// `NetStream.Play.StreamNotFound`.
    #[schemars(range(min = 0, max = 60))]
    pub play_wait_seconds: u32,
    /// Seconds that viewers stay connected after their stream's publisher is gone, waiting for it to come back.
    #[schemars(range(min = 0, max = 3600))]
    pub continuity_seconds: u32,
    /// Seconds that a relayed stream is kept after its last viewer left.
    #[schemars(range(min = 0, max = 3600))]
    pub linger_seconds: u32,
    /// Seconds of media that a stream keeps for viewers that fall behind, beside the newest group of pictures.
    #[schemars(range(min = 1, max = 60))]
    pub window_seconds: u32,
    /// Mebibytes of media that a stream keeps at most.
    #[schemars(range(min = 1, max = 1024))]
    pub window_max_mebibytes: u32,
    /// Microseconds by which each viewer of the node lengthens the pulse, the time over which messages are collected
    /// into one write for each viewer. 0 writes every message at once.
    #[schemars(range(min = 0, max = 1000))]
    pub pulse_microseconds_per_viewer: u32,
    /// Milliseconds that the pulse never exceeds.
    #[schemars(range(min = 0, max = 1000))]
    pub pulse_max_milliseconds: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            duplicate_publish: DuplicatePublish::Takeover,
            publish_idle_timeout_seconds: 15,
            play_wait_seconds: 3,
            continuity_seconds: 30,
            linger_seconds: 10,
            window_seconds: 10,
            window_max_mebibytes: 32,
            pulse_microseconds_per_viewer: 20,
            pulse_max_milliseconds: 100,
        }
    }
}

impl StreamSettings {
    /// Time without a message after which a publisher is closed.
    pub fn publish_idle_timeout(&self) -> Duration {
        Duration::from_secs(self.publish_idle_timeout_seconds.into())
    }

    /// Time that a viewer waits for a stream that is not there.
    pub fn play_wait(&self) -> Duration {
        Duration::from_secs(self.play_wait_seconds.into())
    }

    /// Time that viewers stay after their publisher is gone.
    pub fn continuity(&self) -> Duration {
        Duration::from_secs(self.continuity_seconds.into())
    }

    /// Time that a relayed stream is kept without viewers.
    pub fn linger(&self) -> Duration {
        Duration::from_secs(self.linger_seconds.into())
    }

    /// Span of media that a stream keeps.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds.into())
    }

    /// Bytes of media that a stream keeps at most.
    pub fn window_max_bytes(&self) -> usize {
        usize::try_from(self.window_max_mebibytes).map_or(usize::MAX, |n| n.saturating_mul(1 << 20))
    }

    /// Time that each viewer adds to the pulse.
    pub fn pulse_per_viewer(&self) -> Duration {
        Duration::from_micros(self.pulse_microseconds_per_viewer.into())
    }

    /// The longest pulse.
    pub fn pulse_max(&self) -> Duration {
        Duration::from_millis(self.pulse_max_milliseconds.into())
    }
}

/// What happens to a second publisher of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DuplicatePublish {
    /// The first one is closed: it is most likely dead without knowing.
    #[default]
    Takeover,
    /// The second one is refused.
    Reject,
}

/// What a node refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Connections on the RTMP and HTTP ports together; a further one is refused with HTTP 503 or an RTMP error.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Streams that a node knows at one time.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_streams: u32,
    /// Mebibytes of the largest RTMP message.
    #[schemars(range(min = 1, max = 16))]
    pub max_message_mebibytes: u32,
    /// Seconds that a connection has for its handshake and its first command or request.
    #[schemars(range(min = 1, max = 60))]
    pub handshake_timeout_seconds: u32,
    /// Seconds that a viewer may take no byte at all before it is closed.
    #[schemars(range(min = 1, max = 600))]
    pub stall_timeout_seconds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_streams: 1_000,
            max_message_mebibytes: 8,
            handshake_timeout_seconds: 10,
            stall_timeout_seconds: 30,
        }
    }
}

impl Limits {
    /// Bytes of the largest RTMP message.
    pub fn max_message_bytes(&self) -> usize {
        usize::try_from(self.max_message_mebibytes)
            .map_or(usize::MAX, |n| n.saturating_mul(1 << 20))
    }

    /// Time for handshake and first command.
    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_seconds.into())
    }

    /// Time that a viewer may take no byte.
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_secs(self.stall_timeout_seconds.into())
    }
}

/// How a node goes away after SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct DrainSettings {
    /// Seconds that new connections are still accepted, until every client knows that the node is leaving.
    pub accept_seconds: u32,
    /// Seconds from the signal to the exit at the latest; before that the node leaves as soon as it is idle.
    pub timeout_seconds: u32,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            accept_seconds: 5,
            timeout_seconds: 300,
        }
    }
}

impl DrainSettings {
    /// Time that new connections are still accepted.
    pub fn accept(&self) -> Duration {
        Duration::from_secs(self.accept_seconds.into())
    }

    /// Time from the signal to the exit at the latest.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }
}

/// The HTTP port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpSettings {
    /// Which pages of other sites may play streams.
    pub cors: CorsSettings,
}

/// Which pages of other sites may play streams in a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct CorsSettings {
    /// Origins of the pages, such as `https://www.example.com`, or `*` for every page. The player page of the media node
    /// itself is always allowed.
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 512),
            regex(pattern = "^(\\*|https?://[^/?#@ ]+)$")
        )
    )]
    pub allow_origins: Vec<String>,
    /// Whether public pages may play streams from a media node with a private address.
    pub allow_private_network: bool,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self {
            allow_origins: vec!["*".to_owned()],
            allow_private_network: false,
        }
    }
}

/// What a node writes to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LogSettings {
    /// One line of text or one JSON object for each event.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,media_node::relay=debug`.
    #[schemars(length(min = 1, max = 1024))]
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For log collectors.
    Json,
}
