//! The settings of the relays: the configured ones, and how long each wait lasts.

use std::time::Duration;

use media_config::{Role, StreamSettings};

use super::rtmp_server::RtmpServer;
use crate::slate::Slate;
use crate::state::limits::CurrentLimits;

/// The settings of a media node's relays.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelaySettings {
    /// The name of the media node. Its id is this name and a random number.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) stream: StreamSettings,
    pub(crate) limits: CurrentLimits,
    /// Foreign servers that an edge has instead of origins.
    pub(crate) rtmp_servers: Vec<RtmpServer>,
    /// What an origin shows in streams that wait for an encoder.
    pub(crate) slate: Option<Slate>,
    pub(crate) timeouts: RelayTimeouts,
}

/// The time limits of the relays. The defaults are those of production; tests set their own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RelayTimeouts {
    pub(crate) survey: SurveyTimeouts,
    pub(crate) conflict: ConflictTimeouts,
    pub(crate) pull: PullTimeouts,
    pub(crate) forward: ForwardTimeouts,
    pub(crate) intake: IntakeTimeouts,
    pub(crate) retry: RetryDelays,
}

/// The time limits of a survey of the origins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SurveyTimeouts {
    /// Time for the status of a stream, besides the time that the origin may hold the request.
    pub(crate) status: Duration,
    /// Time for the other origins to reply after one has the publication: theirs may be newer.
    pub(crate) grace: Duration,
    /// Time for an origin that has a publication to reply. After it an edge lets the other origins ask that one.
    pub(crate) direct: Duration,
    /// Time for an origin that did not reply before, when all others have: a lost packet is sent again within it.
    pub(crate) silent: Duration,
    /// Time for a response that is larger than a status.
    pub(crate) fetch: Duration,
    /// Time during which an origin that did not reply is tried after the others.
    pub(crate) suspicion: Duration,
}

impl Default for SurveyTimeouts {
    fn default() -> Self {
        Self {
            status: Duration::from_millis(500),
            grace: Duration::from_millis(60),
            direct: Duration::from_millis(300),
            silent: Duration::from_millis(200),
            fetch: Duration::from_secs(1),
            suspicion: Duration::from_secs(10),
        }
    }
}

/// The time limits before an encoder may start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConflictTimeouts {
    /// Time for the first answer of the name servers.
    pub(crate) resolve: Duration,
    /// Time after which an edge starts no further survey while no origin replies. Each survey waits twice as long as the one before.
    pub(crate) reach: Duration,
    /// Time for an origin to confirm that it closed older publications.
    pub(crate) announce: Duration,
    /// Time in which all media nodes know that an encoder has ended. One that connects earlier does not stand by for it.
    pub(crate) end: Duration,
}

impl Default for ConflictTimeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_millis(500),
            reach: Duration::from_secs(3),
            announce: Duration::from_secs(1),
            end: Duration::from_millis(100),
        }
    }
}

/// The time limits of a pull.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullTimeouts {
    /// Time that origins hold a survey until they have the stream. The next survey includes origins that are new.
    pub(crate) hold: Duration,
    /// Time for the response headers. The origin replied to the survey just before, so it is busy rather than lost.
    pub(crate) response: Duration,
    /// Silence after which the origins are surveyed: a live publisher sends all the time.
    pub(crate) silence: Duration,
    /// Silence after which an origin that does not reply to the survey is given up. It is looked at when a survey ends: soon where
    /// another origin has the stream, otherwise after `hold` and the time for a status.
    pub(crate) hung: Duration,
    /// Time between two attempts to reach the origin of a publication that is pulled through another one.
    pub(crate) indirect: Duration,
    /// Time in which a publication comes to another origin when its pull was lost. Until then none that is earlier takes its place.
    pub(crate) moves: Duration,
    /// Age up to which a publication that viewers waited for is pulled from its first message. Later, they would lag by
    /// that age for as long as they watch.
    pub(crate) from_start: Duration,
}

