//! Turns the segments that a cursor has selected into a batch, preceded by the file header, init data or mark that its reader lacks.

use std::sync::Arc;

use media_wire::flv::{Tracks, file_header};
use media_wire::relay::Mark;

use super::{Progress, ReaderState, Selection, SentInitData};
use crate::batch::Batch;
use crate::preamble::{Preamble, PreambleWriter};
use crate::segment::Segment;
use crate::stream::Stream;
use crate::subscription::Format;

impl ReaderState {
    pub(super) fn batch(&mut self, selection: Selection, stream: &Stream) -> Batch {
        let Selection {
            run,
            sequence,
            tracks,
        } = selection;
        let segment = &run.first;
        let mut offset = 0;
        let preamble = match self.format {
            Format::Relay => {
                let mut preamble = PreambleWriter::default();
                offset = self.write_relay_preamble(segment, sequence, tracks, &mut preamble);
                self.expected = Some(run.last().end());
                self.sent_init = SentInitData::Version(run.last().init_version_after);
                preamble.finish()
            }
            Format::Flv | Format::Rtmp => self.viewer_preamble(segment, tracks, stream),
        };
        let renewed = self.has_started() && self.renewals != segment.renewals;
        self.renewals = segment.renewals;
        let lagged = self.progress == Progress::Lagged;
        if lagged {
            self.progress = Progress::Behind;
        }
        let mut batch = match self.format {
            Format::Flv | Format::Relay => Batch::flv(preamble, run, offset, lagged),
            Format::Rtmp => Batch::rtmp(preamble, run, lagged),
        };
        batch.renewed = renewed;
        batch
    }

    /// Returns the bytes before a viewer's segment. Most segments need none.
    fn viewer_preamble(
        &mut self,
        segment: &Segment,
        tracks: Tracks,
        stream: &Stream,
    ) -> Option<Preamble> {
        let init_data = &segment.init_data;
        match &self.sent_init {
            SentInitData::Known(known) if known.version() == init_data.version() => None,
            SentInitData::Known(known) => {
                let known = Arc::clone(known);
                let mut preamble = PreambleWriter::default();
                init_data.write(self.format, &known, &mut preamble, segment.first_timestamp);
                let max_messages = stream.init_data_limits().messages;
                self.sent_init = SentInitData::Known(init_data.merged_over(&known, max_messages));
                preamble.finish()
            }
            _ => {
                self.sent_init = SentInitData::Known(Arc::clone(init_data));
                segment.start_preamble(self.format, tracks)
            }
        }
    }

    /// Writes what a relay's receiver needs before a segment. Returns the offset in the segment to start at.
    fn write_relay_preamble(
        &mut self,
        segment: &Segment,
        sequence: Option<u64>,
        tracks: Tracks,
        out: &mut PreambleWriter,
    ) -> usize {
        if !self.has_started() {
            out.copy(&file_header(tracks));
        }
        let init_is_new = match &self.sent_init {
            SentInitData::InForceAtStart => false,
            SentInitData::Version(sent) => *sent != segment.init_data.version(),
            SentInitData::Nothing | SentInitData::Known(_) => true,
        };
        if init_is_new {
            let init_data = &segment.init_data;
            init_data.write_relay(out, segment.mark, segment.first_timestamp);
            self.expected = None;
        }
        self.write_mark(segment, sequence, out)
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
