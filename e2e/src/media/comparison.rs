//! Whether what was received is what was sent.

use anyhow::{Context, Result, bail};
use media_wire::MediaKind;

use super::recording::{Packet, Recording};

/// Where a viewer may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// It was there before the encoder: it gets everything, from the first keyframe at the latest.
    Start,
    /// It was there before the encoder, on another node: it starts so many milliseconds late at most, as [`From::Keyframe`].
    Within(u32),
    /// It came later: it starts at a keyframe, or anywhere where there is no picture.
    Keyframe,
}

/// Fails unless what was received is what was published up to its end: every packet once, in order, in the same time.
///
/// Returns the number of packets that were compared.
pub fn compare(published: &Recording, received: &Recording, from: From) -> Result<usize> {
    compare_within(0, published, received, from)
}

/// As [`compare`], where time may be off by so many milliseconds.
pub fn compare_within(
    tolerance: u32,
    published: &Recording,
    received: &Recording,
    from: From,
) -> Result<usize> {
    headers_came(published, received)?;
    let sent = published.media();
    let came = received.media();
    let Some(first) = came.first() else {
        bail!("no packet came of the {} that were sent", sent.len());
    };
    let start = start_of(&sent, &came, from)?;
    let expected = sent.get(start..).unwrap_or_default();
    let shift = expected
        .first()
        .map_or(0, |sent| first.timestamp.wrapping_sub(sent.timestamp));
    for (index, (sent, packet)) in expected.iter().zip(&came).enumerate() {
        let number = start + index;
        if !sent.is_same_media(packet) {
            let why = explain(expected, &came, index);
            bail!("the encoder's packet {number} was {sent:?}, but {packet:?} came, {why}");
        }
        let off = packet
            .timestamp
            .wrapping_sub(sent.timestamp)
            .wrapping_sub(shift);
        if off.cast_signed().unsigned_abs() > tolerance {
            bail!(
                "packet {number} is off in time: sent {sent:?}, came {packet:?}, the first was moved by {shift} ms"
            );
        }
    }
    if came.len() != expected.len() {
        let (count, wanted) = (came.len(), expected.len());
        let ends = (expected.last(), came.last());
        bail!(
            "{count} packets came instead of {wanted} (from the encoder's number {start} on); last sent and come: {ends:?}"
        );
    }
    Ok(came.len())
}

/// Fails unless an encoder's rounds came as one: each round's packets once, in order and in its own time, time never going
/// back from one to the next, and each round's decoder configurations before what needs them.
///
/// Returns the number of packets that were compared.
pub fn compare_rounds(rounds: &[Recording], received: &Recording) -> Result<usize> {
    let mut rest = received.packets.as_slice();
    let mut headers: [Option<Packet>; 2] = [None, None];
    let mut count = 0;
    for (number, round) in rounds.iter().enumerate() {
        let mut came = Recording::default();
        let wanted = round.media();
        let last = wanted.last().context("a round has no packets")?;
        // A header that has not changed need not come again.
        let place = rest.iter().position(|packet| packet.is_same_media(last));
        let place =
            place.with_context(|| format!("round {number} has not come to its end, {last:?}"))?;
        let (these, others) = rest.split_at(place + 1);
        for packet in these.iter().filter(|packet| packet.sequence_header) {
            headers[usize::from(packet.kind == MediaKind::Video)] = Some(*packet);
        }
        came.packets.extend(headers.iter().flatten());
        came.packets
            .extend(these.iter().filter(|packet| !packet.sequence_header));
        // Who watched before an encoder came for the first time, on another node, had to find it first.
        let from = if number == 0 {
            From::Within(5_000)
        } else {
            From::Start
        };
        let compared = compare(round, &came, from);
        count += compared.with_context(|| format!("round {number}"))?;
        rest = others;
    }
    if let Some(packet) = rest.first() {
        bail!(
            "{} packets more came than were sent, the first {packet:?}",
            rest.len()
        );
    }
    Ok(count)
}

/// Every kind's decoder configurations come as they were sent, the first before anything that needs it.
fn headers_came(published: &Recording, received: &Recording) -> Result<()> {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let headers = |recording: &Recording| -> Vec<Packet> {
            let packets = recording.packets.iter();
            packets
                .filter(|packet| packet.kind == kind && packet.sequence_header)
                .copied()
                .collect()
        };
        let (sent, came) = (headers(published), headers(received));
        if sent.len() != came.len() || !sent.iter().zip(&came).all(|(a, b)| a.is_same_media(b)) {
            bail!("sequence headers of {kind:?}: sent {sent:?}, came {came:?}");
        }
        let first = received.packets.iter().find(|packet| packet.kind == kind);
        if !sent.is_empty() && !first.is_some_and(|packet| packet.sequence_header) {
            bail!("the first of {kind:?} is no sequence header but {first:?}");
        }
    }
    Ok(())
}

