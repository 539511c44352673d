//! Time limits for other media nodes. Time in which this one itself does not run counts only in part: it would blame the others for
//! its own delay.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// The parts of a limit at least. When this media node does not run for a while, one of them is over too early. In the others it reads
/// what has arrived meanwhile.
const PARTS: u32 = 8;
/// The longest part: a limit that has become shorter is noticed after it.
const LONGEST_PART: Duration = Duration::from_millis(100);

/// Waits for a response of another media node. Returns `None` when it takes longer than `limit`, which may change in the meantime.
pub(super) async fn within<F: Future>(
    limit: impl Fn() -> Duration,
    response: F,
) -> Option<F::Output> {
    let mut response = pin!(response);
    let mut waited = Duration::ZERO;
    loop {
        let rest = limit().saturating_sub(waited);
        let part = rest.min(limit() / PARTS).min(LONGEST_PART);
        if let Ok(response) = timeout(part, response.as_mut()).await {
            return Some(response);
        }
        waited += part;
        if rest <= part {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, advance, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(800);

    #[tokio::test(start_paused = true)]
    async fn response_after_the_limit_is_too_late() {
        let start = Instant::now();
        assert_eq!(within(|| LIMIT, sleep(LIMIT / 2)).await, Some(()));
        assert_eq!(start.elapsed(), LIMIT / 2);
        assert_eq!(within(|| LIMIT, pending::<()>()).await, None);
        assert_eq!(start.elapsed(), LIMIT / 2 + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn limit_that_becomes_shorter_is_over_earlier() {
        let start = Instant::now();
        let limit = || {
            if start.elapsed() < LIMIT * 2 {
                LIMIT * 9
            } else {
                LIMIT
            }
        };
        assert_eq!(within(limit, pending::<()>()).await, None);
        assert_eq!(start.elapsed(), LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn response_is_awaited_on_after_a_time_in_which_the_node_did_not_run() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(within(|| LIMIT, receive));
        tokio::task::yield_now().await;
        // As if the process had been stopped: then all of its timers are overdue.
        advance(LIMIT * 5).await;
        send.send("response").unwrap();
        assert_eq!(waiting.await.unwrap(), Some(Ok("response")));
    }
}
