//! Encoders and viewers, real ones and our own, and the judge of what they sent and received.
//!
//! An [`Encoder`] sends frames that are all different, a [`Viewer`] keeps a [`Recording`] of what it receives, and [`judge`]
//! compares the two. [`ffmpeg`] does the same with real codecs, out of a [`Clip`], and so does a [`ClipEncoder`].

mod clip;
mod clip_encoder;
mod encoder;
pub mod ffmpeg;
mod frames;
pub mod judge;
mod recording;
mod rtmp;
mod socket;
mod tls;
mod viewer;
mod websocket;

pub use clip::{Clip, Ffmpegs};
pub use clip_encoder::ClipEncoder;
pub use encoder::Encoder;
pub use frames::Codecs;
pub use judge::ExpectedStart;
pub use recording::{Packet, Recording};
pub use viewer::{Seen, Viewer};
