//! The cursor: a reader's position in the log.

mod batches;

use std::sync::Arc;

use media_wire::flv::Tracks;
use media_wire::relay::Mark;

use crate::batch::Batch;
use crate::init_data::InitData;
use crate::segment::Segment;
use crate::segment_run::{PlacedRun, SegmentRun};
use crate::stream::Stream;
use crate::subscription::{Format, Start};
use crate::window::{LogPosition, Window};

/// The next event of a cursor.
#[derive(Debug)]
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
    /// The number of the worker's notifications after which the reader found the end of the log. There is nothing new until
    /// the next notification. [`NOTHING_SEEN`] otherwise.
    seen: u64,
    worker: u16,
    format: Format,
    /// How often the log was renewed before the last batch. [`NOT_STARTED`] before the first batch.
    renewals: u32,
    progress: Progress,
}

/// How much of the log a reader has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    UpToDate,
    /// A part. The log keeps the whole window for viewers.
    Behind,
    /// The same, and the reader has lagged since its last batch.
    Lagged,
}

/// The value of [`ReaderState::renewals`] before the first batch. No log is renewed so often.
const NOT_STARTED: u32 = u32::MAX;

/// The value of [`ReaderState::seen`] while the log may have more. No worker has so many notifications.
const NOTHING_SEEN: u64 = u64::MAX;

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
    /// The number of the next segment. The reader has been sent everything before it.
    At(u64),
}

/// The segments that a reader gets next.
struct Selection {
    run: Arc<SegmentRun>,
    /// The first sequence to read, if the first segment begins before it.
    sequence: Option<u64>,
    /// The tracks for the file header of a reader that starts.
    tracks: Tracks,
}

