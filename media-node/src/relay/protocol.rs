//! The protocol between media nodes: paths, parameters and response bodies of `/relay/v1/*`.

use std::net::IpAddr;
use std::time::Duration;

use form_urlencoded::{Serializer, parse};
use media_wire::relay::Epoch;
use media_wire::{InvalidKey, StreamKey};
use serde::{Deserialize, Serialize};

/// The header with the id of the media node that sends a request or a response.
pub(super) const NODE: &str = "x-livecluster-node";

pub(super) const PUBLICATION: &str = "/relay/v1/publication";
pub(super) const PULL: &str = "/relay/v1/pull";
pub(super) const FORWARD: &str = "/relay/v1/forward";
pub(super) const SUPERSEDE: &str = "/relay/v1/supersede";

/// The source of a publication that is a slate.
pub(super) const SLATE: &str = "slate";

/// The most streams whose statuses are in one response.
pub(super) const MAX_STATUSES: usize = 64;

/// What separates the parts of a name in the parameter `also`: no name contains it.
const SEPARATOR: &str = "\n";

/// The longest time that a media node holds a request for a publication until one starts.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(5);

/// The parameters of a request. Each path requires some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) key: StreamKey,
    pub(super) epoch: Option<Epoch>,
    /// The first message to send; the next one of the encoder when a publication is forwarded; in a survey the one that viewers who
    /// stayed need next.
    pub(super) sequence: Option<u64>,
    /// The message with which a forwarded publication begins, if the origin has all before it.
    pub(super) from: Option<u64>,
    /// Time that the media node may hold a request for a publication until one starts.
    pub(super) wait: Duration,
    /// Whether an existing publication stays.
    pub(super) reject: bool,
    /// The priority of the encoder.
    pub(super) priority: u8,
    /// Whether the viewers of the stream stayed: they continue at the oldest keyframe if the message was evicted. When a
    /// publication is forwarded, whether another origin has had it.
    pub(super) resume: bool,
    /// Whether the publication may be at another origin, which the one that gets the request asks for it. An older origin ignores this.
    pub(super) indirect: bool,
    /// The other streams whose statuses are asked for. An older origin ignores them.
    pub(super) also: Vec<StreamKey>,
    /// The address of the encoder, whose streams an origin counts on all edges together. An older edge does not send it.
    pub(super) address: Option<IpAddr>,
}

