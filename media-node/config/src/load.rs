//! Reads, validates and writes the configuration. Only this module uses the YAML library.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_yaml::{Mapping, Value};

use crate::{AccessSettings, Limits, Listen, MetricsSettings, NodeConfig, StreamSettings};

mod live;

pub use live::{parse_live, render_live_changes};

/// Error of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    /// The text is not YAML, or has an unknown field or a value of the wrong type.
    #[error("not a media node configuration: {0}")]
    Parse(String),
    /// A number is out of its range.
    #[error("{field}: {value} is not allowed, choose {} to {}", allowed.start(), allowed.end())]
    OutOfRange {
        /// Path of the field, such as `stream.lingerSeconds`.
        field: &'static str,
        /// Its value.
        value: u32,
        /// Allowed values.
        allowed: RangeInclusive<u32>,
    },
    /// A field of `auth` is wrong.
    #[error("auth.{action}.{field}: {reason}")]
    Access {
        /// `publish` or `play`.
        action: &'static str,
        /// Path of the field below it.
        field: &'static str,
        /// What may be written.
        reason: &'static str,
    },
    /// Fields contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl From<serde_yaml::Error> for ConfigError {
    /// Keeps only the text, which includes the library's own causes. As a source it would be printed twice.
    fn from(error: serde_yaml::Error) -> Self {
        Self::Parse(error.to_string())
    }
}

/// Reads and validates a configuration file.
///
/// # Errors
/// See [`ConfigError`]; the message names the field, but not the file.
pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
    parse(&std::fs::read_to_string(path)?)
}

/// Reads and validates a configuration.
///
/// # Errors
/// See [`ConfigError`]; the message names the field.
pub fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
    let config = if text.trim().is_empty() {
        NodeConfig::default()
    } else {
        serde_yaml::from_str(text)?
    };
    validate(&config)?;
    Ok(config)
}

/// Writes a configuration as the YAML that [`parse`] reads.
///
/// # Errors
/// When the YAML library fails, which it does not for these types.
pub fn render(config: &NodeConfig) -> Result<String, ConfigError> {
    Ok(serde_yaml::to_string(config)?)
}

/// Writes the fields that differ from the default configuration, as the YAML that [`parse`] reads.
///
/// The file stays the same when a later version has more settings, and an earlier version reads it as long as none of them
/// is set.
///
/// # Errors
/// As [`render`].
pub fn render_changes(config: &NodeConfig) -> Result<String, ConfigError> {
    let defaults = serde_yaml::to_value(NodeConfig::default())?;
    let changes = changes(serde_yaml::to_value(config)?, &defaults);
    Ok(serde_yaml::to_string(&changes)?)
}

/// Returns the entries of `value` that differ from `defaults`.
fn changes(value: Value, defaults: &Value) -> Value {
    let (Value::Mapping(entries), Value::Mapping(defaults)) = (&value, defaults) else {
        return value;
    };
    entries
        .iter()
        .filter(|(key, entry)| defaults.get(key) != Some(entry))
        .map(|(key, entry)| {
            let entry = entry.clone();
            let entry = match defaults.get(key) {
                Some(default) => changes(entry, default),
                None => entry,
            };
            (key.clone(), entry)
        })
        .collect::<Mapping>()
        .into()
}

fn validate(config: &NodeConfig) -> Result<(), ConfigError> {
    check_ranges(stream_ranges(&config.stream))?;
    check_ranges(limit_ranges(&config.limits))?;
    check_ranges(media_memory_range(&config.limits))?;
    check_ranges(node_ranges(config))?;
    check_ranges([stream_metrics(&config.metrics)])?;
    check_log_level(&config.log.level)?;
    if config.origins.service.is_some() && !config.origins.addresses.is_empty() {
        return Err(ConfigError::Contradiction(
            "origins: set either service or addresses, not both",
        ));
    }
    if !config.origins.rtmp.is_empty() {
        return validate_rtmp_servers(config);
    }
    if config.role == crate::Role::Edge && config.origins.is_empty() {
        return Err(ConfigError::Contradiction(
            "origins: an edge needs origins, set service, addresses or rtmp",
        ));
    }
    validate_listen(config)?;
    let identity = &config.identity;
    if identity.secret_file.is_some() && identity.service_account.is_some() {
        return Err(ConfigError::Contradiction(
            "identity: set either secretFile or serviceAccount, not both",
        ));
    }
    if let Some(account) = &identity.service_account
        && (account.audience.is_empty() || account.nodes.is_empty())
    {
        return Err(ConfigError::Contradiction(
            "identity.serviceAccount: audience and nodes must not be empty",
        ));
    }
    validate_access("publish", &config.auth.publish)?;
    validate_access("play", &config.auth.play)
}

