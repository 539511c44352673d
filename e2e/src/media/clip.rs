//! Short clips that ffmpeg encodes, one for each combination of codecs that has to pass.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::process;

/// The two ffmpegs that encode and play.
#[derive(clap::Args, Clone, Debug)]
pub struct Ffmpegs {
    /// Debian's ffmpeg, 5.1: what most encoders in use still send.
    #[arg(long = "debian-ffmpeg", default_value = "ffmpeg")]
    pub debian: PathBuf,
    /// ffmpeg 9.x: Enhanced RTMP, with HEVC, AV1, VP9 and Opus.
    #[arg(long = "newest-ffmpeg", default_value = "ffmpeg")]
    pub newest: PathBuf,
}

/// An encoded clip.
#[derive(Clone, Debug)]
pub struct Clip {
    /// Its codecs.
    pub name: &'static str,
    /// An FLV file.
    pub file: PathBuf,
    /// The ffmpeg that encoded it and publishes it.
    pub ffmpeg: PathBuf,
    /// Further options with which it is published, for its input, such as `-stream_loop -1`.
    pub input_options: &'static str,
    /// Further options with which it is published, for its output.
    pub output_options: String,
}

/// A clip's name, which ffmpeg encodes it, and its video and audio encoders with their options; empty, there is none.
type Recipe = (&'static str, Version, &'static str, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Debian,
    Newest,
}
use Version::{Debian, Newest};

/// Every combination of codecs that has to pass. A keyframe every second and a half does not always coincide with a second.
#[rustfmt::skip]
const RECIPES: [Recipe; 11] = [
    ("h264-aac", Debian, "libx264 -preset veryfast -tune zerolatency -b:v 300k -g 36 -pix_fmt yuv420p", AAC),
    ("h264-bframes-aac", Debian, "libx264 -preset veryfast -bf 3 -b:v 300k -g 36 -pix_fmt yuv420p", AAC),
    ("h264-mp3", Debian, X264, MP3),
    ("h264-only", Debian, X264, ""),
    ("aac-only", Debian, "", AAC),
    ("mp3-only", Debian, "", MP3),
    ("hevc-aac", Newest, "libx265 -preset ultrafast -b:v 300k -g 36 -pix_fmt yuv420p", AAC),
    ("hevc-only", Newest, "libx265 -preset ultrafast -bf 2 -b:v 300k -g 36 -pix_fmt yuv420p", ""),
    ("av1-opus", Newest, "libsvtav1 -preset 12 -b:v 300k -g 36 -pix_fmt yuv420p", OPUS),
    ("vp9-opus", Newest, "libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 36", OPUS),
    ("opus-only", Newest, "", OPUS),
];
const X264: &str = "libx264 -preset veryfast -b:v 300k -g 36 -pix_fmt yuv420p";
const AAC: &str = "aac -b:a 64k";
const MP3: &str = "libmp3lame -ar 44100 -b:a 64k";
const OPUS: &str = "libopus -b:a 64k";

impl Clip {
    /// Seconds of a clip.
    pub const SECONDS: u64 = 10;

    /// The names of all clips.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RECIPES.iter().map(|(name, ..)| *name)
    }

    /// Encodes a clip, unless the folder has it.
    pub async fn encode(name: &str, ffmpegs: &Ffmpegs, folder: &Path) -> Result<Self> {
        let recipe = RECIPES.iter().find(|recipe| recipe.0 == name);
        let &(name, version, video, audio) = recipe.with_context(|| format!("no clip {name}"))?;
        let ffmpeg = match version {
            Debian => ffmpegs.debian.clone(),
            Newest => ffmpegs.newest.clone(),
        };
        let file = folder.join(format!("{name}.flv"));
        process::make(&file, |unfinished| {
            let mut command = Command::new(&ffmpeg);
            command.args(["-hide_banner", "-loglevel", "error", "-y"]);
            command.args(arguments(video, audio).split_whitespace());
            command.arg(unfinished);
            command
        })
        .await?;
        let size = std::fs::metadata(&file).map(|metadata| metadata.len());
        let shown = file.display();
        ensure!(size.unwrap_or_default() > 1000, "{shown} is empty");
        Ok(Self {
            name,
            file,
            ffmpeg,
            input_options: "",
            output_options: String::new(),
        })
    }
}

fn arguments(video: &str, audio: &str) -> String {
    let mut arguments = String::new();
    let mut add = |present: &str, text: &str| {
        if !present.is_empty() {
            arguments.push_str(text);
        }
    };
    add(video, "-f lavfi -i testsrc2=size=320x180:rate=24 ");
    // Noise under the tone: no packet is the same as another.
    let tone = "-f lavfi -i aevalsrc=0.4*sin(2*PI*440*t)+0.1*random(0):s=48000 ";
    add(audio, tone);
    add(video, &format!("-c:v {video} "));
    add(audio, &format!("-c:a {audio} "));
    format!("{arguments}-t {} -f flv", Clip::SECONDS)
}
