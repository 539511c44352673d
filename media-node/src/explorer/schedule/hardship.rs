//! What a schedule lets fail.

/// What a cluster has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Hardship {
    /// Nothing fails but DNS: viewers lose nothing.
    Calm,
    /// Nothing fails, and encoders take over from each other on media nodes whose clocks differ.
    Takeovers,
    /// Nothing fails, and encoders stand by for each other.
    Standbys,
    /// Nothing fails. The edges know the origin only as an RTMP server, or further edges know these edges so.
    RtmpServer,
    /// The same, and the server fails, or the paths to it.
    RtmpServerFails,
    /// One origin after another fails for a few seconds, and has no clients: viewers lose nothing.
    OneOrigin,
    /// All origins are replaced or restarted one after another, and have no clients: viewers lose nothing.
    RolloutOfOrigins,
    /// All media nodes are, with their clients.
    Rollout,
    /// The path between an edge and an origin fails, or the origin is silent: viewers lose no more than what a window does not hold.
    Path,
    /// The paths between media nodes, and to some viewers, have room for hardly more than the stream, and origins without clients fail:
    /// viewers lose nothing.
    Narrow,
    /// The origin that has a publication fails when that ends: viewers get all of it.
    Tail,
    /// Two origins are cut off from each other, and each gets an encoder of the same stream: one of them stays.
    Split,
    /// Anything may fail.
    Failures,
}

impl Hardship {
    /// Returns whether viewers and encoders may notice what fails.
    pub(in super::super) fn disturbs(self) -> bool {
        matches!(
            self,
            Self::Rollout | Self::RtmpServerFails | Self::Split | Self::Failures
        )
    }

    /// Returns whether the edges know the origin only as an RTMP server.
    pub(in super::super) fn has_rtmp_server(self) -> bool {
        matches!(self, Self::RtmpServer | Self::RtmpServerFails)
    }

    /// Returns whether media nodes may still drain when everything is mended, or keep publications whose encoders are gone.
    pub(in super::super) fn drains(self) -> bool {
        let origins_fail = matches!(
            self,
            Self::OneOrigin | Self::RolloutOfOrigins | Self::Narrow
        );
        self.disturbs() || origins_fail
    }

    /// Returns whether every media node knows of every encoder in time: nothing fails that surveys need.
    pub(in super::super) fn is_calm(self) -> bool {
        matches!(self, Self::Calm | Self::Takeovers | Self::Standbys)
    }

    /// Returns whether clocks are right.
    pub(in super::super) fn has_right_clocks(self) -> bool {
        matches!(self, Self::Path | Self::Narrow | Self::Tail | Self::Split)
    }
}