/// Checks what the library of the log does not: it takes every other word for the name of a module.
fn check_log_level(level: &str) -> Result<(), ConfigError> {
    let is_level =
        |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let is_module = |word: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
        !word.is_empty() && word.chars().all(allowed)
    };
    let is_directive = |text: &str| match text.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(text),
    };
    match level.split(',').all(is_directive) {
        true => Ok(()),
        false => Err(ConfigError::Contradiction(
            "log.level: choose off, error, warn, info, debug or trace, or a filter such as info,media_node::relay=debug",
        )),
    }
}

fn validate_listen(config: &NodeConfig) -> Result<(), ConfigError> {
    let (listen, default) = (&config.listen, Listen::default());
    let secure = [listen.rtmps, listen.https];
    if config.tls.is_none() {
        let named = |(set, default): (Option<_>, Option<_>)| set.is_some() && set != default;
        if secure
            .into_iter()
            .zip([default.rtmps, default.https])
            .any(named)
        {
            return Err(ConfigError::Contradiction(
                "listen: rtmps and https need a certificate, set tls.certificate and tls.key",
            ));
        }
    }
    let secure = secure.iter().any(Option::is_some) && config.tls.is_some();
    if listen.rtmp.is_none() && listen.http.is_none() && !secure {
        return Err(ConfigError::Contradiction(
            "listen: all ports for clients are closed, set rtmp or http, or tls",
        ));
    }
    Ok(())
}

/// Checks what the types do not: the media node checks addresses and files when it opens them.
fn validate_access(action: &'static str, access: &AccessSettings) -> Result<(), ConfigError> {
    let invalid = |field, reason| ConfigError::Access {
        action,
        field,
        reason,
    };
    if let Some(hook) = &access.hook
        && !(1..=30).contains(&hook.timeout_seconds)
    {
        return Err(invalid("hook.timeoutSeconds", "choose 1 to 30"));
    }
    if let Some(urls) = &access.signed_urls
        && urls.rules.validity_seconds > 31_536_000
    {
        return Err(invalid(
            "signedUrls.validitySeconds",
            "choose 0 to 31536000",
        ));
    }
    if let Some(jwt) = &access.jwt {
        if jwt.jwks_file.is_some() == jwt.jwks_url.is_some() {
            return Err(invalid("jwt", "give either jwksFile or jwksUrl"));
        }
        if jwt.rules.audiences.is_empty() || jwt.rules.algorithms.is_empty() {
            return Err(invalid("jwt", "audiences and algorithms must not be empty"));
        }
    }
    Ok(())
}

