//! RTMPS and HTTPS-FLV with the TLS of ffmpeg and curl, which is not ours: an encoder and players on every instance.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::certificate::CertificateFiles;
use crate::instances::Instances;
use crate::media::judge::assert_complete;
use crate::media::{ExpectedStart, Recording, ffmpeg};
use crate::process;
use crate::stage::Stage;

pub(super) async fn run(stage: Stage) -> Result<()> {
    let settings = "playWaitSeconds: 20, continuitySeconds: 2";
    let (clip, folder) = (stage.clip("h264-aac").await?, stage.folder());
    let certificate = CertificateFiles::make(folder, "certificate", "127.0.0.1").await?;
    let instances = Instances::start_with_tls(&stage, settings, &certificate).await?;
    let sent = ffmpeg::rewritten(&clip, folder).await?;
    let mut players = Vec::new();
    for instance in &instances.all {
        for (protocol, url) in [
            ("rtmps", instance.rtmps("live/tls")),
            ("https", instance.https("live/tls")),
        ] {
            let name = format!("{}-{protocol}", instance.name);
            players.push(ffmpeg::record(&clip.ffmpeg, &name, &url, folder)?);
        }
    }
    let url = instances.all[1].rtmps("live/tls");
    let mut encoder = ffmpeg::publish("publish", &clip, &url, folder)?;
    encoder.success(Duration::from_secs(30)).await?;
    let mut packets = 0;
    for (player, file) in &mut players {
        let about = file.display().to_string();
        let ended = player.success(Duration::from_secs(20)).await;
        ended.context(about.clone())?;
        packets += assert_complete(&sent, &Recording::read(file)?, ExpectedStart::Keyframe)
            .context(about)?;
    }
    for instance in &instances.all {
        page(&instance.https_page(), &certificate).await?;
    }
    instances.stop().await?;
    stage.say(format_args!(
        "{packets} packets by {} players",
        players.len()
    ));
    Ok(())
}

/// Loads the player page with each version of TLS, by a client that verifies the certificate.
async fn page(url: &str, certificate: &CertificateFiles) -> Result<()> {
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let line = format!("curl --silent --show-error --max-time 10 {version} --cacert");
        let mut command = process::command(&line);
        command.arg(&certificate.certificate).arg(url);
        let page = process::finish(&mut command, "").await?.success()?;
        ensure!(page.contains("<html"), "{version}: {page}");
    }
    Ok(())
}
