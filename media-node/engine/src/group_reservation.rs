//! The media memory that a stream reserves: the bytes that its groups of pictures need.

use std::time::Duration;

use crate::media_memory::Reservation;

/// The number of sweeps, about one a second, after which a group of pictures is longer than those of usual encoders.
const LONG_GROUP: u32 = 10;

/// The reservation of a stream, from its first publication to its end.
#[derive(Debug, Default)]
pub(crate) struct GroupReservation {
    reservation: Option<Reservation>,
    /// Memory of the newest group of pictures: of the segments since the last one where viewers start, including evicted ones.
    newest: Option<usize>,
    /// Sweeps since the newest group of pictures began.
    sweeps: u32,
}

impl GroupReservation {
    pub(crate) fn begin(&mut self, reservation: Reservation) {
        self.reservation = Some(reservation);
    }

    pub(crate) fn end(&mut self) {
        self.reservation = None;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.reservation.as_ref().map_or(0, Reservation::bytes)
    }

    /// Notes that the next segment belongs to another publication.
    pub(crate) fn begin_epoch(&mut self) {
        self.newest = None;
    }

    /// Measures a segment. Reserves the size of the last complete group of pictures, or of the newest one if that is larger already.
    /// `starts` is whether viewers start at the segment.
    pub(crate) fn measure(&mut self, bytes: usize, starts: bool) {
        let before = self.newest;
        self.newest = if starts {
            Some(bytes)
        } else {
            before.map(|before| before + bytes)
        };
        if starts {
            self.sweeps = 0;
        }
        let newest = self.newest.unwrap_or(0);
        if let Some(reservation) = &mut self.reservation {
            reservation.update(before.filter(|_| starts), newest);
        }
    }

    /// Reserves what the first group of pictures needs at its rate, `age` after the publication began.
    pub(crate) fn settle_first(&mut self, age: Duration) {
        let newest = self.newest.unwrap_or(0);
        if let Some(reservation) = &mut self.reservation {
            reservation.settle_first(newest, age);
        }
    }

    /// Counts a sweep. A group of pictures that does not end reserves no more than the `bytes` in memory: evicted segments are not
    /// needed again.
    pub(crate) fn sweep(&mut self, bytes: usize) {
        self.sweeps = self.sweeps.saturating_add(1);
        if self.sweeps > LONG_GROUP {
            self.newest = self.newest.map(|newest| newest.min(bytes));
            self.settle(bytes);
        }
    }

    /// Reserves no more than the `bytes` in memory.
    pub(crate) fn settle(&mut self, bytes: usize) {
        if let Some(reservation) = &mut self.reservation {
            reservation.set(reservation.bytes().min(bytes));
        }
    }
}
