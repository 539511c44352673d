//! A LiveCluster at which nothing changes costs Kubernetes nothing: no write in three minutes, although a stream is watched.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use crate::cluster::{AuditedRequest, Namespace, STREAM};
use crate::process::beginning;

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let begin = Timestamp::now();
    namespace.apply_ready("demo", json!({})).await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &edge, &edge).await?;
    let expected = "one stream and one viewer in the status";
    let counted = namespace.until_status("demo", expected, Duration::from_secs(60), |status| {
        let streams = status.streams.as_ref();
        streams.is_some_and(|it| (it.active, it.viewers) == (Some(1), Some(1)))
    });
    counted.await?;
    let before = namespace.requests(begin).await?;
    let writes = before.iter().any(AuditedRequest::writes);
    ensure!(writes, "the audit log has no write of the operator");

    let start = Timestamp::now();
    namespace.say("three minutes without a change");
    stream.assert_goes_on(Duration::from_secs(180)).await?;
    let requests = namespace.requests(start).await?;
    let writes = requests.iter().filter(|it| it.writes());
    let writes: Vec<_> = writes.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    let (count, shown) = (writes.len(), beginning(&writes.join(", ")));
    ensure!(
        count == 0,
        "by the audit log the operator wrote {count} times: {shown}"
    );
    stream.assert_uninterrupted()
}
