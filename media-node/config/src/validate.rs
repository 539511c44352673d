//! The rules of a configuration that its types do not express: ranges of numbers, and settings that exclude or need each other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use crate::{AccessSettings, IdentitySettings, Listen, LiveSettings, NodeConfig, Role};

/// Why a setting is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSetting {
    /// A number is out of its range.
    #[error("{field}: {value} is not allowed, choose {} to {}", allowed.start(), allowed.end())]
    OutOfRange {
        /// Path of the field, such as `stream.lingerSeconds`.
        field: String,
        /// Its value.
        value: u64,
        /// Allowed values.
        allowed: RangeInclusive<u64>,
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
    /// Two ports have the same address.
    #[error(
        "listen.{first} and listen.{second}: both are port {port}, choose another one for one of them"
    )]
    SamePort {
        /// Field of the one.
        first: &'static str,
        /// Field of the other.
        second: &'static str,
        /// Their number.
        port: u16,
    },
    /// Fields contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// The maximum number of worker threads.
const MAX_WORKERS: u64 = 1024;

pub(crate) fn validate(config: &NodeConfig) -> Result<(), InvalidSetting> {
    check_ranges("stream", &config.stream)?;
    check_ranges("drain", &config.drain)?;
    let workers = u64::try_from(config.workers).unwrap_or(u64::MAX);
    if workers > MAX_WORKERS {
        return Err(InvalidSetting::OutOfRange {
            field: "workers".to_owned(),
            value: workers,
            allowed: 0..=MAX_WORKERS,
        });
    }
    validate_live(&config.live_settings())?;
    validate_origins(config)?;
    validate_listen(config)?;
    validate_identity(&config.identity)?;
    validate_access("publish", &config.auth.publish)?;
    validate_access("play", &config.auth.play)
}

pub(crate) fn validate_live(live: &LiveSettings) -> Result<(), InvalidSetting> {
    check_ranges("limits", &live.limits)?;
    check_ranges("metrics", &live.metrics)?;
    check_log_level(&live.log.level)
}

/// Checks the numbers of a section against the ranges that its fields declare with `#[schemars(range(…))]`. The definition of the
/// LiveCluster has the same ones.
fn check_ranges<T: JsonSchema + Serialize>(
    section: &str,
    settings: &T,
) -> Result<(), InvalidSetting> {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let fields = schema.get("properties").and_then(Value::as_object);
    let values = serde_json::to_value(settings).unwrap_or_default();
    for (field, rules) in fields.into_iter().flatten() {
        let bound = |name: &str| rules.get(name).and_then(Value::as_u64);
        let (Some(value), Some(maximum)) = (values[field].as_u64(), bound("maximum")) else {
            continue;
        };
        let allowed = bound("minimum").unwrap_or(0)..=maximum;
        if !allowed.contains(&value) {
            return Err(InvalidSetting::OutOfRange {
                field: format!("{section}.{field}"),
                value,
                allowed,
            });
        }
    }
    Ok(())
}

/// Checks the log level strictly: the logging library takes every word that it does not know for the name of a module.
fn check_log_level(level: &str) -> Result<(), InvalidSetting> {
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
    if level.split(',').all(is_directive) {
        Ok(())
    } else {
        Err(InvalidSetting::Contradiction(
            "log.level: choose off, error, warn, info, debug or trace, or a filter such as info,media_node::relay=debug",
        ))
    }
}

fn validate_origins(config: &NodeConfig) -> Result<(), InvalidSetting> {
    let origins = &config.origins;
    if origins.service.is_some() && !origins.addresses.is_empty() {
        return Err(InvalidSetting::Contradiction(
            "origins: set either service or addresses, not both",
        ));
    }
    if !origins.rtmp.is_empty() {
        return validate_rtmp_servers(config);
    }
    if config.role == Role::Edge && origins.is_empty() {
        return Err(InvalidSetting::Contradiction(
            "origins: an edge needs origins, set service, addresses or rtmp",
        ));
    }
    Ok(())
}

/// The maximum number of RTMP servers: a stream that none of them has is requested from each, one after the other.
const MAX_RTMP_SERVERS: usize = 8;