/// A field, its value and its range.
type Ranged = (&'static str, u32, RangeInclusive<u32>);

fn check_ranges(ranges: impl IntoIterator<Item = Ranged>) -> Result<(), ConfigError> {
    for (field, value, allowed) in ranges {
        if !allowed.contains(&value) {
            return Err(ConfigError::OutOfRange {
                field,
                value,
                allowed,
            });
        }
    }
    Ok(())
}

fn stream_ranges(stream: &StreamSettings) -> [Ranged; 10] {
    [
        (
            "stream.failoverAfterMilliseconds",
            stream.failover_after_milliseconds,
            500..=60_000,
        ),
        (
            "stream.publishIdleTimeoutSeconds",
            stream.publish_idle_timeout_seconds,
            1..=3600,
        ),
        ("stream.playWaitSeconds", stream.play_wait_seconds, 0..=60),
        (
            "stream.continuitySeconds",
            stream.continuity_seconds,
            0..=3600,
        ),
        ("stream.lingerSeconds", stream.linger_seconds, 0..=3600),
        ("stream.windowSeconds", stream.window_seconds, 1..=60),
        (
            "stream.windowMaxMebibytes",
            stream.window_max_mebibytes,
            1..=1024,
        ),
        ("stream.pulseCpuPercent", stream.pulse_cpu_percent, 1..=100),
        (
            "stream.pulseMinMilliseconds",
            stream.pulse_min_milliseconds,
            0..=1000,
        ),
        (
            "stream.pulseMaxMilliseconds",
            stream.pulse_max_milliseconds,
            0..=1000,
        ),
    ]
}

fn node_ranges(config: &NodeConfig) -> [Ranged; 3] {
    let workers = u32::try_from(config.workers).unwrap_or(u32::MAX);
    [
        ("workers", workers, 0..=1024),
        ("drain.acceptSeconds", config.drain.accept_seconds, 0..=60),
        (
            "drain.timeoutSeconds",
            config.drain.timeout_seconds,
            0..=86_400,
        ),
    ]
}

fn stream_metrics(metrics: &MetricsSettings) -> Ranged {
    ("metrics.streams", metrics.streams, 0..=1000)
}

fn limit_ranges(limits: &Limits) -> [Ranged; 11] {
    [
        (
            "limits.maxConnections",
            limits.max_connections,
            1..=1_000_000,
        ),
        (
            "limits.maxConnectionsPerAddress",
            limits.max_connections_per_address,
            0..=1_000_000,
        ),
        (
            "limits.maxNewConnectionsPerSecondPerAddress",
            limits.max_new_connections_per_second_per_address,
            0..=1_000_000,
        ),
        ("limits.maxStreams", limits.max_streams, 1..=100_000),
        (
            "limits.maxMessageMebibytes",
            limits.max_message_mebibytes,
            1..=16,
        ),
        (
            "limits.maxPublishKbps",
            limits.max_publish_kbps,
            0..=10_000_000,
        ),
        (
            "limits.maxInitDataKibibytes",
            limits.max_init_data_kibibytes,
            4..=1024,
        ),
        (
            "limits.maxCommandKibibytes",
            limits.max_command_kibibytes,
            4..=64,
        ),
        (
            "limits.maxStreamStartsPerMinute",
            limits.max_stream_starts_per_minute,
            1..=6_000,
        ),
        (
            "limits.handshakeTimeoutSeconds",
            limits.handshake_timeout_seconds,
            1..=60,
        ),
        (
            "limits.stallTimeoutSeconds",
            limits.stall_timeout_seconds,
            1..=600,
        ),
    ]
}

fn media_memory_range(limits: &Limits) -> Option<Ranged> {
    let value = limits.max_media_mebibytes?;
    Some(("limits.maxMediaMebibytes", value, 16..=1_048_576))
}

/// The maximum number of foreign servers: a stream that none has is asked for at all of them, one after the other.
const MAX_RTMP_SERVERS: usize = 8;

fn validate_rtmp_servers(config: &NodeConfig) -> Result<(), ConfigError> {
    let origins = &config.origins;
    if !origins.is_empty() {
        return Err(ConfigError::Contradiction(
            "origins: set one of service, addresses and rtmp",
        ));
    }
    if config.role != crate::Role::Edge {
        return Err(ConfigError::Contradiction(
            "origins.rtmp: only an edge has RTMP servers as origins, set role: edge",
        ));
    }
    if origins.rtmp.len() > MAX_RTMP_SERVERS {
        return Err(ConfigError::Contradiction(
            "origins.rtmp: at most 8 servers are allowed",
        ));
    }
    match origins.rtmp.iter().all(|url| is_rtmp_server(url)) {
        true => Ok(()),
        false => Err(ConfigError::Contradiction(
            "origins.rtmp: write each server as rtmp://HOST or rtmp://HOST:PORT",
        )),
    }
}

fn is_rtmp_server(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("rtmp://") else {
        return false;
    };
    let authority = authority.trim_end_matches('/');
    let after_address = authority
        .rsplit_once(']')
        .map_or(authority, |(_, port)| port);
    let port = after_address.rsplit_once(':').map(|(_, port)| port);
    !authority.is_empty()
        && !authority.starts_with(':')
        && !authority.contains(['/', '?', '#', '@', ' '])
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests;