impl Stream {
    /// Returns a new reader. The notifier of `worker` wakes it.
    pub fn subscribe(self: &Arc<Self>, format: Format, start: Start, worker: usize) -> Cursor {
        let worker = self.reader_joined(format, worker);
        let start = match (format, start) {
            (Format::Flv | Format::Rtmp, Start::At(..) | Start::Resume(..) | Start::Before(..)) => {
                Start::Newest
            }
            _ => start,
        };
        let joined_at = self.window().end();
        Cursor {
            stream: Arc::clone(self),
            reader: ReaderState {
                position: CursorPosition::Seeking(start),
                joined_at,
                expected: None,
                sent_init: SentInitData::Nothing,
                seen: NOTHING_SEEN,
                worker,
                format,
                renewals: NOT_STARTED,
                progress: Progress::UpToDate,
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
            if let Some(event) = self.try_next() {
                return event;
            }
            self.ready().await;
        }
    }

    /// Waits until [`Cursor::try_next`] may return an event. Cancel safe.
    pub async fn ready(&self) {
        let Some(notifier) = self.stream.notifiers().of(self.reader.worker.into()) else {
            return;
        };
        if self.reader.seen != notifier.notifications() {
            return;
        }
        let waiter = notifier.waiter();
        // Segments that were committed before the waiter existed.
        if self.reader.seen == notifier.notifications() {
            waiter.notified().await;
        }
    }

    /// Notes that the reader's connection does not accept the last batch yet. The log keeps the whole window until the reader has
    /// caught up.
    pub fn fall_behind(&mut self) {
        if self.reader.progress == Progress::UpToDate {
            self.reader.set_progress(&self.stream, Progress::Behind);
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
        self.reader.set_progress(&self.stream, Progress::UpToDate);
        self.stream
            .reader_left(self.reader.format, self.reader.worker);
    }
}

impl ReaderState {
    fn next(&mut self, stream: &Stream) -> Option<CursorEvent> {
        let notifier = stream.notifiers().of(self.worker.into())?;
        // Read before the log: what is committed later has a later notification.
        let notifications = notifier.notifications();
        if let Some(from) = self.viewer_position() {
            if self.seen == notifications {
                return None;
            }
            let newest = stream.newest_run(self.worker)?;
            if let Some(placed) = newest.at(from, notifications) {
                let selection = self.take(placed);
                self.catch_up_at_end(stream);
                return Some(CursorEvent::Batch(self.batch(selection, stream)));
            }
        }
        let window = stream.window();
        let from = self.viewer_position();
        let selection = self.select(stream, &window);
        let ended = window.ended();
        let next = window.end();
        drop(window);
        let is_last = matches!(self.position, CursorPosition::At(number) if number == next);
        let at_end = !ended && (is_last || selection.is_none());
        self.seen = if at_end { notifications } else { NOTHING_SEEN };
        // Its connection may take long to accept the first batch, which has the init data as well.
        let starts = !self.has_started() && selection.is_some();
        if starts {
            self.set_progress(stream, Progress::Behind)
        } else {
            self.catch_up_at_end(stream)
        }
        let Some(selection) = selection else {
            return ended.then_some(CursorEvent::Ended);
        };
        // A reader that lags is counted by itself.
        let has_lagged = self.progress == Progress::Lagged;
        if let (Some(from), Some(next), false) = (from, self.viewer_position(), has_lagged) {
            stream.newest_run(self.worker)?.set(Some(PlacedRun {
                run: Arc::clone(&selection.run),
                notifications,
                from,
                next,
                seen: self.seen,
            }));
        }
        Some(CursorEvent::Batch(self.batch(selection, stream)))
    }

    fn catch_up_at_end(&mut self, stream: &Stream) {
        if self.progress == Progress::Behind && self.seen != NOTHING_SEEN {
            self.set_progress(stream, Progress::UpToDate);
        }
    }

    fn set_progress(&mut self, stream: &Stream, progress: Progress) {
        let was_up_to_date = self.progress == Progress::UpToDate;
        let is_up_to_date = progress == Progress::UpToDate;
        self.progress = progress;
        if self.format == Format::Relay || was_up_to_date == is_up_to_date {
            return;
        }
        if is_up_to_date {
            stream.window_readers().viewer_caught_up()
        } else {
            stream.window_readers().viewer_fell_behind()
        }
    }

    /// Returns the number of the next segment of a viewer that has started.
    fn viewer_position(&self) -> Option<u64> {
        match (self.position, self.format) {
            (CursorPosition::At(number), Format::Flv | Format::Rtmp) => Some(number),
            _ => None,
        }
    }

    /// Takes the run of another viewer of the same worker.
    fn take(&mut self, placed: PlacedRun) -> Selection {
        self.position = CursorPosition::At(placed.next);
        self.seen = placed.seen;
        Selection {
            run: placed.run,
            sequence: None,
            tracks: Tracks::default(),
        }
    }

    fn has_started(&self) -> bool {
        self.renewals != NOT_STARTED
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
            self.lag(number, window);
            self.set_progress(stream, Progress::Lagged);
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
            run: Arc::new(run),
            sequence: start.sequence,
            tracks,
        })
    }

    /// Abandons a position that has left the window. A reader that is slow continues at the newest keyframe, as it would lag again.
    fn lag(&mut self, number: u64, window: &Window) {
        let after_burst = window.start_after_burst(number);
        let newest = CursorPosition::Seeking(Start::Newest);
        self.position = after_burst.map_or(newest, CursorPosition::At);
        self.joined_at = window.end();
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
        let start = match start {
            // Another media node had the beginning, so the first messages here are old.
            Start::Oldest if self.format != Format::Relay && window.is_resumed() => Start::Newest,
            // They have seen a later publication, and join one that was on air before: they lack nothing of it.
            Start::Resume(epoch, _) if window.newest_epoch() < Some(epoch) => Start::Newest,
            start => start,
        };
        let joins = matches!(start, Start::Newest | Start::At(..)) && !self.has_started();
        if joins && !window.may_join(self.joined_at) {
            return None;
        }
        let number = match (start, self.format) {
            (Start::Oldest, _) => window.oldest_start()?,
            (Start::Resume(..), _) => window.resume_start()?,
            (Start::Before(epoch, sequence), _) => window
                .start_before(epoch, sequence)
                .or_else(|| window.oldest_start())?,
            (_, Format::Relay) => window.newest_relay_start()?,
            (_, Format::Flv | Format::Rtmp) => window.start_since(self.joined_at)?,
        };
        let tracks = match self.format {
            Format::Flv if !self.has_started() => window.tracks_at(number)?,
            _ => Tracks::default(),
        };
        Some((number.into(), tracks))
    }
}
