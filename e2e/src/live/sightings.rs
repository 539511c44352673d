//! What a viewer saw, and what is to be said about it.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use media_wire::{MediaKind, Message};

use super::film::Stamp;

/// Everything that one viewer saw.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// Whether the node has promised the stream.
    pub accepted: bool,
    /// Pictures and sounds in the order in which they came.
    pub seen: Vec<Sighting>,
    /// Sequence headers that came.
    pub headers: usize,
    /// When and how it ended.
    pub end: Option<(Instant, String)>,
    began_well: Option<bool>,
}

/// One picture or sound.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// When it came.
    pub at: Instant,
    /// Whether it is a picture.
    pub picture: bool,
    /// Whether a viewer can start here.
    pub keyframe: bool,
    /// Its time in milliseconds.
    pub timestamp: u32,
    /// Who sent it, and its number.
    pub stamp: Stamp,
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.picture, self.keyframe) {
            (true, true) => "keyframe",
            (true, false) => "picture",
            (false, _) => "sound",
        };
        let Stamp { film, number } = self.stamp;
        write!(f, "{what} {number} of film {film} at {} ms", self.timestamp)
    }
}

impl Sightings {
    /// Takes one more message.
    pub fn push(&mut self, at: Instant, message: &Message) {
        if message.is_sequence_header() {
            self.headers += 1;
        }
        let Some(stamp) = Stamp::of(message) else {
            return;
        };
        let sighting = Sighting {
            at,
            picture: message.kind == MediaKind::Video,
            keyframe: message.is_keyframe(),
            timestamp: message.timestamp,
            stamp,
        };
        if sighting.picture && self.began_well.is_none() {
            self.began_well = Some(sighting.keyframe && self.headers >= 2);
        }
        self.seen.push(sighting);
    }

    /// The pictures.
    pub fn pictures(&self) -> impl Iterator<Item = &Sighting> {
        self.seen.iter().filter(|sighting| sighting.picture)
    }

    /// The newest picture's number.
    pub fn newest(&self) -> Option<u64> {
        self.pictures().last().map(|picture| picture.stamp.number)
    }

    /// Fails unless it began with the headers and a keyframe, and time never went back.
    ///
    /// # Errors
    /// Names what was seen instead.
    pub fn is_well_formed(&self) -> anyhow::Result<()> {
        ensure!(
            self.began_well == Some(true),
            "expected both sequence headers and then a keyframe; seen {} headers and first {}",
            self.headers,
            self.pictures()
                .next()
                .map_or("no picture".to_owned(), ToString::to_string)
        );
        for (before, after) in self.seen.iter().zip(self.seen.iter().skip(1)) {
            ensure!(
                after.timestamp.wrapping_sub(before.timestamp) <= u32::MAX / 2,
                "expected time never to go back; seen {after} right after {before}"
            );
        }
        Ok(())
    }

    /// Fails if anything came that another encoder sent.
    ///
    /// # Errors
    /// Names it.
    pub fn is_only_of(&self, film: u32) -> anyhow::Result<()> {
        match self.seen.iter().find(|it| it.stamp.film != film) {
            None => Ok(()),
            Some(strange) => bail!("expected nothing but film {film}; seen {strange}"),
        }
    }

    /// Fails unless every picture and every sound came, each once and in order, from the first to the last one seen.
    ///
    /// # Errors
    /// Names the place.
    pub fn has_no_gap(&self) -> anyhow::Result<()> {
        self.jumps("each one once and in order", |before, after| {
            after == before + 1
        })
    }

    /// Fails if a picture or sound came twice or in the wrong order. Some may be lost.
    ///
    /// # Errors
    /// Names the place.
    pub fn has_nothing_twice(&self) -> anyhow::Result<()> {
        self.jumps("none twice and all in order", |before, after| {
            after > before
        })
    }

    fn jumps(&self, expected: &str, allowed: fn(u64, u64) -> bool) -> anyhow::Result<()> {
        for picture in [true, false] {
            let mut before: Option<&Sighting> = None;
            for sighting in self.seen.iter().filter(|it| it.picture == picture) {
                if let Some(before) = before
                    && before.stamp.film == sighting.stamp.film
                    && !allowed(before.stamp.number, sighting.stamp.number)
                {
                    bail!("expected {expected}; seen {sighting} right after {before}");
                }
                before = Some(sighting);
            }
        }
        Ok(())
    }

    /// The longest time without a picture, from the first one on, and until `now` unless it ended.
    pub fn longest_stall(&self, now: Instant) -> Duration {
        let end = self.end.as_ref().map_or(now, |(at, _)| *at);
        let arrivals = || self.pictures().map(|picture| picture.at);
        arrivals()
            .zip(arrivals().skip(1).chain([end]))
            .map(|(before, after)| after.saturating_duration_since(before))
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::film;
    use super::*;

    fn saw(numbers: impl IntoIterator<Item = u64>) -> Sightings {
        let mut sightings = Sightings::default();
        let now = Instant::now();
        for header in film::headers() {
            sightings.push(now, &header);
        }
        for number in numbers {
            let timestamp = u32::try_from(number * 40).unwrap();
            let at = now + Duration::from_millis(number * 40);
            for message in film::picture(Stamp { film: 1, number }, timestamp) {
                sightings.push(at, &message);
            }
        }
        sightings
    }

    #[test]
    fn a_whole_film_has_no_fault() {
        let sightings = saw(25..100);
        sightings.is_well_formed().unwrap();
        sightings.has_no_gap().unwrap();
        assert_eq!(sightings.newest(), Some(99));
        let last = sightings.seen.last().unwrap().at;
        assert_eq!(sightings.longest_stall(last), Duration::from_millis(40));
    }

    #[test]
    fn a_lost_picture_is_a_gap_but_not_twice() {
        let sightings = saw((25..40).chain(50..60));
        assert_eq!(
            sightings.has_no_gap().unwrap_err().to_string(),
            "expected each one once and in order; \
             seen keyframe 50 of film 1 at 2000 ms right after picture 39 of film 1 at 1560 ms"
        );
        sightings.has_nothing_twice().unwrap();
        let last = sightings.seen.last().unwrap().at;
        assert_eq!(sightings.longest_stall(last), Duration::from_millis(440));
    }

    #[test]
    fn a_picture_that_comes_twice_is_found() {
        assert!(saw((25..40).chain(39..60)).has_nothing_twice().is_err());
    }

    #[test]
    fn a_start_between_keyframes_and_time_that_goes_back_are_found() {
        assert!(saw(26..40).is_well_formed().is_err());
        assert!(saw((50..60).chain(25..30)).is_well_formed().is_err());
    }
}
