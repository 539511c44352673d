//! A reader: a place in the log, and nothing else.

use std::sync::Arc;

use media_wire::flv::{Tracks, file_header};
use media_wire::relay::{Epoch, Mark};

use crate::batch::{Batch, Run};
use crate::segment::Segment;
use crate::stream::Stream;
use crate::window::{Place, Window};

/// The form in which a reader gets a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FLV with its file header.
    Flv,
    /// Chunks for a connection whose chunk size is [`media_wire::rtmp::CHUNK_SIZE`]. Batches are whole messages.
    Rtmp,
    /// FLV with marks, for a node.
    Relay,
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe; a viewer that was there before the publication, at its beginning while all of it is kept.
    Newest,
    /// At the oldest keyframe of the newest epoch.
    Oldest,
    /// A relay, at a message of a publication; at the newest keyframe when the message is no longer there. Viewers
    /// start at the newest keyframe.
    At(Epoch, u64),
}

/// What comes next.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation for every viewer and pulse"
)]
pub enum CursorEvent {
    /// Bytes to send.
    Batch(Batch),
    /// The stream is over.
    Ended,
}

/// A reader of a stream: a viewer or a relay. Dropped, it is gone.
///
/// # Guarantees
/// Batches are whole messages. A reader that is outrun goes on at a keyframe. It never keeps more of the log alive than
/// the batch that it holds.
#[derive(Debug)]
pub struct Cursor {
    stream: Arc<Stream>,
    worker: usize,
    reader: Reader,
}

/// What is known of a reader.
#[derive(Debug)]
struct Reader {
    position: Position,
    /// The number that the next segment had when the reader came, or when it was outrun.
    came: u64,
    /// What a relay's receiver expects next, by the last mark and the messages since then.
    expected: Option<Mark>,
    knows: Knows,
    format: Format,
    /// It has had its first batch.
    joined: bool,
    /// It has lagged behind the log since its last batch.
    lagged: bool,
}

/// Which prelude a reader has.
#[derive(Clone, Copy, Debug)]
enum Knows {
    Nothing,
    /// The one in force where it starts.
    WhatCameBefore,
    Version(u64),
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Seeking(Start),
    /// The number of the next segment; the reader knows what came before.
    At(u64),
}

/// What was found for a reader.
struct Found {
    run: Run,
    /// The first sequence to read, when the segment begins before it.
    sequence: Option<u64>,
    /// For the file header of a reader that joins.
    tracks: Tracks,
}

impl Cursor {
    pub(crate) fn new(stream: Arc<Stream>, format: Format, start: Start, worker: usize) -> Self {
        if let Some(bell) = stream.bells().of(worker) {
            bell.join();
        }
        stream.reader_came(format);
        let start = match (format, start) {
            (Format::Flv | Format::Rtmp, Start::At(..)) => Start::Newest,
            _ => start,
        };
        let came = stream.window().end();
        Self {
            stream,
            worker,
            reader: Reader {
                position: Position::Seeking(start),
                came,
                expected: None,
                knows: Knows::Nothing,
                format,
                joined: false,
                lagged: false,
            },
        }
    }

    /// The stream that it reads.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// What comes next, as soon as it is there. May be dropped and called again.
    pub async fn next(&mut self) -> CursorEvent {
        loop {
            if let Some(next) = self.reader.next(&self.stream) {
                return next;
            }
            let Some(bell) = self.stream.bells().of(self.worker) else {
                return CursorEvent::Ended;
            };
            let listening = bell.listen();
            // What came before the bell was listened to.
            if let Some(next) = self.reader.next(&self.stream) {
                return next;
            }
            listening.rung().await;
        }
    }

    /// Leaves out what lies before the newest keyframe, if the reader is not past it: for one that has paused.
    pub fn catch_up(&mut self) {
        self.reader.catch_up(&self.stream.window());
    }

    /// What comes next, if it is there.
    pub fn try_next(&mut self) -> Option<CursorEvent> {
        self.reader.next(&self.stream)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(bell) = self.stream.bells().of(self.worker) {
            bell.leave();
        }
        self.stream.reader_left(self.reader.format);
    }
}

