//! Fields of the configuration, their defaults and their ranges.
//!
//! The docs of [`StreamSettings`], [`Limits`](crate::Limits) and the other types that are part of the `LiveCluster` resource are its
//! descriptions. There, a running media node is a Pod.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::mebibytes;
use crate::{AuthSettings, IdentitySettings, Limits, MetricsSettings, ProxySettings};

/// Configuration of a media node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeConfig {
    /// What the media node does with a stream that is published to it.
    pub role: Role,
    /// Instance name in logs and the API. Empty: the host's name.
    pub name: String,
    /// Worker threads. 0: one for each core.
    pub workers: usize,
    /// Addresses that the media node listens on.
    pub listen: Listen,
    /// Discovery of the origins. Empty: the media node serves only what is published to it.
    pub origins: Discovery,
    /// Virtual hosts: host names with streams of their own. Any other host name, or none, is the default virtual host.
    pub vhosts: Vec<String>,
    /// Behaviour of streams.
    pub stream: StreamSettings,
    /// Limits that protect the media node.
    pub limits: Limits,
    /// Drain after SIGTERM.
    pub drain: DrainSettings,
    /// Log on standard error.
    pub log: LogSettings,
    /// Metrics.
    pub metrics: MetricsSettings,
    /// The HTTP port.
    pub http: HttpSettings,
    /// FLV file that an origin's viewers watch, again and again, while a stream waits for an encoder: for
    /// `stream.continuitySeconds`.
    pub slate: Option<PathBuf>,
    /// Who may publish and who may play.
    pub auth: AuthSettings,
    /// Certificate of the ports `listen.rtmps` and `listen.https`. Without it they stay closed.
    pub tls: Option<TlsSettings>,
    /// How media nodes prove to each other who they are.
    pub identity: IdentitySettings,
    /// Load balancers and reverse proxies before the public ports.
    pub proxies: ProxySettings,
}

/// What a media node does with a stream that is published to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Serves it to other media nodes.
    #[default]
    Origin,
    /// Forwards it to an origin.
    Edge,
}

/// Addresses of the ports of a media node. A public port without an address (`null`) stays closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Listen {
    /// RTMP: publish and play.
    pub rtmp: Option<SocketAddr>,
    /// HTTP-FLV, WebSocket-FLV and the player page.
    pub http: Option<SocketAddr>,
    /// RTMP by TLS, where `tls` is set.
    pub rtmps: Option<SocketAddr>,
    /// HTTP by TLS, where `tls` is set.
    pub https: Option<SocketAddr>,
    /// Probes, API and relays. Must not be public. Without an identity it has to be a loopback address; `[::]` then means one.
    pub internal: SocketAddr,
    /// Metrics. Must not be public. Default: port 9092, or another free one if that is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self {
            rtmp: Some(any(1935)),
            http: Some(any(8080)),
            rtmps: Some(any(1936)),
            https: Some(any(8443)),
            internal: any(9090),
            metrics: None,
        }
    }
}

/// Certificate of the ports with TLS. Both files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSettings {
    /// PEM file with the certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file with the private key of the certificate.
    pub key: PathBuf,
}

/// Discovery of the origins: by the DNS name of a Service, or by a list of addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Discovery {
    /// DNS name of the origins' headless Service. The SRV records of its port `internal` are used if there are any, else all
    /// of its A and AAAA records.
    pub service: Option<String>,
    /// Internal port of the origins, for names without SRV records. Default: 9090.
    pub port: Option<u16>,
    /// Addresses of the origins' internal ports, `HOST:PORT`, instead of a Service.
    pub addresses: Vec<String>,
    /// RTMP servers of another make, `rtmp://HOST[:PORT]`, instead of origins. An edge plays the streams that its viewers want from
    /// the first one that has them, and publishes what is published to it.
    pub rtmp: Vec<String>,
}

impl Discovery {
    /// Returns whether no origin is configured that is a media node.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.addresses.is_empty()
    }

    /// Returns the internal port of an origin whose name has no SRV records.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(9090)
    }
}

