//! The surveys while an upstream is silent: it may have lost the stream, and another origin may have it.

use std::future::pending;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use media_engine::Stream;
use media_wire::StreamKey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::context::RelayContext;
use super::protocol::Parameters;
use super::survey::{Survey, SurveyEnd, survey, survey_indirectly};

/// The silence of one upstream. A live publisher sends all the time, so silence is suspicious.
pub(super) struct Silence<'a> {
    context: &'a RelayContext,
    key: &'a StreamKey,
    /// The stream, if it is pulled.
    pulled: Option<&'a Stream>,
    /// Silence after which the origins are surveyed.
    limit: Duration,
    /// Time from the first survey to the next one.
    pause: Duration,
    /// The surveys of this silence.
    surveys: u32,
    last_received: Instant,
    survey_due: Instant,
    running: Option<BoxFuture<'a, Survey>>,
    /// What changes when an origin replies again, if there was one that did not reply to the last survey.
    recoveries: Option<watch::Receiver<u64>>,
}

impl<'a> Silence<'a> {
    pub(super) fn new(
        context: &'a RelayContext,
        key: &'a StreamKey,
        limit: Duration,
        pause: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            context,
            key,
            pulled: None,
            limit,
            pause,
            surveys: 0,
            last_received: now,
            survey_due: now + limit,
            running: None,
            recoveries: None,
        }
    }

    /// Makes the surveys say what the viewers of a pulled stream need next.
    pub(super) fn of_pull(mut self, stream: &'a Stream) -> Self {
        self.pulled = Some(stream);
        self
    }

    /// Ends the silence: the upstream sent something.
    pub(super) fn end(&mut self) {
        self.count();
        self.last_received = Instant::now();
        self.surveys = 0;
    }

    /// Waits for the time of the next survey, or until an origin replies again.
    async fn due(&mut self) {
        let recovered = async {
            match &mut self.recoveries {
                // The sender lives as long as the context.
                Some(recoveries) => drop(recoveries.changed().await),
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(self.survey_due) => {}
            () = recovered => {}
        }
    }

    /// Counts the silence if it was one.
    fn count(&self) {
        let silent = self.elapsed();
        if silent >= self.limit {
            self.context.metrics.stalled.inc_by(silent.as_secs_f64());
        }
    }

    /// Returns the time since the upstream last sent something.
    pub(super) fn elapsed(&self) -> Duration {
        self.last_received.elapsed()
    }

    /// Waits for the next survey that completes while the upstream is silent. Cancel safe.
    pub(super) async fn surveyed(&mut self) -> Survey {
        loop {
            if let Some(running) = &mut self.running {
                let survey = running.await;
                self.running = None;
                self.surveys += 1;
                self.survey_due = Instant::now() + pause_after(self.surveys, self.pause);
                self.recoveries.take_if(|_| survey.silent == 0);
                if self.elapsed() >= self.limit {
                    return survey;
                }
            }
            self.due().await;
            self.survey_due = self.last_received + self.limit;
            if self.elapsed() >= self.limit {
                let context = self.context;
                context.reachability.doubt(&context.current_origins());
                // An origin with the publication replies immediately, the others as soon as they have it.
                self.recoveries = Some(context.reachability.recoveries());
                let position = self.pulled.and_then(Stream::position);
                let parameters = Parameters {
                    wait: context.timeouts().pull.hold,
                    ..Parameters::needing(self.key, position)
                };
                self.running = Some(survey_silent(context, parameters).boxed());
            }
        }
    }
}

/// Surveys the origins. An edge may be cut off from the one that has the publication, which would reply at once: then it lets the others
/// ask that one.
async fn survey_silent(context: &RelayContext, parameters: Parameters) -> Survey {
    let indirect = async {
        sleep(context.timeouts().survey.direct).await;
        match survey_indirectly(context, &parameters.key).await {
            Some(survey) if survey.newest().is_some() => survey,
            _ => pending().await,
        }
    };
    tokio::select! {
        survey = survey(context, &parameters, SurveyEnd::Found) => survey,
        survey = indirect => survey,
    }
}

/// Returns the time from a survey to the next one. The first surveys find a stream that has moved. Later ones are rarer: on a host that
/// is too small all upstreams are silent, and each survey would add to its load.
fn pause_after(surveys: u32, first: Duration) -> Duration {
    first * (1 << surveys.saturating_sub(2).min(LONGEST_PAUSE))
}

/// How often the first pause is doubled to the longest one.
const LONGEST_PAUSE: u32 = 2;

impl Drop for Silence<'_> {
    /// The relay ends in silence, for example because its upstream is lost.
    fn drop(&mut self) {
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_the_third_survey_on() {
        let first = Duration::from_millis(400);
        let pauses: Vec<_> = (1..=5)
            .map(|surveys| pause_after(surveys, first).as_millis())
            .collect();
        assert_eq!(pauses, [400, 400, 800, 1600, 1600]);
    }
}