impl Reader {
    fn next(&mut self, stream: &Stream) -> Option<CursorEvent> {
        let window = stream.window();
        let found = self.find(stream, &window);
        let ended = window.ended();
        drop(window);
        match found {
            Some(found) => Some(CursorEvent::Batch(self.batch(found))),
            None => ended.then_some(CursorEvent::Ended),
        }
    }

    fn catch_up(&mut self, window: &Window) {
        if let (Position::At(number), Some(newest)) = (self.position, window.newest_start())
            && number < newest
        {
            self.position = Position::At(newest);
        }
    }

    fn find(&mut self, stream: &Stream, window: &Window) -> Option<Found> {
        if let Position::At(number) = self.position
            && number < window.first()
        {
            self.position = Position::Seeking(Start::Newest);
            self.came = window.end();
            self.lagged = true;
            if let Knows::WhatCameBefore = self.knows {
                self.knows = Knows::Nothing;
            }
            stream.reader_lagged();
        }
        let (place, tracks) = match self.position {
            Position::At(number) => (Place::from(number), Tracks::default()),
            Position::Seeking(start) => self.seek(start, stream, window)?,
        };
        let mut run = Run::new(Arc::clone(window.get(place.segment)?));
        let mut next = place.segment + 1;
        while window.get(next).is_some_and(|segment| run.push(segment)) {
            next += 1;
        }
        self.position = Position::At(next);
        Some(Found {
            run,
            sequence: place.sequence,
            tracks,
        })
    }

    /// Where to start, and the tracks to tell of.
    fn seek(&mut self, start: Start, stream: &Stream, window: &Window) -> Option<(Place, Tracks)> {
        if let Start::At(epoch, sequence) = start {
            if let Some(place) = window.find(epoch, sequence) {
                self.position = Position::At(place.segment);
                self.knows = Knows::WhatCameBefore;
                return Some((place, Tracks::default()));
            }
            // The publication that it knows is here, but has not said a word yet.
            let awaited = window.newest_epoch() != Some(epoch) && stream.is_published_by(epoch);
            if awaited {
                return None;
            }
        }
        let number = match (start, self.format) {
            (Start::Oldest, _) => window.oldest_start()?,
            (_, Format::Relay) => window.newest_relay_start()?,
            (_, Format::Flv | Format::Rtmp) => window.start_since(self.came)?,
        };
        let tracks = match self.format {
            Format::Flv if !self.joined => window.tracks_at(number)?,
            _ => Tracks::default(),
        };
        Some((number.into(), tracks))
    }

    fn batch(&mut self, found: Found) -> Batch {
        let segment = &found.run.first;
        let mut preamble = Vec::new();
        if !self.joined && self.format != Format::Rtmp {
            preamble.extend_from_slice(&file_header(found.tracks));
        }
        let prelude = &segment.prelude;
        let prelude_is_new = match self.knows {
            Knows::Nothing => true,
            Knows::WhatCameBefore => false,
            Knows::Version(known) => known != prelude.version(),
        };
        let timestamp = segment.begin;
        match self.format {
            Format::Flv if prelude_is_new => prelude.write_flv(&mut preamble, timestamp),
            Format::Rtmp if prelude_is_new => prelude.write_rtmp(&mut preamble, timestamp),
            Format::Relay if prelude_is_new => {
                prelude.write_relay(&mut preamble, segment.mark, timestamp);
                self.expected = None;
            }
            _ => {}
        }
        let mut offset = 0;
        if self.format == Format::Relay {
            offset = self.mark(segment, found.sequence, &mut preamble);
            self.expected = Some(found.run.last().end());
        }
        self.knows = Knows::Version(found.run.last().prelude_after);
        self.joined = true;
        let lagged = std::mem::take(&mut self.lagged);
        match self.format {
            Format::Flv | Format::Relay => Batch::flv(preamble.into(), found.run, offset, lagged),
            Format::Rtmp => Batch::rtmp(preamble.into(), found.run, lagged),
        }
    }

    /// Writes a mark where the receiver would expect something else; returns where in the segment to begin.
    fn mark(&self, segment: &Segment, sequence: Option<u64>, out: &mut Vec<u8>) -> usize {
        let mark = Mark {
            sequence: sequence.unwrap_or(segment.mark.sequence),
            ..segment.mark
        };
        if self.expected != Some(mark) {
            out.extend_from_slice(&mark.encode());
        }
        sequence.map_or(0, |sequence| segment.offset_of(sequence))
    }
}
