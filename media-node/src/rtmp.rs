//! The RTMP port: encoders publish, viewers play.

mod play;
mod publish;
mod session;

pub(crate) use session::{refuse, serve};