/// The index in what was sent of what came first.
fn start_of(sent: &[Packet], came: &[Packet], from: From) -> Result<usize> {
    let head = came.get(..came.len().min(HEAD)).unwrap_or_default();
    let matches = |at: usize| {
        let there = sent.get(at..).unwrap_or_default();
        there.len() >= head.len() && there.iter().zip(head).all(|(a, b)| a.is_same_media(b))
    };
    let has_video = sent.iter().any(|packet| packet.kind == MediaKind::Video);
    let can_start = |at: usize| !has_video || sent.get(at).is_some_and(|packet| packet.keyframe);
    let found = match from {
        From::Start => {
            let first = (0..sent.len())
                .find(|at| can_start(*at))
                .unwrap_or_default();
            (0..=first).find(|at| matches(*at))
        }
        From::Keyframe => (0..sent.len()).find(|at| can_start(*at) && matches(*at)),
        From::Within(limit) => {
            let late = |at: usize| {
                let times = (sent.first(), sent.get(at));
                let (Some(first), Some(packet)) = times else {
                    return u32::MAX;
                };
                packet.timestamp.wrapping_sub(first.timestamp)
            };
            (0..sent.len()).find(|at| late(*at) <= limit && can_start(*at) && matches(*at))
        }
    };
    found.with_context(|| {
        let begin = sent.get(..HEAD.min(sent.len()));
        format!("what came first was not sent so: {head:?}; sent first: {begin:?}")
    })
}

/// How many packets have to fit for a beginning to be told.
const HEAD: usize = 8;

/// What seems to have happened where two lists part.
fn explain(expected: &[Packet], came: &[Packet], index: usize) -> String {
    let Some(packet) = came.get(index) else {
        return "nothing more".to_owned();
    };
    let before = expected.get(..index).unwrap_or_default();
    if let Some(earlier) = before.iter().rposition(|sent| sent.is_same_media(packet)) {
        return format!(
            "which came {} packets before: sent twice or out of order",
            index - earlier
        );
    }
    let behind = expected.get(index..).unwrap_or_default();
    match behind.iter().position(|sent| sent.is_same_media(packet)) {
        Some(later) => format!("which is {later} packets later: lost, or out of order"),
        None => "which was never sent: damaged".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media_wire::Message;

    use super::*;

    fn message(kind: MediaKind, timestamp: u32, payload: &[u8]) -> Message {
        Message {
            kind,
            timestamp,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// Headers, then pictures with a sound before each, a keyframe every ten.
    fn film() -> Vec<Message> {
        let mut film = vec![
            message(MediaKind::Audio, 0, &[0xAF, 0, 1]),
            message(MediaKind::Video, 0, &[0x17, 0, 1]),
        ];
        for picture in 0..40_u8 {
            let at = u32::from(picture) * 40;
            film.push(message(MediaKind::Audio, at, &[0xAF, 1, picture]));
            let first = if picture % 10 == 0 { 0x17 } else { 0x27 };
            film.push(message(MediaKind::Video, at, &[first, 1, picture]));
        }
        film
    }

    fn recording(messages: impl IntoIterator<Item = Message>) -> Recording {
        let mut recording = Recording::default();
        messages
            .into_iter()
            .for_each(|message| recording.push(message));
        recording
    }

    #[test]
    fn what_came_whole_and_moved_in_time_is_fine() {
        let later = film().into_iter().map(|message| Message {
            timestamp: message.timestamp.wrapping_sub(1000),
            ..message
        });
        let compared = compare(&recording(film()), &recording(later), From::Start);
        assert_eq!(compared.unwrap(), 80);
    }

    #[test]
    fn a_viewer_may_start_at_a_keyframe() {
        let mut late = film();
        late.drain(2..23);
        assert_eq!(
            compare(&recording(film()), &recording(late.clone()), From::Keyframe).unwrap(),
            59
        );
        assert!(compare(&recording(film()), &recording(late), From::Start).is_err());
        let mut elsewhere = film();
        elsewhere.drain(2..25);
        assert!(compare(&recording(film()), &recording(elsewhere), From::Keyframe).is_err());
    }

    #[test]
    fn faults_are_found_and_named() {
        let fault = |change: fn(&mut Vec<Message>)| {
            let mut came = film();
            change(&mut came);
            compare(&recording(film()), &recording(came), From::Start)
                .unwrap_err()
                .to_string()
        };
        let lost = fault(|came| drop(came.remove(40)));
        assert!(lost.contains("1 packets later: lost"), "{lost}");
        let twice = fault(|came| came.insert(40, came[39].clone()));
        assert!(twice.contains("1 packets before: sent twice"), "{twice}");
        let damaged = fault(|came| came[40].payload = Bytes::from_static(&[0xAF, 1, 200]));
        assert!(damaged.contains("never sent: damaged"), "{damaged}");
        let time = fault(|came| came[40].timestamp += 1);
        assert!(time.contains("off in time"), "{time}");
        let end = fault(|came| drop(came.pop()));
        assert!(end.contains("79 packets came instead of 80"), "{end}");
        let header = fault(|came| drop(came.remove(1)));
        assert!(header.contains("sequence headers of Video"), "{header}");
    }

    #[test]
    fn time_that_goes_back_is_found_and_a_wrap_is_none() {
        let at = |timestamp| message(MediaKind::Audio, timestamp, &[0xAF, 1]);
        assert!(recording([at(u32::MAX - 5), at(3)]).is_monotonic().is_ok());
        assert!(recording([at(10), at(9)]).is_monotonic().is_err());
    }
}