/// Behaviour of streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamSettings {
    /// Policy for a second publisher of a stream: `takeover` disconnects the first one, `reject` refuses the second one with
    /// `NetStream.Publish.BadName`, `standby` keeps both and puts the one with the higher priority on air. An encoder names its
    /// priority in its URL, `?priority=N` with 0 to 100.
    pub duplicate_publish: DuplicatePublish,
    /// With `duplicatePublish: standby`, milliseconds without media after which a standby replaces the publisher that is on air. A
    /// publisher that disconnects is replaced immediately.
    #[schemars(range(min = 500, max = 60000))]
    pub failover_after_milliseconds: u32,
    /// Seconds without a message after which a publisher is disconnected.
    #[schemars(range(min = 1, max = 3600))]
    pub publish_idle_timeout_seconds: u32,
    /// Seconds that a viewer waits for a stream that does not exist before it gets a 404 or
    /// `NetStream.Play.StreamNotFound`.
    #[schemars(range(min = 0, max = 60))]
    pub play_wait_seconds: u32,
    /// Seconds that viewers stay connected after the stream's publisher has disconnected, in case it reconnects.
    #[schemars(range(min = 0, max = 3600))]
    pub continuity_seconds: u32,
    /// Whether viewers see the last keyframe of a stream, repeated and with silence, while the stream waits for a publisher and there
    /// is no `slate`. Otherwise they receive nothing meanwhile, and most players stand still. Silence is known in AAC, Opus, MP3,
    /// FLAC, linear PCM and G.711.
    pub repeat_last_keyframe: bool,
    /// Seconds that a stream continues to be pulled from another Pod after its last viewer has disconnected.
    #[schemars(range(min = 0, max = 3600))]
    pub linger_seconds: u32,
    /// Seconds of media that a stream buffers for viewers that lag and for other Pods that relay it, in addition to the newest
    /// group of pictures (GOP). Without any of these, a stream buffers the last second.
    #[schemars(range(min = 1, max = 60))]
    pub window_seconds: u32,
    /// Maximum amount of media that a stream buffers, in mebibytes.
    #[schemars(range(min = 1, max = 1024))]
    pub window_max_mebibytes: u32,
    /// CPU that a Pod spends for low latency: the share of each worker thread's time, in percent, up to which every message is
    /// written to all viewers immediately. A busier thread lengthens its pulse, the interval over which messages are collected
    /// into one write for each viewer. A lower value saves CPU and adds latency: a Pod at 5 % needs about a sixth of the CPU for
    /// 500 viewers that it needs at 80 %.
    #[schemars(range(min = 1, max = 100))]
    pub pulse_cpu_percent: u32,
    /// Minimum length of the pulse, in milliseconds, however idle the threads are.
    #[schemars(range(min = 0, max = 1000))]
    pub pulse_min_milliseconds: u32,
    /// Maximum length of the pulse, in milliseconds, however busy the threads are. It prevails over the minimum. 0 writes every
    /// message immediately.
    #[schemars(range(min = 0, max = 1000))]
    pub pulse_max_milliseconds: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            duplicate_publish: DuplicatePublish::Takeover,
            failover_after_milliseconds: 2000,
            publish_idle_timeout_seconds: 15,
            play_wait_seconds: 3,
            continuity_seconds: 30,
            repeat_last_keyframe: false,
            linger_seconds: 10,
            window_seconds: 10,
            window_max_mebibytes: 32,
            pulse_cpu_percent: 80,
            pulse_min_milliseconds: 0,
            pulse_max_milliseconds: 350,
        }
    }
}

impl StreamSettings {
    /// Returns the time without media after which a standby replaces the publisher that is on air.
    pub fn failover_after(&self) -> Duration {
        Duration::from_millis(self.failover_after_milliseconds.into())
    }

    /// Returns the time without a message after which a publisher is disconnected.
    pub fn publish_idle_timeout(&self) -> Duration {
        Duration::from_secs(self.publish_idle_timeout_seconds.into())
    }

    /// Returns the time that a viewer waits for a stream that does not exist.
    pub fn play_wait(&self) -> Duration {
        Duration::from_secs(self.play_wait_seconds.into())
    }

    /// Returns the time that viewers stay connected without a publisher.
    pub fn continuity(&self) -> Duration {
        Duration::from_secs(self.continuity_seconds.into())
    }

    /// Returns the time that a stream continues to be pulled without viewers.
    pub fn linger(&self) -> Duration {
        Duration::from_secs(self.linger_seconds.into())
    }

    /// Returns the span of media that a stream buffers.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds.into())
    }

    /// Returns the maximum amount of media that a stream buffers, in bytes.
    pub fn window_max_bytes(&self) -> usize {
        mebibytes(self.window_max_mebibytes)
    }

    /// Returns the share of a worker's time up to which its pulse is the shortest.
    pub fn pulse_ceiling(&self) -> f64 {
        f64::from(self.pulse_cpu_percent) / 100.0
    }

    /// Returns the minimum length of the pulse.
    pub fn pulse_min(&self) -> Duration {
        Duration::from_millis(self.pulse_min_milliseconds.into())
    }

    /// Returns the maximum length of the pulse.
    pub fn pulse_max(&self) -> Duration {
        Duration::from_millis(self.pulse_max_milliseconds.into())
    }
}

/// Policy for a second publisher of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DuplicatePublish {
    /// Disconnects the first publisher, whose connection is most likely dead.
    #[default]
    Takeover,
    /// Refuses the second publisher.
    Reject,
    /// Keeps both publishers. The one with the higher priority is on air, the others stand by.
    Standby,
}

/// Drain of a media node after SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DrainSettings {
    /// Seconds that new connections are still accepted, until load balancers send no more of them.
    #[schemars(range(min = 0, max = 60))]
    pub accept_seconds: u32,
    /// Maximum number of seconds from the signal to the exit. The media node exits earlier when no client is left.
    #[schemars(range(min = 0, max = 86_400))]
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
    /// Returns the time that new connections are still accepted.
    pub fn accept(&self) -> Duration {
        Duration::from_secs(self.accept_seconds.into())
    }

    /// Returns the maximum time from the signal to the exit.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }
}

/// The HTTP port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpSettings {
    /// Which pages of other sites may play streams.
    pub cors: CorsSettings,
    /// Folder whose files are served beside the streams, to every client. Its `index.html` replaces the player page.
    pub directory: Option<PathBuf>,
}

/// Which pages of other sites may play streams in a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CorsSettings {
    /// Origins of the pages, such as `https://www.example.com`, or `*` for every page. The player page itself is
    /// always allowed.
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 512),
            regex(pattern = "^(\\*|https?://[^/?#@ ]+)$")
        )
    )]
    pub allow_origins: Vec<String>,
    /// Whether public pages may play streams from private addresses.
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

/// Log of a media node on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LogSettings {
    /// Format of a log line: `text`, or `json` with one object for each line.
    pub format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,media_node::relay=debug`.
    #[schemars(
        length(min = 1, max = 1024),
        regex(
            pattern = "^([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$"
        )
    )]
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

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// JSON for log collectors.
    Json,
}
