//! Secrets change under running Pods: the certificate is renewed and publish keys are rotated, without a rollout. Connections stay,
//! except those of the removed key.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use crate::certificate::CertificateFiles;
use crate::cluster::Namespace;
use crate::media::judge::assert_uninterrupted;
use crate::media::{Encoder, Recording};
use crate::process::{self, Process};
use crate::wait::{DEADLINE, MEDIA, eventually};

pub(super) async fn run(namespace: Namespace) -> Result<()> {
    let address = namespace.cluster.front().address.clone();
    let folder = namespace.stage.folder();
    let first = CertificateFiles::make(folder, "first", &address).await?;
    let second = CertificateFiles::make(folder, "second", &address).await?;
    write_secrets(&namespace, &first, "stays\nold").await?;
    let spec = json!({
        "edges": {"replicas": 1, "service": {"type": "NodePort"}},
        "tls": {"secretName": "certificate"},
        "auth": {"publish": {"keys": {"secretName": "keys"}}},
    });
    namespace.apply_ready("demo", spec).await?;
    let edge = namespace.reach_service("demo-edge").await?;
    let https = edge
        .https
        .as_deref()
        .context("the edges have no port for HTTPS")?;
    let publish = |stream: &str, key: &str| edge.rtmp(&format!("live/{stream}?key={key}"));
    let stays = namespace.published(&publish("stays", "stays")).await?;
    let old = namespace.published(&publish("old", "old")).await?;
    let mut viewer = HttpsViewer::start(https, &first, folder)?;
    viewer.sees_more(25).await?;
    let plain = namespace.watched(&edge.http("live/stays")).await?;
    let before = uids(&namespace).await?;

    namespace.say("both Secrets change");
    write_secrets(&namespace, &second, "stays\nnew").await?;
    // As users may who do not want to wait for the kubelet's minute: it copies them immediately into Pods that change.
    namespace
        .kubectl("annotate pods --all e2e.livecluster.dev/secrets=renewed")
        .await?;
    let page = format!("https://{https}/");
    eventually("new connections get the new certificate", DEADLINE, || {
        load(&page, &second)
    })
    .await?;
    ensure!(
        load(&page, &first).await.is_err(),
        "the old certificate is served"
    );
    let renewed = publish("new", "new");
    let _new = eventually("the new key publishes", DEADLINE, || {
        Encoder::publish(&renewed)
    })
    .await?;
    assert_key_is_removed(&old, &publish("old", "old")).await?;

    viewer.sees_more(50).await?;
    viewer.assert_uninterrupted(&stays)?;
    plain.assert_uninterrupted(&stays)?;
    stays.assert_undisturbed()?;
    ensure!(uids(&namespace).await? == before, "Pods were replaced");
    Ok(())
}

/// Fails unless the encoder is disconnected, and its URL refused.
async fn assert_key_is_removed(encoder: &Encoder, url: &str) -> Result<()> {
    eventually(
        "the old key's encoder is disconnected",
        DEADLINE,
        || async {
            ensure!(!encoder.interruptions().is_empty(), "it still publishes");
            Ok(())
        },
    )
    .await?;
    let again = Encoder::publish(url).await;
    let refused = format!("{:#}", again.err().context("the old key still publishes")?);
    ensure!(refused.contains("NetStream.Publish.Denied"), "{refused}");
    Ok(())
}

/// Writes the Secrets of certificate and keys, or changes them.
async fn write_secrets(
    namespace: &Namespace,
    certificate: &CertificateFiles,
    keys: &str,
) -> Result<()> {
    namespace
        .apply_certificate("certificate", certificate)
        .await?;
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "keys"}, "stringData": {"live": keys},
    });
    namespace.kubectl_apply(&keys.to_string()).await
}

/// Loads a page from a server that must have this certificate.
async fn load(url: &str, certificate: &CertificateFiles) -> Result<()> {
    let mut command = process::command("curl --silent --show-error --fail --max-time 10 --cacert");
    command.arg(&certificate.certificate).arg(url);
    process::finish(&mut command, "").await?.success().map(drop)
}

async fn uids(namespace: &Namespace) -> Result<Vec<String>> {
    let mut pods: Vec<Pod> = namespace.pods("demo", "origin").await?;
    pods.extend(namespace.pods("demo", "edge").await?);
    Ok(pods.iter().filter_map(ResourceExt::uid).collect())
}

/// curl, which writes an HTTPS-FLV stream to a file.
struct HttpsViewer {
    curl: Process,
    file: PathBuf,
}

impl HttpsViewer {
    fn start(https: &str, certificate: &CertificateFiles, folder: &Path) -> Result<Self> {
        let file = folder.join("https.flv");
        let mut command = process::command("curl --silent --show-error --no-buffer --cacert");
        command
            .arg(&certificate.certificate)
            .arg("--output")
            .arg(&file);
        command.arg(format!("https://{https}/live/stays.flv"));
        let curl = Process::start("curl", &mut command, folder)?;
        Ok(Self { curl, file })
    }

    fn recording(&self) -> Result<Recording> {
        Recording::read(&self.file)
    }

    /// Waits until so many more video frames are in the file.
    async fn sees_more(&mut self, frames: usize) -> Result<()> {
        let count = |viewer: &Self| viewer.recording().map_or(0, |it| it.video_frames().count());
        let wanted = count(self) + frames;
        eventually("more frames by HTTPS", MEDIA, || async {
            let seen = count(self);
            ensure!(seen >= wanted, "{seen} frames of {wanted}");
            Ok(())
        })
        .await?;
        let ended = !self.curl.is_running();
        ensure!(!ended, "curl has ended{}", self.curl.last_output());
        Ok(())
    }

    fn assert_uninterrupted(&self, encoder: &Encoder) -> Result<()> {
        // Before what was sent: more is sent meanwhile.
        let received = self.recording()?;
        assert_uninterrupted(&encoder.sent(), &received).context("by HTTPS")
    }
}