impl Default for PullTimeouts {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(1),
            response: Duration::from_secs(2),
            silence: Duration::from_millis(400),
            hung: Duration::from_millis(900),
            indirect: Duration::from_secs(5),
            moves: Duration::from_secs(3),
            from_start: Duration::from_secs(5),
        }
    }
}

/// The time limits of forwarding, on the edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForwardTimeouts {
    /// Time between two requests to an origin, for all streams that are forwarded to it.
    pub(crate) poll: Duration,
    /// Time between two requests for the stream's status until the origin confirms that it has the stream.
    pub(crate) poll_unconfirmed: Duration,
    /// Time without a status after which an origin is given up. A busy origin that is given up too early loses only
    /// this stream, and none of its messages.
    pub(crate) hung: Duration,
    /// The same for the only origin until it has the stream, as the edge would only connect to the same busy origin again, and for one
    /// that gets what it lacks.
    pub(crate) hung_alone: Duration,
    /// Time after which an origin that replies and gets nothing is forwarded to over another connection.
    pub(crate) stalled: Duration,
    /// Time for the origin to confirm that it has the stream, and to confirm the stream's end.
    pub(crate) confirm: Duration,
    /// Time for an attempt to succeed after another origin has appeared, before that one is tried.
    pub(crate) grace: Duration,
    /// Time for the first media node that has lost an origin to say to the next one what it needs of a publication. Until then none
    /// waits there for the publication.
    pub(crate) first_need: Duration,
    /// Time for the others to do so after it.
    pub(crate) needs: Duration,
    /// Time after the end of a publication in which another origin may still get its last messages.
    pub(crate) tail: Duration,
    /// Time that the end of a publication may delay the start of the next one.
    pub(crate) predecessor: Duration,
    /// Time between two searches for another origin while the current one is draining.
    pub(crate) successor: Duration,
}

impl Default for ForwardTimeouts {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            poll_unconfirmed: Duration::from_millis(20),
            hung: Duration::from_millis(750),
            hung_alone: Duration::from_secs(3),
            stalled: Duration::from_millis(900),
            confirm: Duration::from_secs(2),
            grace: Duration::from_millis(300),
            first_need: Duration::from_millis(800),
            needs: Duration::from_millis(150),
            tail: Duration::from_secs(5),
            predecessor: Duration::from_millis(500),
            successor: Duration::from_secs(1),
        }
    }
}

/// The time limits of a forwarded publication, on the origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntakeTimeouts {
    /// Time for the edge to close its encoder, besides the time that an encoder may be idle.
    pub(crate) edge: Duration,
    /// Silence after which the other origins are surveyed: the edge may have lost this one and moved.
    pub(crate) silence: Duration,
    /// Time for which the rest of a refused body is read. A connection that is closed with unread bytes is reset, and
    /// the edge may lose the response.
    pub(crate) lingering_close: Duration,
}

impl Default for IntakeTimeouts {
    fn default() -> Self {
        Self {
            edge: Duration::from_secs(5),
            silence: Duration::from_millis(400),
            lingering_close: Duration::from_secs(1),
        }
    }
}

/// The delays between attempts. Each one is twice as long as the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryDelays {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Default for RetryDelays {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What viewers notice of a hung origin where there is another one: the edge that forwards to it moves, then their own edge finds
    /// the new one.
    #[test]
    fn relays_move_from_a_hung_origin_to_another_one_within_a_second() {
        let RelayTimeouts {
            survey,
            pull,
            forward,
            intake,
            retry,
            ..
        } = RelayTimeouts::default();
        let second = Duration::from_secs(1);
        assert!(forward.hung < second);
        assert!(pull.silence + survey.grace < second);
        assert!(pull.hung < second);
        // The origin that the edge left surveys already when the edge moves, and once more when the other one is ahead.
        assert!(intake.silence < forward.hung);
        assert!(forward.hung + 2 * survey.grace + retry.first < second);
    }
}