fn validate_rtmp_servers(config: &NodeConfig) -> Result<(), InvalidSetting> {
    let origins = &config.origins;
    if !origins.is_empty() {
        return Err(InvalidSetting::Contradiction(
            "origins: set one of service, addresses and rtmp",
        ));
    }
    if config.role != Role::Edge {
        return Err(InvalidSetting::Contradiction(
            "origins.rtmp: only an edge has RTMP servers as origins, set role: edge",
        ));
    }
    if origins.rtmp.len() > MAX_RTMP_SERVERS {
        return Err(InvalidSetting::Contradiction(
            "origins.rtmp: at most 8 servers are allowed",
        ));
    }
    if origins.rtmp.iter().all(|url| is_rtmp_server(url)) {
        Ok(())
    } else {
        Err(InvalidSetting::Contradiction(
            "origins.rtmp: write each server as rtmp://HOST or rtmp://HOST:PORT",
        ))
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

fn validate_listen(config: &NodeConfig) -> Result<(), InvalidSetting> {
    let (listen, default) = (&config.listen, Listen::default());
    let secure = [listen.rtmps, listen.https];
    if config.tls.is_none() {
        let named = |(set, default): (Option<_>, Option<_>)| set.is_some() && set != default;
        if secure
            .into_iter()
            .zip([default.rtmps, default.https])
            .any(named)
        {
            return Err(InvalidSetting::Contradiction(
                "listen: rtmps and https need a certificate, set tls.certificate and tls.key",
            ));
        }
    }
    let secure = secure.iter().any(Option::is_some) && config.tls.is_some();
    if listen.rtmp.is_none() && listen.http.is_none() && !secure {
        return Err(InvalidSetting::Contradiction(
            "listen: all ports for clients are closed, set rtmp or http, or tls",
        ));
    }
    validate_ports(config)
}

fn validate_ports(config: &NodeConfig) -> Result<(), InvalidSetting> {
    let listen = &config.listen;
    let internal = if config.identity.is_set() || !listen.internal.ip().is_unspecified() {
        listen.internal
    } else {
        // Without an identity it listens on loopback only.
        SocketAddr::from((Ipv4Addr::LOCALHOST, listen.internal.port()))
    };
    let with_tls = |address: Option<SocketAddr>| address.filter(|_| config.tls.is_some());
    let ports = [
        ("rtmp", listen.rtmp),
        ("http", listen.http),
        ("rtmps", with_tls(listen.rtmps)),
        ("https", with_tls(listen.https)),
        ("internal", Some(internal)),
        ("metrics", listen.metrics),
    ];
    let mut open: Vec<(&'static str, SocketAddr)> = Vec::new();
    for (second, address) in ports {
        let Some(address) = address else { continue };
        if let Some((first, _)) = open.iter().find(|(_, other)| overlap(*other, address)) {
            return Err(InvalidSetting::SamePort {
                first,
                second,
                port: address.port(),
            });
        }
        open.push((second, address));
    }
    Ok(())
}

/// Returns whether a system refuses the second of these addresses. Port 0 is a free one.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |one: IpAddr, other: IpAddr| {
        one == other || one.is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    let (one_ip, other_ip) = (one.ip(), other.ip());
    one.port() != 0
        && one.port() == other.port()
        && (covers(one_ip, other_ip) || covers(other_ip, one_ip))
}

fn validate_identity(identity: &IdentitySettings) -> Result<(), InvalidSetting> {
    if identity.secret_file.is_some() && identity.service_account.is_some() {
        return Err(InvalidSetting::Contradiction(
            "identity: set either secretFile or serviceAccount, not both",
        ));
    }
    if let Some(account) = &identity.service_account
        && (account.audience.is_empty() || account.nodes.is_empty())
    {
        return Err(InvalidSetting::Contradiction(
            "identity.serviceAccount: audience and nodes must not be empty",
        ));
    }
    Ok(())
}

/// Checks what the types do not: the media node checks addresses and files when it opens them.
fn validate_access(action: &'static str, access: &AccessSettings) -> Result<(), InvalidSetting> {
    let invalid = |field, reason| InvalidSetting::Access {
        action,
        field,
        reason,
    };
    if let Some(hook) = &access.hook {
        check_ranges(&format!("auth.{action}.hook"), hook)?;
    }
    if let Some(urls) = &access.signed_urls {
        check_ranges(&format!("auth.{action}.signedUrls"), &urls.rules)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DrainSettings, HookSettings, Limits, MetricsSettings, SignedUrlRules, StreamSettings,
    };

    fn assert_bounded<T: JsonSchema>() {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        for (field, rules) in schema.get("properties").unwrap().as_object().unwrap() {
            assert!(
                !is_number(rules) || rules.get("maximum").is_some(),
                "{field}"
            );
        }
    }

    fn is_number(rules: &Value) -> bool {
        rules["type"] == "integer" || rules["type"][0] == "integer"
    }

    #[test]
    fn every_number_has_a_range() {
        assert_bounded::<StreamSettings>();
        assert_bounded::<DrainSettings>();
        assert_bounded::<Limits>();
        assert_bounded::<MetricsSettings>();
        assert_bounded::<HookSettings>();
        assert_bounded::<SignedUrlRules>();
    }

    #[test]
    fn defaults_are_valid() {
        validate(&NodeConfig::default()).unwrap();
    }
}
