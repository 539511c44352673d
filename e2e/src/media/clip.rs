//! Short films made by ffmpeg out of nothing, one for each kind of stream that has to pass.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::process;

/// The two ffmpegs that encode and play.
#[derive(Clone, Debug)]
pub struct Ffmpegs {
    /// Debian's, 5.1: what most encoders in the field still send.
    pub debian: PathBuf,
    /// 9.x: Enhanced RTMP, with HEVC, AV1, VP9 and Opus.
    pub newest: PathBuf,
}

/// A film to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How scenarios call it: the codecs.
    pub name: &'static str,
    /// Encoder and its options; none, no picture.
    video: &'static str,
    /// Encoder and its options; none, no sound.
    audio: &'static str,
    /// Only ffmpeg 9 writes it into FLV.
    pub enhanced: bool,
}

/// A film that is there.
#[derive(Clone, Debug)]
pub struct Clip {
    /// How it was made.
    pub recipe: Recipe,
    /// An FLV file.
    pub file: PathBuf,
    /// The ffmpeg that made it and publishes it.
    pub ffmpeg: PathBuf,
}

/// Seconds of a film.
pub const SECONDS: u32 = 10;

/// A keyframe every second and a half, so that it does not always fall together with a second.
const X264: &str = "-c:v libx264 -preset veryfast -b:v 300k -g 36 -pix_fmt yuv420p";
const AAC: &str = "-c:a aac -b:a 64k";

/// Every kind of stream that has to pass.
pub const RECIPES: [Recipe; 11] = [
    recipe(
        "h264-aac",
        "-c:v libx264 -preset veryfast -tune zerolatency -b:v 300k -g 36 -pix_fmt yuv420p",
        AAC,
    ),
    recipe(
        "h264-bframes-aac",
        "-c:v libx264 -preset veryfast -bf 3 -b:v 300k -g 36 -pix_fmt yuv420p",
        AAC,
    ),
    recipe("h264-mp3", X264, "-c:a libmp3lame -ar 44100 -b:a 64k"),
    recipe("h264-only", X264, ""),
    recipe("aac-only", "", AAC),
    recipe("mp3-only", "", "-c:a libmp3lame -ar 44100 -b:a 64k"),
    enhanced(
        "hevc-aac",
        "-c:v libx265 -preset ultrafast -b:v 300k -g 36 -pix_fmt yuv420p",
        AAC,
    ),
    enhanced(
        "hevc-only",
        "-c:v libx265 -preset ultrafast -bf 2 -b:v 300k -g 36 -pix_fmt yuv420p",
        "",
    ),
    enhanced(
        "av1-opus",
        "-c:v libsvtav1 -preset 12 -b:v 300k -g 36 -pix_fmt yuv420p",
        "-c:a libopus -b:a 64k",
    ),
    enhanced(
        "vp9-opus",
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -g 36",
        "-c:a libopus -b:a 64k",
    ),
    enhanced("opus-only", "", "-c:a libopus -b:a 64k"),
];

const fn recipe(name: &'static str, video: &'static str, audio: &'static str) -> Recipe {
    Recipe {
        name,
        video,
        audio,
        enhanced: false,
    }
}

const fn enhanced(name: &'static str, video: &'static str, audio: &'static str) -> Recipe {
    Recipe {
        enhanced: true,
        ..recipe(name, video, audio)
    }
}

impl Recipe {
    /// The recipe of that name.
    pub fn of(name: &str) -> Result<Self> {
        let found = RECIPES.iter().find(|recipe| recipe.name == name);
        found
            .copied()
            .with_context(|| format!("there is no clip {name}"))
    }

    /// Whether there is sound.
    pub fn has_audio(&self) -> bool {
        !self.audio.is_empty()
    }

    /// Whether there is a picture.
    pub fn has_video(&self) -> bool {
        !self.video.is_empty()
    }

    /// Makes the film, unless the folder has it from before.
    pub async fn make(self, ffmpegs: &Ffmpegs, folder: &Path) -> Result<Clip> {
        let ffmpeg = match self.enhanced {
            true => ffmpegs.newest.clone(),
            false => ffmpegs.debian.clone(),
        };
        let file = folder.join(format!("{}.flv", self.name));
        process::make(&file, Duration::from_secs(120), |unfinished| {
            let mut command = Command::new(&ffmpeg);
            command.args(["-hide_banner", "-loglevel", "error", "-y"]);
            command.args(self.arguments()).arg(unfinished);
            command
        })
        .await?;
        if std::fs::metadata(&file)
            .map(|metadata| metadata.len())
            .unwrap_or_default()
            < 1000
        {
            bail!("ffmpeg made an empty clip: {}", file.display());
        }
        Ok(Clip {
            recipe: self,
            file,
            ffmpeg,
        })
    }

    fn arguments(self) -> Vec<String> {
        let seconds = SECONDS.to_string();
        let mut arguments = Vec::new();
        let mut add = |words: &str| arguments.extend(words.split(' ').map(str::to_owned));
        if self.has_video() {
            add("-f lavfi -i testsrc2=size=320x180:rate=24");
        }
        if self.has_audio() {
            // Noise under the tone: no packet is like another.
            add("-f lavfi -i aevalsrc=0.4*sin(2*PI*440*t)+0.1*random(0):s=48000");
        }
        for codec in [self.video, self.audio] {
            if !codec.is_empty() {
                add(codec);
            }
        }
        add(&format!("-t {seconds} -f flv"));
        arguments
    }
}
