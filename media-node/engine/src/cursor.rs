//! The cursor: a reader's position in the log.

use std::sync::Arc;

use media_wire::flv::{Tracks, file_header};
use media_wire::relay::Mark;

use crate::batch::{Batch, SegmentRun};
use crate::init_data::InitData;
use crate::preamble::PreambleWriter;
use crate::segment::Segment;
use crate::stream::Stream;
use crate::subscription::{Format, Start};
use crate::window::{LogPosition, Window};

/// The next event of a cursor.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation for every viewer and pulse"
)]
pub enum CursorEvent {
    /// Bytes to send.
    Batch(Batch),
    /// The stream has ended.
    Ended,
}

/// A reader of a stream: a viewer or a relay. It leaves the stream when it is dropped.
///
/// # Guarantees
/// Batches are whole messages. A reader that lags behind the log continues at a keyframe. It keeps no more of the log
/// alive than the batch that it holds.
#[derive(Debug)]
pub struct Cursor {
    stream: Arc<Stream>,
    worker: usize,
    reader: ReaderState,
}

/// The state of a reader.
#[derive(Debug)]
struct ReaderState {
    position: CursorPosition,
    /// The number of the next segment when the reader joined, or when it last lagged.
    joined_at: u64,
    /// The mark that a relay's receiver expects, by the last mark and the messages after it.
    expected: Option<Mark>,
    sent_init: SentInitData,
    format: Format,
    /// The reader has had its first batch.
    started: bool,
    /// How often the log was renewed before the last batch.
    renewals: u32,
    /// The reader has lagged since its last batch.
    lagged: bool,
}

/// The init data that a reader has.
#[derive(Clone, Debug)]
enum SentInitData {
    Nothing,
    /// A relay's receiver has the init data in force at its starting position, from another upstream.
    InForceAtStart,
    /// A relay's receiver has this version.
    Version(u64),
    /// A viewer has these messages, of all epochs.
    Known(Arc<InitData>),
}

#[derive(Clone, Copy, Debug)]
enum CursorPosition {
    Seeking(Start),
    /// The number of the next segment. The reader has had everything before it.
    At(u64),
}

/// The segments that a reader gets next.
struct Selection {
    run: SegmentRun,
    /// The first sequence to read, if the first segment begins before it.
    sequence: Option<u64>,
    /// The tracks for the file header of a reader that starts.
    tracks: Tracks,
}

impl Stream {
    /// Returns a new reader. The notifier of `worker` wakes it.
    pub fn subscribe(self: &Arc<Self>, format: Format, start: Start, worker: usize) -> Cursor {
        if let Some(notifier) = self.notifiers().of(worker) {
            notifier.join();
        }
        self.reader_joined(format, worker);
        let start = match (format, start) {
            (Format::Flv | Format::Rtmp, Start::At(..) | Start::Resume(..)) => Start::Newest,
            _ => start,
        };
        let joined_at = self.window().end();
        Cursor {
            stream: Arc::clone(self),
            worker,
            reader: ReaderState {
                position: CursorPosition::Seeking(start),
                joined_at,
                expected: None,
                sent_init: SentInitData::Nothing,
                format,
                started: false,
                renewals: 0,
                lagged: false,
            },
        }
    }
}

impl Cursor {
    /// Returns the stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Returns the next event as soon as there is one. Cancel safe.
    pub async fn next(&mut self) -> CursorEvent {
        loop {
            if let Some(event) = self.reader.next(&self.stream) {
                return event;
            }
            let Some(notifier) = self.stream.notifiers().of(self.worker) else {
                return CursorEvent::Ended;
            };
            let waiter = notifier.waiter();
            // Segments that were committed before the waiter existed.
            if let Some(event) = self.reader.next(&self.stream) {
                return event;
            }
            waiter.notified().await;
        }
    }

    /// Skips segments before the newest keyframe, for a reader that has paused.
    pub fn catch_up(&mut self) {
        self.reader.catch_up(&self.stream.window());
    }

    /// Returns the next event if there is one.
    pub fn try_next(&mut self) -> Option<CursorEvent> {
        self.reader.next(&self.stream)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(notifier) = self.stream.notifiers().of(self.worker) {
            notifier.leave();
        }
        self.stream.reader_left(self.reader.format, self.worker);
    }
}

impl ReaderState {
    fn next(&mut self, stream: &Stream) -> Option<CursorEvent> {
        let window = stream.window();
        let selection = self.select(stream, &window);
        let ended = window.ended();
        drop(window);
        match selection {
            Some(selection) => Some(CursorEvent::Batch(self.batch(selection))),
            None => ended.then_some(CursorEvent::Ended),
        }
    }

    fn catch_up(&mut self, window: &Window) {
        if let (CursorPosition::At(number), Some(newest)) = (self.position, window.newest_start())
            && number < newest
        {
            self.position = CursorPosition::At(newest);
        }
    }

