//! A LiveCluster at which nothing changes costs Kubernetes nothing: no write in three minutes, although a stream is watched.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cluster::{AuditedRequest, Namespace, STREAM, WatchedStream};
use crate::process::beginning;
use crate::wait::{DEADLINE, holds};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let begin = Timestamp::now();
    namespace.apply_ready("demo", json!({})).await?;
    let edge = namespace.reach_role("demo", "edge").await?;
    let stream = namespace.watched_stream(STREAM, &edge, &edge).await?;
    let expected = "one stream and one viewer of all Pods in the status";
    let counted = namespace.until_status("demo", expected, DEADLINE, |status| {
        let streams = status.streams.as_ref();
        streams.is_some_and(|it| {
            let all = it.scraped_pods == it.expected_pods && it.scraped_pods == 3;
            all && (it.active, it.viewers) == (Some(1), Some(1))
        })
    });
    counted.await?;
    let before = namespace.requests(begin).await?;
    let writes = before.iter().any(AuditedRequest::writes);
    ensure!(writes, "the audit log has no write of the operator");

    for _ in 0..ATTEMPTS {
        let leadership = leadership(&namespace).await?;
        let start = Timestamp::now();
        namespace.say("three minutes without a change");
        let statuses = statuses(&namespace, &stream).await?;
        let requests = namespace.requests(start).await?;
        if self::leadership(&namespace).await? != leadership {
            namespace.say("another operator leads since, and has applied everything once");
            continue;
        }
        if only_numbers_change(&statuses) {
            namespace.say(changes(&statuses));
            continue;
        }
        assert_no_writes(&requests).with_context(|| changes(&statuses))?;
        return stream.assert_uninterrupted();
    }
    bail!("something changed in each of {ATTEMPTS} times three minutes")
}

/// Watches a stream for three minutes. Returns each status that the LiveCluster has meanwhile.
async fn statuses(namespace: &Namespace, stream: &WatchedStream) -> Result<Vec<Value>> {
    let statuses = Mutex::new(Vec::new());
    holds("the stream goes on", SPAN, || async {
        stream.assert_connected()?;
        let status = json!(namespace.status("demo").await?);
        let mut statuses = statuses.lock();
        if statuses.last() != Some(&status) {
            statuses.push(status);
        }
        Ok(())
    })
    .await?;
    Ok(statuses.into_inner())
}

/// Whether the numbers of streams and viewers have changed, and nothing else. That is a change: on a host that is too small, a Pod may
/// not answer for half a minute.
fn only_numbers_change(statuses: &[Value]) -> bool {
    let others = statuses.iter().cloned().map(|mut status| {
        status["streams"] = Value::Null;
        status
    });
    let others: Vec<Value> = others.collect();
    statuses.len() > 1 && others.windows(2).all(|pair| pair[0] == pair[1])
}

/// The fields that differ from one status to the next.
fn changes(statuses: &[Value]) -> String {
    let fields = statuses.windows(2).flat_map(|pair| {
        let new = pair[1].as_object().into_iter().flatten();
        let changed = new.filter(|(field, value)| pair[0][field.as_str()] != **value);
        changed.map(|(field, value)| format!("{field} from {} to {value}", pair[0][field.as_str()]))
    });
    format!("changes of the status: {:?}", fields.collect::<Vec<_>>())
}

fn assert_no_writes(requests: &[AuditedRequest]) -> Result<()> {
    let writes = requests.iter().filter(|it| it.writes());
    let writes: Vec<_> = writes.map(|it| format!("{} {}", it.verb, it.uri)).collect();
    let (count, shown) = (writes.len(), beginning(&writes.join(", ")));
    ensure!(
        count == 0,
        "by the audit log the operator wrote {count} times: {shown}"
    );
    Ok(())
}

/// Returns who leads, and since when. Where the API server does not answer for longer than the Lease is valid, as on a host that is too
/// small, another operator leads.
async fn leadership(namespace: &Namespace) -> Result<(Option<String>, Option<Timestamp>)> {
    let release = &namespace.cluster.release;
    let system = namespace.other(&release.namespace);
    let lease: Lease = system.get(&release.deployment()).await?;
    let spec = lease.spec.context("the lease has no holder")?;
    Ok((spec.holder_identity, spec.acquire_time.map(|it| it.0)))
}

const SPAN: Duration = Duration::from_secs(180);

/// How often the leader may change, or a Pod not answer.
const ATTEMPTS: usize = 3;
