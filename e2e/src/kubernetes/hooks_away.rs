//! The server of the hooks hangs and goes away under running Pods: new clients are refused or accepted by the policy, those that are
//! there stay, and with the server its decisions return.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Namespace, Reach, STREAM, connects};
use crate::media::{Encoder, Viewer};
use crate::process;
use crate::wait::{DEADLINE, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    namespace.repaired_by(|it| async move { HookServer(it).stop().await });
    let server = HookServer::start(namespace.clone()).await?;
    leave_and_return(&namespace, &server).await
}

async fn leave_and_return(namespace: &Namespace, server: &HookServer) -> Result<()> {
    for policy in ["Deny", "Allow"] {
        let spec = server.spec(policy);
        namespace.apply(&policy.to_lowercase(), spec).await?;
    }
    let deny = Subject::new(namespace, "deny").await?;
    let allow = Subject::new(namespace, "allow").await?;
    let denied = namespace.watched_stream(STREAM, &deny.origin, &deny.edge);
    let allowed = namespace.watched_stream(STREAM, &allow.origin, &allow.edge);
    let (denied, allowed) = tokio::try_join!(denied, allowed)?;
    decides(&deny, &allow).await?;
    for (what, leaves, returns) in [
        (
            "hangs",
            "kill -STOP $(cat $0.pid)",
            "kill -CONT $(cat $0.pid)",
        ),
        ("is gone", STOP, START),
    ] {
        namespace.say(format_args!("the server of the hooks {what}"));
        server.shell(leaves).await?;
        let name = format!("live/{}", what.replace(' ', "-"));
        deny.assert_refused(&name).await?;
        let viewer = Viewer::watch(&deny.edge.http(STREAM)).await;
        let refused = format!("{:#}", viewer.err().context("a viewer is accepted")?);
        ensure!(refused.contains("403"), "{refused}");
        let _accepted = allow.assert_accepted(&name).await?;
        namespace.say("it is back");
        server.shell(returns).await?;
        server.accepts().await?;
        let _accepted = deny.assert_accepted(&name).await?;
        decides(&deny, &allow).await?;
    }
    denied.assert_uninterrupted()?;
    allowed.assert_uninterrupted()
}

/// Waits until the server's decision counts. On a host with other load it may answer later than the hook's limit.
async fn decides(deny: &Subject<'_>, allow: &Subject<'_>) -> Result<()> {
    for subject in [deny, allow] {
        let refused = || subject.assert_refused("live/refused");
        eventually("the hooks' decision", DEADLINE, refused).await?;
    }
    Ok(())
}

/// A LiveCluster of one policy.
struct Subject<'a> {
    namespace: &'a Namespace,
    origin: Reach,
    edge: Reach,
}

impl<'a> Subject<'a> {
    async fn new(namespace: &'a Namespace, name: &str) -> Result<Self> {
        namespace.ready(name).await?;
        Ok(Self {
            namespace,
            origin: namespace.reach_role(name, "origin").await?,
            edge: namespace.reach_role(name, "edge").await?,
        })
    }

    async fn assert_refused(&self, stream: &str) -> Result<()> {
        let published = Encoder::publish(&self.edge.rtmp(stream)).await;
        let accepted = || format!("{stream} is accepted");
        let refused = format!("{:#}", published.err().with_context(accepted)?);
        ensure!(refused.contains("NetStream.Publish.Denied"), "{refused}");
        Ok(())
    }

    /// Fails unless a stream can be published at the edge, and be watched there. Returns its encoder.
    async fn assert_accepted(&self, stream: &str) -> Result<Encoder> {
        let encoder = self.namespace.published(&self.edge.rtmp(stream)).await?;
        self.namespace.watched(&self.edge.http(stream)).await?;
        Ok(encoder)
    }
}

/// A server of hooks on the node that no scenario breaks: no image of a Pod has one.
struct HookServer(Namespace);

impl HookServer {
    async fn start(namespace: Namespace) -> Result<Self> {
        let server = Self(namespace);
        // What an attempt before may have left, which may hang.
        server.stop().await?;
        let node = &server.0.cluster.front().name;
        let line = format!("docker exec -i {node} install -m 755 /dev/stdin {FILE}");
        let mut install = process::command(&line);
        process::finish(&mut install, CALLBACK).await?.success()?;
        server.shell(START).await?;
        server.accepts().await?;
        Ok(server)
    }

    async fn stop(&self) -> Result<()> {
        self.shell(STOP).await
    }

    /// Runs a line of a shell on the node. Its `$0` is the file of the callback.
    async fn shell(&self, line: &str) -> Result<()> {
        let node = &self.0.cluster.front().name;
        self.0.cluster.shell(node, line, &[FILE]).await
    }

    /// Waits until it accepts connections.
    async fn accepts(&self) -> Result<()> {
        let address = self.address();
        let expected = format!("hooks are served at {address}");
        eventually(&expected, DEADLINE, || connects(&address)).await
    }

    fn address(&self) -> String {
        format!("{}:18085", self.0.cluster.front().address)
    }

    fn spec(&self, policy: &str) -> Value {
        let hook = json!({"hook": {
            "url": format!("http://{}/hook", self.address()),
            "timeoutSeconds": 2, "failurePolicy": policy,
        }});
        json!({"edges": {"replicas": 1}, "auth": {"publish": hook, "play": hook}})
    }
}

/// Nothing in `/run` may be executed.
const FILE: &str = "/opt/livecluster-hook";

/// One callback, on standard input and output: yes to all streams but `refused`.
const CALLBACK: &str = r#"#!/bin/sh
length=0
while IFS= read -r line && [ "$line" != "$(printf '\r')" ]; do
  case $line in [Cc]ontent-[Ll]ength:*) length=$(echo "${line#*:}" | tr -d ' \r') ;; esac
done
case $(head -c "$length") in *'"stream":"refused"'*) code=1 ;; *) code=0 ;; esac
printf 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n%s' $code
"#;

const START: &str =
    "socat TCP-LISTEN:18085,fork,reuseaddr,backlog=128 EXEC:$0 >/dev/null 2>&1 & echo $! >$0.pid";

/// Also when it is stopped already. Its port is free afterwards.
const STOP: &str =
    "pid=$(cat $0.pid) || exit 0; while kill -KILL $pid 2>/dev/null; do sleep 0.1; done";
