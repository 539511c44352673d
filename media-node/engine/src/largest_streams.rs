//! Ends the streams that need the most memory, when the groups of pictures of all streams do not fit: encoders that were accepted have
//! raised their bitrates. Otherwise the logs would give up the groups that new viewers need, and the kernel would end the process.

use std::cmp::Reverse;
use std::sync::Arc;

use media_wire::StreamKey;

use crate::media_memory::{MediaMemory, OutOfMemory};
use crate::segment::Segment;
use crate::stream::Stream;
use crate::stream_table::{RegisteredStream, StreamTable};

/// A stream that was ended for want of memory.
#[derive(Debug)]
pub struct EndedStream {
    /// The name of the stream.
    pub key: StreamKey,
    /// The bytes that its groups of pictures needed.
    pub bytes: usize,
    /// What was in memory, to be dropped outside of locks.
    _log: Vec<Arc<Segment>>,
}

/// Ends streams until the groups of pictures of the others fit into `bytes`: those without readers first, and of them the largest ones. A
/// stream within an equal share stays.
pub(crate) fn end_largest(
    streams: &mut StreamTable,
    memory: &MediaMemory,
    bytes: usize,
) -> Vec<EndedStream> {
    if memory.reserved_above(bytes) == 0 {
        return Vec::new();
    }
    streams.remove(RegisteredStream::is_idle);
    let share = memory.share_of(bytes);
    let mut largest: Vec<_> = streams
        .published()
        .map(|stream| (stream.window().reservation.bytes(), Arc::clone(stream)))
        .filter(|(reserved, _)| *reserved > share)
        .collect();
    largest.sort_by_key(|(reserved, stream)| (stream.is_watched(), Reverse(*reserved)));
    let mut ended = Vec::new();
    for (reserved, stream) in largest {
        if memory.reserved_above(bytes) == 0 {
            break;
        }
        streams.remove_stream(stream.key());
        memory.count_ended();
        ended.push(EndedStream {
            key: stream.key().clone(),
            bytes: reserved,
            _log: end(&stream, memory.refuse()),
        });
    }
    ended
}

/// Ends a stream, and refuses its publisher with `error`. Returns its log: until that is dropped, other streams would give up more than
/// they have to.
fn end(stream: &Stream, error: OutOfMemory) -> Vec<Arc<Segment>> {
    let mut state = stream.write_state();
    if let Some(active) = &state.publication {
        active.token.refuse(error);
    }
    stream.hand_over(&mut state, None);
    drop(state);
    let log = stream.window().give_up();
    stream.end();
    log
}
