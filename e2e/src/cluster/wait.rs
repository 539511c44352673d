//! Waiting for what must come true, and watching what must stay true: always with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Probes until the probe succeeds. After `limit` the probe's last error is the answer, together with what was expected.
///
/// # Errors
/// When `limit` is over.
pub async fn eventually<T, P, F>(expected: &str, limit: Duration, mut probe: P) -> anyhow::Result<T>
where
    P: FnMut() -> F,
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + limit;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let answer = timeout(PROBE_LIMIT, probe())
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PROBE_LIMIT:?}")));
        match answer {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                return Err(seen).with_context(|| {
                    format!("expected within {} s: {expected}; seen", limit.as_secs())
                });
            }
            Err(_) => {}
        }
    }
}

/// Probes for the whole of `span`; the first error is the answer.
///
/// # Errors
/// As soon as the probe fails.
pub async fn holds<P, F>(expected: &str, span: Duration, mut probe: P) -> anyhow::Result<()>
where
    P: FnMut() -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let began = Instant::now();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while began.elapsed() < span {
        tick.tick().await;
        probe().await.with_context(|| {
            format!(
                "expected for {} s: {expected}; after {} s seen",
                span.as_secs(),
                began.elapsed().as_secs()
            )
        })?;
    }
    Ok(())
}

/// Often enough to see a change within its deadline, seldom enough not to be the cluster's load.
const TICK: Duration = Duration::from_millis(250);

/// A probe that hangs must not outlast the deadline by much.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
