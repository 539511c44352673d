//! Live streams: publication, log, cursors. This crate knows media and no sockets.
//!
//! ```text
//!   encoder ─┐                        ┌─ Cursor (FLV)   ─ viewer
//!   relay   ─┴ Publication ─> log ──> ├─ Cursor (RTMP)  ─ viewer
//!             one per stream   │      └─ Cursor (Relay) ─ another media node
//!                              │
//!        ... [segment][segment][keyframe segment][segment] <- open
//!             window ...........^ newest start             ^ sealed on the pulse
//! ```
//!
//! 1. [`Registry::publish`] returns the one [`Publication`] of a stream, which appends messages.
//! 2. Messages get the log's timestamps and collect in the open segment. A keyframe always opens a segment.
//! 3. [`Publication::pulse`] seals: the messages are muxed as FLV tags, once, into an immutable segment. The window keeps
//!    the newest group of pictures and some seconds before it. Each worker has a pulse of its own, which follows the load that
//!    [`Registry::report_load`] reports.
//! 4. [`Stream::subscribe`] returns a [`Cursor`], which is the number of the next segment. [`Cursor::next`] returns the
//!    segment as a [`Batch`]: FLV readers share its bytes, RTMP viewers share a gather list over the same bytes. A viewer
//!    that joined before the publication starts at its beginning, a later one at the newest keyframe.
//! 5. A cursor whose number has left the window has lagged. It jumps to the newest keyframe, and the jump is counted.
//! 6. A later publication of the stream continues the same log: timestamps continue, viewers stay.
//! 7. A [`Standby`] is an encoder that waits for its turn: it keeps init data and no media.
//! 8. [`Registry::sweep`] ends streams whose publisher does not return in time.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use media_engine::{DuplicatePolicy, EngineSettings, Epoch, Format, CursorEvent, Registry, PublicationSource, Start};
//! use media_wire::{MediaKind, Message, StreamKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(EngineSettings::default());
//! let key = StreamKey::new(None, "live", "livestream")?;
//! let (epoch, now) = (Epoch(1), Instant::now());
//! let mut publication = registry.publish(&key, epoch, PublicationSource::Encoder, DuplicatePolicy::Takeover, now)?;
//! let mut cursor = publication.stream().subscribe(Format::Rtmp, Start::Newest, 0);
//! let payload = Bytes::from_static(b"\x17\x01\x00\x00\x00 a keyframe");
//! publication.append(Message { kind: MediaKind::Video, timestamp: 0, payload });
//! publication.pulse(now); // again at the instant that it returns, or after the next messages
//! assert!(matches!(cursor.try_next(), Some(CursorEvent::Batch(batch)) if batch.keyframe));
//! # Ok(()) }
//! ```
//!
//! Read in this order: `writer` (message to segment), `message_class`, `segment`, `window` (the log), `cursor`, `segment_run`,
//! `batch`, then `media_memory`, `largest_streams`, `timeline`, `stream`, `notifier`, `pulse`, `publication`, `registry`.

mod active_publication;
mod batch;
mod cursor;
mod group_reservation;
mod init_data;
mod largest_streams;
mod lock;
mod log_counters;
mod media_memory;
mod message_class;
mod notifier;
mod preamble;
mod publication;
mod pulse;
mod registry;
mod retention;
mod rtmp_headers;
mod segment;
mod segment_run;
mod settings;
mod standby;
mod stream;
mod stream_state;
mod stream_table;
mod subscription;
mod timeline;
mod tracks;
mod window;
mod worker_pulses;
mod write_state;
mod writer;

pub use batch::Batch;
pub use cursor::{Cursor, CursorEvent};
pub use largest_streams::EndedStream;
pub use media_memory::{IncompleteMessages, MemoryStats, OutOfMemory};
pub use publication::Publication;
pub use registry::{DuplicatePolicy, PublishError, Registry, StandbyError};
pub use retention::KeptWindow;
pub use settings::{EngineSettings, InitDataLimits};
pub use standby::{Standby, StandbyMessage, TooManyStandbys};
pub use stream::{NewestKeyframe, PublicationSearch, Stream};
pub use stream_state::{
    PublicationInfo, PublicationSource, ReaderCounts, StreamState, StreamStats,
};
pub use stream_table::TooManyStreams;
pub use subscription::{Format, Start};
pub use tracks::announced_tracks;
pub use writer::Appended;

pub use media_wire::relay::{Epoch, Mark};
