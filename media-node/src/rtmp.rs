//! RTMP port: encoders publish, viewers play.

mod connection;
mod context;
mod message_timeout;
mod play;
mod publish;
mod read_buffer;
mod request;
mod session;
mod session_state;
mod stream_rate;

pub(crate) use context::RtmpContext;
pub(crate) use session::{refuse, serve};
