//! The encoder loop of the SRS guide: ffmpeg ends, a second passes, it starts again. Viewers on every instance stay, their time goes
//! on, every packet of every round comes once, and what ffmpeg recorded decodes without an error.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::instance_viewers::InstanceViewers;
use crate::instances::Instances;
use crate::media::judge::assert_rounds;
use crate::media::{Clip, Recording, ffmpeg};
use crate::stage::Stage;

/// How often the encoder starts again.
const RESTARTS: usize = 5;

/// The option for the four seconds of each round.
const ROUND: &str = "-t 4";

/// How long viewers wait for the encoder, which pauses for one second, and takes its time to start on a busy host.
const CONTINUITY: Duration = Duration::from_secs(12);

pub(super) async fn run(stage: Stage) -> Result<()> {
    let seconds = CONTINUITY.as_secs();
    let settings = format!("playWaitSeconds: 20, continuitySeconds: {seconds}");
    let instances = Instances::start(&stage, &settings).await?;
    let round = async |name| {
        let clip = stage.clip(name).await?;
        let input_options = ROUND;
        anyhow::Ok(Clip {
            input_options,
            ..clip
        })
    };
    let plain = &round("h264-aac").await?;
    let reordered = &round("h264-bframes-aac").await?;
    let audio = &round("aac-only").await?;
    let outcomes = futures::try_join!(
        watch(&stage, &instances, "same-origin", |_| (0, plain)),
        watch(&stage, &instances, "same-edge", |_| (1, reordered)),
        // The encoder starts again at another instance, with another encoding.
        watch(&stage, &instances, "moves", |round| {
            let clip = [plain, reordered][round % 2];
            (round % instances.all.len(), clip)
        }),
        watch(&stage, &instances, "audio", |_| (2, audio)),
    )?;
    instances.stop().await?;
    let packets = outcomes.0 + outcomes.1 + outcomes.2 + outcomes.3;
    stage.say(format_args!(
        "4 streams over {RESTARTS} restarts, {packets} packets compared on 6 viewers each"
    ));
    Ok(())
}

/// Publishes every round of a stream, and compares what its viewers received. Returns the number of packets that were compared.
async fn watch<'a>(
    stage: &Stage,
    instances: &Instances,
    name: &str,
    round: impl Fn(usize) -> (usize, &'a Clip),
) -> Result<usize> {
    let stream = format!("live/{name}");
    let folder = stage.folder();
    let mut viewers = InstanceViewers::early(instances, &stream, 0);
    let ffmpeg = &stage.tools.ffmpegs.debian;
    let [_, rtmp, http] = &instances.all;
    let mut players = [
        ffmpeg::record(ffmpeg, &format!("{name}-http"), &http.http(&stream), folder)?,
        ffmpeg::record(ffmpeg, &format!("{name}-rtmp"), &rtmp.rtmp(&stream), folder)?,
    ];
    let mut rounds = Vec::new();
    for number in 0..=RESTARTS {
        let (instance, clip) = round(number);
        rounds.push(ffmpeg::published(clip, folder).await?);
        let url = instances.all[instance].rtmp(&stream);
        let file = format!("{name}-publish-{number}");
        let mut encoder = ffmpeg::publish(&file, clip, &url, folder)?;
        encoder.success(Duration::from_secs(20)).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let connected = viewers.assert_connected();
        connected.with_context(|| format!("after round {number}"))?;
    }
    let mut packets = 0;
    viewers.ended(CONTINUITY + Duration::from_secs(10)).await?;
    for (url, recording) in viewers.recordings() {
        packets += assert_rounds(&rounds, &recording).context(url)?;
    }
    for (player, file) in &mut players {
        let played = player.success(Duration::from_secs(20)).await;
        played.context("ffmpeg as a player")?;
        let (shown, recording) = (file.display(), Recording::read(file)?);
        let monotonic = recording.assert_monotonic();
        monotonic.with_context(|| shown.to_string())?;
        let count = recording.packets.len();
        ensure!(count > rounds.len() * 80, "{shown} has {count} packets");
        ffmpeg::decode(ffmpeg, file).await?;
    }
    Ok(packets)
}
