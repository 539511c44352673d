//! Encoders and viewers, real ones and our own, and what they sent and received.

pub mod clip;
pub mod comparison;
pub mod ffmpeg;
pub mod process;
pub mod recording;
pub mod rtmp;
pub mod viewer;