    fn select(&mut self, stream: &Stream, window: &Window) -> Option<Selection> {
        if let CursorPosition::At(number) = self.position
            && number < window.first()
        {
            self.lag(window);
            stream.reader_lagged();
        }
        let (mut start, tracks) = match self.position {
            CursorPosition::At(number) => (LogPosition::from(number), Tracks::default()),
            CursorPosition::Seeking(start) => self.seek(start, stream, window)?,
        };
        let is_viewer = self.format != Format::Relay;
        let skips = |segment: &Segment| is_viewer && segment.init_only;
        while window.get(start.segment).is_some_and(|next| skips(next)) {
            start.segment += 1;
        }
        if let CursorPosition::At(number) = &mut self.position {
            *number = start.segment;
        }
        let mut run = SegmentRun::new(Arc::clone(window.get(start.segment)?));
        let mut next = start.segment + 1;
        while window
            .get(next)
            .is_some_and(|segment| !skips(segment) && run.push(segment))
        {
            next += 1;
        }
        self.position = CursorPosition::At(next);
        Some(Selection {
            run,
            sequence: start.sequence,
            tracks,
        })
    }

    /// Gives up a position that has left the window.
    fn lag(&mut self, window: &Window) {
        self.position = CursorPosition::Seeking(Start::Newest);
        self.joined_at = window.end();
        self.lagged = true;
        if let SentInitData::InForceAtStart = self.sent_init {
            self.sent_init = SentInitData::Nothing;
        }
    }

    /// Returns the starting position, and the tracks for the file header.
    fn seek(
        &mut self,
        start: Start,
        stream: &Stream,
        window: &Window,
    ) -> Option<(LogPosition, Tracks)> {
        if let Start::At(epoch, sequence) | Start::Resume(epoch, sequence) = start {
            if let Some(position) = window.find(epoch, sequence) {
                self.position = CursorPosition::At(position.segment);
                self.sent_init = SentInitData::InForceAtStart;
                return Some((position, Tracks::default()));
            }
            // The publication is here, but has no message in the window yet.
            let awaited = window.newest_epoch() != Some(epoch) && stream.is_published_by(epoch);
            if awaited {
                return None;
            }
        }
        if start == Start::Newest && !self.started && !window.may_join(self.joined_at) {
            return None;
        }
        let number = match (start, self.format) {
            (Start::Oldest, _) => window.oldest_start()?,
            (Start::Resume(..), _) => window.resume_start()?,
            (_, Format::Relay) => window.newest_relay_start()?,
            (_, Format::Flv | Format::Rtmp) => window.start_since(self.joined_at)?,
        };
        let tracks = match self.format {
            Format::Flv if !self.started => window.tracks_at(number)?,
            _ => Tracks::default(),
        };
        Some((number.into(), tracks))
    }

    fn batch(&mut self, selection: Selection) -> Batch {
        let Selection {
            run,
            sequence,
            tracks,
        } = selection;
        let segment = &run.first;
        let mut preamble = PreambleWriter::default();
        if !self.started && self.format != Format::Rtmp {
            preamble.copy(&file_header(tracks));
        }
        let init_data = &segment.init_data;
        let init_is_new = match &self.sent_init {
            SentInitData::Nothing => true,
            SentInitData::InForceAtStart => false,
            SentInitData::Version(sent) => *sent != init_data.version(),
            SentInitData::Known(known) => known.version() != init_data.version(),
        };
        let timestamp = segment.first_timestamp;
        match self.format {
            Format::Flv | Format::Rtmp if init_is_new => {
                self.write_changed_init(init_data, timestamp, &mut preamble);
            }
            Format::Relay if init_is_new => {
                init_data.write_relay(&mut preamble, segment.mark, timestamp);
                self.expected = None;
            }
            _ => {}
        }
        let mut offset = 0;
        if self.format == Format::Relay {
            offset = self.write_mark(segment, sequence, &mut preamble);
            self.expected = Some(run.last().end());
            self.sent_init = SentInitData::Version(run.last().init_version_after);
        }
        let renewals = std::mem::replace(&mut self.renewals, segment.renewals);
        let renewed = std::mem::replace(&mut self.started, true) && renewals != self.renewals;
        let lagged = std::mem::take(&mut self.lagged);
        let preamble = preamble.finish();
        let mut batch = match self.format {
            Format::Flv | Format::Relay => Batch::flv(preamble, run, offset, lagged),
            Format::Rtmp => Batch::rtmp(preamble, run, lagged),
        };
        batch.renewed = renewed;
        batch
    }

    /// Writes the messages that a viewer lacks.
    fn write_changed_init(
        &mut self,
        init_data: &Arc<InitData>,
        next: u32,
        out: &mut PreambleWriter,
    ) {
        let known = match &self.sent_init {
            SentInitData::Known(known) => Arc::clone(known),
            _ => Arc::default(),
        };
        match self.format {
            Format::Rtmp => init_data.write_rtmp(&known, out, next),
            Format::Flv | Format::Relay => init_data.write_flv(&known, out, next),
        }
        self.sent_init = SentInitData::Known(init_data.merged_over(&known));
    }

    /// Writes a mark if the receiver does not expect this position. Returns the offset in the segment to start at.
    fn write_mark(
        &self,
        segment: &Segment,
        sequence: Option<u64>,
        out: &mut PreambleWriter,
    ) -> usize {
        let mark = Mark {
            sequence: sequence.unwrap_or(segment.mark.sequence),
            ..segment.mark
        };
        if self.expected != Some(mark) {
            out.copy(&mark.encode());
        }
        sequence.map_or(0, |sequence| segment.offset_of(sequence))
    }
}
