//! Waiting for what must come true, and watching what must stay true: always with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep, timeout};

/// Probes until the probe succeeds. After `limit` the error holds what was expected and the probe's last error.
pub async fn eventually<T, P, F>(expected: &str, limit: Duration, mut probe: P) -> anyhow::Result<T>
where
    P: FnMut() -> F,
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let answer = timeout(PROBE_LIMIT, probe())
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PROBE_LIMIT:?}")));
        match answer {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                let limit = limit.as_secs();
                return Err(seen)
                    .with_context(|| format!("expected within {limit} s: {expected}; seen"));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Probes for the whole of `span`.
pub async fn holds<P, F>(expected: &str, span: Duration, mut probe: P) -> anyhow::Result<()>
where
    P: FnMut() -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let start = Instant::now();
    while start.elapsed() < span {
        probe().await.with_context(|| {
            let (span, after) = (span.as_secs(), start.elapsed().as_secs());
            format!("expected for {span} s: {expected}; after {after} s seen")
        })?;
        sleep(PAUSE).await;
    }
    Ok(())
}

/// For whatever a healthy cluster does within half a minute on a quiet host: only a fault meets it, not a host with other load.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// For media of a second or two.
pub const MEDIA: Duration = Duration::from_secs(15);

/// Short enough to see a change within its deadline, long enough not to load the cluster.
const PAUSE: Duration = Duration::from_millis(250);

/// Longer than a probe of many requests takes on a host with other load. One that hangs must not outlast the deadline by much.
const PROBE_LIMIT: Duration = Duration::from_secs(30);