/// An error in the parameters of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParametersError {
    #[error("`{name}` is missing")]
    Missing { name: &'static str },
    #[error("`{name}` is not a number: `{value}`")]
    Number { name: &'static str, value: String },
    #[error("`policy` is neither `takeover` nor `reject`: `{value}`")]
    Policy { value: String },
    #[error("`address` is not an IP address: `{value}`")]
    Address { value: String },
    #[error(transparent)]
    Key(#[from] InvalidKey),
}

impl Parameters {
    /// Returns the parameters that name a stream.
    pub(super) fn of(key: &StreamKey) -> Self {
        Self {
            key: key.clone(),
            epoch: None,
            sequence: None,
            from: None,
            wait: Duration::ZERO,
            reject: false,
            priority: 0,
            resume: false,
            indirect: false,
            also: Vec::new(),
            address: None,
        }
    }

    /// Returns the parameters of a stream whose viewers stayed, and need this message next.
    pub(super) fn needing(key: &StreamKey, position: Option<(Epoch, u64)>) -> Self {
        Self {
            epoch: position.map(|(epoch, _)| epoch),
            sequence: position.map(|(_, sequence)| sequence),
            ..Self::of(key)
        }
    }

    /// Parses the query of a request.
    pub(super) fn parse(query: &str) -> Result<Self, ParametersError> {
        let (mut vhost, mut app, mut stream) = (None, None, None);
        let (mut epoch, mut sequence, mut from, mut wait, mut resume) = (None, None, None, 0, 0);
        let (mut reject, mut priority, mut indirect, mut address) = (false, 0, 0, None);
        let mut also = Vec::new();
        for (name, value) in parse(query.as_bytes()) {
            match name.as_ref() {
                "vhost" => vhost = Some(value),
                "app" => app = Some(value),
                "stream" => stream = Some(value),
                "epoch" => epoch = Some(Epoch(number("epoch", &value)?)),
                "sequence" => sequence = Some(number("sequence", &value)?),
                "from" => from = Some(number("from", &value)?),
                "wait" => wait = number("wait", &value)?,
                "resume" => resume = number("resume", &value)?,
                "indirect" => indirect = number("indirect", &value)?,
                "priority" => priority = number("priority", &value)?,
                "policy" => reject = policy(&value)?,
                "address" => address = Some(parse_address(&value)?),
                "also" if also.len() < MAX_STATUSES - 1 => also.push(parse_key(&value)?),
                // A newer media node may send parameters that this one does not know.
                _ => {}
            }
        }
        let app = app.ok_or(ParametersError::Missing { name: "app" })?;
        let stream = stream.ok_or(ParametersError::Missing { name: "stream" })?;
        Ok(Self {
            key: StreamKey::new(vhost.as_deref(), &app, &stream)?,
            epoch,
            sequence,
            from,
            wait: Duration::from_millis(wait).min(MAX_WAIT),
            reject,
            priority: u8::try_from(priority).unwrap_or(u8::MAX),
            resume: resume > 0,
            indirect: indirect > 0,
            also,
            address,
        })
    }

    /// Returns the path and query of a request.
    pub(super) fn uri(&self, path: &str) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(vhost) = self.key.vhost() {
            query.append_pair("vhost", vhost);
        }
        query
            .append_pair("app", self.key.app())
            .append_pair("stream", self.key.name());
        let numbers = [
            ("epoch", self.epoch.map(|epoch| epoch.0)),
            ("sequence", self.sequence),
            ("from", self.from),
            (
                "wait",
                u64::try_from(self.wait.as_millis())
                    .ok()
                    .filter(|wait| *wait > 0),
            ),
            ("resume", self.resume.then_some(1)),
            ("indirect", self.indirect.then_some(1)),
            (
                "priority",
                (self.priority > 0).then_some(self.priority.into()),
            ),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                query.append_pair(name, &number.to_string());
            }
        }
        if let Some(address) = self.address {
            query.append_pair("address", &address.to_string());
        }
        if self.reject {
            query.append_pair("policy", "reject");
        }
        for key in &self.also {
            let vhost = key.vhost().unwrap_or_default();
            let parts = [vhost, key.app(), key.name()];
            query.append_pair("also", &parts.join(SEPARATOR));
        }
        format!("{path}?{}", query.finish())
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, ParametersError> {
    let invalid = |_| ParametersError::Number {
        name,
        value: value.to_owned(),
    };
    value.parse().map_err(invalid)
}

fn parse_address(value: &str) -> Result<IpAddr, ParametersError> {
    let invalid = |_| ParametersError::Address {
        value: value.to_owned(),
    };
    value.parse().map_err(invalid)
}

fn parse_key(value: &str) -> Result<StreamKey, ParametersError> {
    let mut parts = value.splitn(3, SEPARATOR);
    let mut next = || parts.next().unwrap_or_default();
    let (vhost, app, name) = (next(), next(), next());
    let vhost = Some(vhost).filter(|vhost| !vhost.is_empty());
    Ok(StreamKey::new(vhost, app, name)?)
}

fn policy(value: &str) -> Result<bool, ParametersError> {
    match value {
        "takeover" => Ok(false),
        "reject" => Ok(true),
        _ => Err(ParametersError::Policy {
            value: value.to_owned(),
        }),
    }
}

/// The status of a stream on a media node. In response to [`PUBLICATION`] with HTTP status 200 its publication, with 404 the last one that
/// the media node had; in response to [`SUPERSEDE`] either of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PublicationStatus {
    pub(super) epoch: u64,
    /// The number of the next message.
    pub(super) sequence: u64,
    /// `encoder`, `forwarded` or [`SLATE`]; empty without a publication.
    pub(super) source: String,
    /// The media node is draining: an edge that forwards to it should move to another origin.
    pub(super) draining: bool,
    /// The priority of the encoder.
    pub(super) priority: u8,
    /// Milliseconds since the publication's last message.
    pub(super) silent_milliseconds: u64,
    /// The epoch of the publication that follows one that is over, if the origin waits for it; 0 otherwise.
    pub(super) successor: u64,
    /// The publication is at another origin, which this one was to ask for it.
    pub(super) indirect: bool,
    /// The number of media nodes that pull the stream from this one. An older origin does not send it.
    pub(super) relays: Option<usize>,
    /// The bytes that have arrived of the request that forwards the publication. An older origin does not send it.
    pub(super) arrived: Option<u64>,
    /// What other media nodes need of the publication with the epoch of the request.
    pub(super) needed: Option<NeededMessages>,
    /// Whether the media node that asks pulls the stream from this one. An older origin does not send it.
    pub(super) served: Option<bool>,
    /// The statuses of the other streams of the request, in its order. An older origin does not send them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) also: Vec<PublicationStatus>,
}

/// The messages of a publication that media nodes need next, which have lost its origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NeededMessages {
    /// The number of media nodes.
    pub(super) nodes: usize,
    /// The first message that one of them needs.
    pub(super) from: u64,
}

