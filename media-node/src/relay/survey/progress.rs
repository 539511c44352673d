//! The progress of one survey: which origins were asked, which of them have replied, and when it has waited long enough.

use std::collections::HashSet;
use std::net::SocketAddr;

use tokio::time::Instant;
use tracing::debug;

use super::super::client::ClientError;
use super::super::context::RelayContext;
use super::{OriginStatus, Survey, SurveyEnd};
use crate::discovery::OriginSet;

/// A survey that has not ended.
pub(super) struct SurveyProgress<'a> {
    context: &'a RelayContext,
    origins: &'a OriginSet,
    end: SurveyEnd,
    start: Instant,
    asked: HashSet<SocketAddr>,
    /// Those that were asked and have neither replied nor failed.
    pending: HashSet<SocketAddr>,
    failed: Vec<SocketAddr>,
    /// Those that had failed before they were asked again.
    asked_again: HashSet<SocketAddr>,
    replies: Vec<OriginStatus>,
    /// When the survey ends without those that are pending.
    deadline: Option<Instant>,
}

impl<'a> SurveyProgress<'a> {
    pub(super) fn new(context: &'a RelayContext, origins: &'a OriginSet, end: SurveyEnd) -> Self {
        Self {
            context,
            origins,
            end,
            start: Instant::now(),
            asked: HashSet::new(),
            pending: HashSet::new(),
            failed: Vec::new(),
            asked_again: HashSet::new(),
            replies: Vec::new(),
            deadline: None,
        }
    }

    /// Returns those of the origins that are to be asked. They count as asked. One that is no origin any more is not waited for.
    pub(super) fn take_unasked(&mut self, origins: &[SocketAddr]) -> Vec<SocketAddr> {
        self.pending.retain(|it| origins.contains(it));
        let unasked = origins.iter().copied();
        let unasked: Vec<_> = unasked.filter(|it| self.asked.insert(*it)).collect();
        self.pending.extend(&unasked);
        unasked
    }

    /// Returns when the survey ends without those that are pending. Where all of those did not reply to other requests before, it waits
    /// less for them.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let reachability = &self.context.reachability;
        let is_silent = |origin: &SocketAddr| reachability.is_silent(*origin);
        let others_replied = self.pending.len() < self.asked.len();
        if self.end == SurveyEnd::All && others_replied && self.pending.iter().all(is_silent) {
            let ways = self.pending.iter();
            let way = ways.map(|it| self.context.time_on_the_way(*it)).max();
            let limit = self.context.timeouts().survey.silent + way.unwrap_or_default();
            self.deadline = Some(self.start + limit);
        }
        self.deadline
    }

    /// Notes the reply of an origin, which is `None` from this media node itself.
    pub(super) fn note(
        &mut self,
        origin: SocketAddr,
        reply: Result<Option<OriginStatus>, ClientError>,
    ) {
        self.pending.remove(&origin);
        match reply {
            Ok(Some(status)) => {
                if status.live && self.end == SurveyEnd::Found {
                    let grace = self.context.timeouts().survey.grace;
                    self.deadline.get_or_insert(Instant::now() + grace);
                }
                self.replies.push(status);
                self.context.reachability.trust(origin);
            }
            Ok(None) => {}
            Err(error) => {
                debug!(%origin, %error, "origin did not reply");
                self.failed.push(origin);
                self.context.reachability.suspect(origin);
                self.origins.search();
            }
        }
    }

    /// Returns whether those that failed are asked again when an origin replies again.
    pub(super) fn can_ask_again(&self) -> bool {
        self.end == SurveyEnd::Found && !self.failed.is_empty()
    }

    /// Makes those that failed count as not asked.
    pub(super) fn ask_again(&mut self) {
        self.asked.retain(|origin| !self.failed.contains(origin));
        self.asked_again.extend(self.failed.drain(..));
    }

    /// Returns whether it waits for no origin, or only for some that were asked again. The next survey is not delayed by those.
    pub(super) fn is_complete(&self) -> bool {
        let asked_again = self.pending.is_subset(&self.asked_again) && self.deadline.is_none();
        self.pending.is_empty() || asked_again
    }

    /// Ends the survey.
    pub(super) fn end(self) -> Survey {
        let mut silent = self.failed.len();
        if self.end == SurveyEnd::All || self.deadline.is_none() {
            silent += self.pending.len();
        }
        if self.end == SurveyEnd::All {
            let pending = self.pending.into_iter();
            pending.for_each(|origin| self.context.reachability.suspect(origin));
        }
        Survey {
            replies: self.replies,
            silent,
        }
    }
}