impl PublicationStatus {
    /// Returns whether an encoder has the publication.
    pub(super) fn has_encoder(&self) -> bool {
        !self.source.is_empty() && self.source != SLATE
    }
}

/// The body of a response with HTTP status 409.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConflictBody {
    pub(super) reason: ConflictReason,
}

/// Why a media node refuses a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ConflictReason {
    /// There is a newer publication.
    Superseded,
    /// There is a publication, and the policy is `reject`.
    AlreadyPublished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_a_round_trip_through_the_query() {
        let key = StreamKey::new(Some("a.example"), "live/übung & co", "cam=1+2").unwrap();
        let parameters = Parameters {
            epoch: Some(Epoch(u64::MAX)),
            sequence: Some(7),
            from: Some(5),
            wait: Duration::from_millis(900),
            reject: true,
            priority: 7,
            resume: true,
            indirect: true,
            also: vec![
                StreamKey::new(None, "live/übung", "a").unwrap(),
                key.clone(),
            ],
            address: Some("2001:db8::1".parse().unwrap()),
            ..Parameters::of(&key)
        };
        let uri = parameters.uri(FORWARD);
        let (path, query) = uri.split_once('?').unwrap();
        assert_eq!(path, "/relay/v1/forward");
        assert!(query.is_ascii() && !query.contains(' '));
        assert_eq!(Parameters::parse(query).unwrap(), parameters);
    }

    #[test]
    fn invalid_parameter_is_named_in_the_error() {
        let error = |query: &str| Parameters::parse(query).unwrap_err().to_string();
        assert_eq!(error("stream=a"), "`app` is missing");
        assert_eq!(error("app=live&stream="), "the stream name is empty");
        assert_eq!(
            error("app=l&stream=a&epoch=-1"),
            "`epoch` is not a number: `-1`"
        );
        assert_eq!(
            error("app=l&stream=a&policy=x"),
            "`policy` is neither `takeover` nor `reject`: `x`"
        );
        assert_eq!(error("app=l&stream=a&also=b"), "the stream name is empty");
        assert_eq!(
            error("app=l&stream=a&address=::1%251"),
            "`address` is not an IP address: `::1%1`"
        );
        let patient = Parameters::parse("app=l&stream=a&wait=99999999").unwrap();
        assert_eq!(patient.wait, MAX_WAIT);
        let greedy = "app=l&stream=a".to_owned() + &"&also=%0Al%0Ab".repeat(999);
        assert_eq!(
            Parameters::parse(&greedy).unwrap().also.len() + 1,
            MAX_STATUSES
        );
    }
}
