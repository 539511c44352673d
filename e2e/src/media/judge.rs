//! The judge: whether what a viewer received is what an encoder sent.

use anyhow::{Context, Result, bail, ensure};
use media_wire::MediaKind;

use super::recording::{Packet, Recording, only_forward};

/// Where a viewer may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedStart {
    /// It joined before the encoder: it receives everything, from the first keyframe at the latest.
    Beginning,
    /// It joined before the encoder, on another instance: it starts so many milliseconds late at most, as [`ExpectedStart::Keyframe`].
    Within(u32),
    /// It joined later: it starts at a keyframe, or anywhere where there is no video.
    Keyframe,
}

/// Fails unless the viewer received what was sent up to its end: every packet once, in order, undamaged, at the same pace.
///
/// Returns the number of packets that were compared.
pub fn assert_complete(
    sent: &Recording,
    received: &Recording,
    start: ExpectedStart,
) -> Result<usize> {
    assert_headers(sent, received)?;
    let (sent, received) = (sent.frames(), received.frames());
    let expected = assert_prefix(&sent, &received, start)?;
    ensure!(
        received.len() == expected.len(),
        "{} packets arrived instead of {}; last sent and received: {:?}",
        received.len(),
        expected.len(),
        (expected.last(), received.last())
    );
    Ok(received.len())
}

/// Fails unless the viewer received everything from the keyframe that it started at up to now: once, in order, undamaged, at the
/// same pace.
pub fn assert_uninterrupted(sent: &Recording, received: &Recording) -> Result<()> {
    assert_headers(sent, received)?;
    assert_starts_at_keyframe(received)?;
    assert_prefix(&sent.frames(), &received.frames(), ExpectedStart::Keyframe).map(drop)
}

/// Fails unless the viewer received nothing twice, out of order or damaged, and its time never went back. Packets may be lost.
pub fn assert_ordered(sent: &Recording, received: &Recording) -> Result<()> {
    assert_starts_at_keyframe(received)?;
    only_forward(received.packets.iter())?;
    let (sent, received) = (sent.frames(), received.frames());
    let mut next = 0;
    for packet in &received {
        let rest = sent.get(next..).unwrap_or_default();
        let Some(lost) = rest.iter().position(|sent| sent.is_same_media(packet)) else {
            bail!("{packet:?} arrived twice, out of order or damaged");
        };
        next += lost + 1;
    }
    Ok(())
}

/// Fails unless an encoder's rounds arrived as one stream: each round's packets once, in order and at their pace, time never going
/// back from one to the next, and each round's sequence headers before the frames that need them.
///
/// Returns the number of packets that were compared.
pub fn assert_rounds(rounds: &[Recording], received: &Recording) -> Result<usize> {
    received.assert_monotonic()?;
    let mut rest = received.packets.as_slice();
    let mut headers: [Option<Packet>; 2] = [None, None];
    let mut count = 0;
    for (number, round) in rounds.iter().enumerate() {
        let frames = round.frames();
        let last = frames.last().context("a round without packets")?;
        let end = rest.iter().position(|packet| packet.is_same_media(last));
        let end =
            end.with_context(|| format!("round {number} did not come to its end, {last:?}"))?;
        let (these, others) = rest.split_at(end + 1);
        for packet in these.iter().filter(|packet| packet.sequence_header) {
            headers[usize::from(packet.kind == MediaKind::Video)] = Some(*packet);
        }
        // A header that did not change is not sent again.
        let mut received = Recording::default();
        received.packets.extend(headers.iter().flatten());
        let frames = these.iter().filter(|packet| !packet.sequence_header);
        received.packets.extend(frames);
        // A viewer on another instance has to find the stream before the first round.
        let start = if number == 0 {
            ExpectedStart::Within(5_000)
        } else {
            ExpectedStart::Beginning
        };
        let compared = assert_complete(round, &received, start);
        count += compared.with_context(|| format!("round {number}"))?;
        rest = others;
    }
    if let Some(packet) = rest.first() {
        let more = rest.len();
        bail!("{more} more packets arrived than were sent, the first {packet:?}");
    }
    Ok(count)
}

/// Fails unless every sequence header arrived as it was sent, the first of each kind before anything that needs it.
fn assert_headers(sent: &Recording, received: &Recording) -> Result<()> {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let headers = |recording: &Recording| -> Vec<Packet> {
            let packets = recording.packets.iter();
            let headers = packets.filter(|packet| packet.kind == kind && packet.sequence_header);
            headers.copied().collect()
        };
        let (sent, arrived) = (headers(sent), headers(received));
        ensure!(
            sent.len() == arrived.len()
                && sent.iter().zip(&arrived).all(|(a, b)| a.is_same_media(b)),
            "sequence headers of {kind:?}: sent {sent:?}, received {arrived:?}"
        );
        let first = received.packets.iter().find(|packet| packet.kind == kind);
        ensure!(
            sent.is_empty() || first.is_some_and(|packet| packet.sequence_header),
            "the first packet of {kind:?} is no sequence header but {first:?}"
        );
    }
    Ok(())
}

/// Fails unless video starts with a keyframe, and both sequence headers are before it.
fn assert_starts_at_keyframe(received: &Recording) -> Result<()> {
    let packets = &received.packets;
    let first = packets.iter().position(Packet::is_video_frame);
    let before = packets.get(..first.unwrap_or_default()).unwrap_or_default();
    let headers = before.iter().filter(|packet| packet.sequence_header);
    let headers = headers.count();
    let first = first.and_then(|first| packets.get(first));
    ensure!(
        headers >= 2 && first.is_some_and(|first| first.keyframe),
        "expected two sequence headers and then a keyframe; received {headers} headers and first {first:?}"
    );
    Ok(())
}

/// Fails unless what was received is a part of what was sent, from its start on. Returns what was sent from there on.
fn assert_prefix<'a>(
    sent: &'a [Packet],
    received: &[Packet],
    start: ExpectedStart,
) -> Result<&'a [Packet]> {
    let Some(first) = received.first() else {
        bail!("none of {} packets that were sent arrived", sent.len());
    };
    let start = start_of(sent, received, start)?;
    let expected = sent.get(start..).unwrap_or_default();
    let shift = expected
        .first()
        .map_or(0, |sent| first.timestamp.wrapping_sub(sent.timestamp));
    for (index, packet) in received.iter().enumerate() {
        let number = start + index;
        let Some(sent) = expected.get(index) else {
            bail!("{packet:?} arrived after the end of what was sent");
        };
        if !sent.is_same_media(packet) {
            let why = explain(expected, packet, index);
            bail!("packet {number} of the encoder is {sent:?}, but {packet:?} arrived, {why}");
        }
        let moved = packet.timestamp.wrapping_sub(sent.timestamp);
        ensure!(
            moved == shift,
            "packet {number} is off in time: sent {sent:?}, received {packet:?}, the first was moved by {shift} ms"
        );
    }
    Ok(expected)
}

/// Returns the index of the sent packet that was received first.
fn start_of(sent: &[Packet], received: &[Packet], start: ExpectedStart) -> Result<usize> {
    let begin = received
        .get(..received.len().min(BEGIN))
        .unwrap_or_default();
    let matches = |at: usize| {
        let there = sent.get(at..).unwrap_or_default();
        there.len() >= begin.len() && there.iter().zip(begin).all(|(a, b)| a.is_same_media(b))
    };
    let has_video = sent.iter().any(|packet| packet.kind == MediaKind::Video);
    let can_start = |at: usize| !has_video || sent.get(at).is_some_and(|packet| packet.keyframe);
    let delay = |at: usize| match (sent.first(), sent.get(at)) {
        (Some(first), Some(packet)) => packet.timestamp.wrapping_sub(first.timestamp),
        _ => u32::MAX,
    };
    let mut all = 0..sent.len();
    let found = match start {
        ExpectedStart::Beginning => {
            let first = all.find(|at| can_start(*at)).unwrap_or_default();
            (0..=first).find(|at| matches(*at))
        }
        ExpectedStart::Keyframe => all.find(|at| can_start(*at) && matches(*at)),
        ExpectedStart::Within(limit) => {
            all.find(|at| delay(*at) <= limit && can_start(*at) && matches(*at))
        }
    };
    found.with_context(|| {
        let first = sent.get(..BEGIN.min(sent.len()));
        format!("the viewer may not start as it did: {begin:?}; sent first: {first:?}")
    })
}

/// Packets that identify where a viewer started.
const BEGIN: usize = 8;

/// Describes what seems to have happened to a packet that was not expected at this index.
fn explain(expected: &[Packet], packet: &Packet, index: usize) -> String {
    let (before, after) = expected.split_at(index.min(expected.len()));
    if let Some(earlier) = before.iter().rposition(|sent| sent.is_same_media(packet)) {
        let distance = index - earlier;
        return format!("which was sent {distance} packets before: duplicate or out of order");
    }
    match after.iter().position(|sent| sent.is_same_media(packet)) {
        Some(later) => format!("which was sent {later} packets later: loss, or out of order"),
        None => "which was never sent: damaged".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use media_wire::{MediaKind, Message};

    use super::super::frames::Codecs;
    use super::*;

    /// Headers and 40 pairs of a video and an audio frame, keyframes at 0 and 25.
    fn clip() -> Vec<Message> {
        let pairs = (0..40).zip((0..).step_by(40));
        let pairs = pairs.flat_map(|(number, timestamp)| pair(1, number, timestamp));
        let headers = Codecs::H264Aac.headers().into_iter();
        headers
            .filter(|it| it.kind != MediaKind::Data)
            .chain(pairs)
            .collect()
    }

    fn pair(encoder: u32, number: u64, timestamp: u32) -> Vec<Message> {
        Codecs::H264Aac.frames(encoder, number, timestamp)
    }

    fn recording(messages: &[Message]) -> Recording {
        let mut recording = Recording::default();
        messages.iter().for_each(|message| recording.push(message));
        recording
    }

    fn changed(change: impl FnOnce(&mut Vec<Message>)) -> Recording {
        let mut messages = clip();
        change(&mut messages);
        recording(&messages)
    }

    fn complete(received: &Recording, start: ExpectedStart) -> Result<usize> {
        assert_complete(&recording(&clip()), received, start)
    }

    fn shift(message: &mut Message, milliseconds: u32) {
        message.timestamp = message.timestamp.wrapping_add(milliseconds);
    }

    #[test]
    fn complete_clip_passes_when_all_of_it_is_moved_in_time() {
        let moved = changed(|received| received.iter_mut().for_each(|it| shift(it, 4_294_966_296)));
        assert_eq!(complete(&moved, ExpectedStart::Beginning).unwrap(), 80);
        assert_uninterrupted(&recording(&clip()), &moved).unwrap();
        assert_ordered(&recording(&clip()), &moved).unwrap();
    }

    #[test]
    fn viewer_starts_at_a_keyframe() {
        let late = changed(|received| drop(received.drain(2..52)));
        assert_eq!(complete(&late, ExpectedStart::Keyframe).unwrap(), 30);
        assert_eq!(complete(&late, ExpectedStart::Within(1000)).unwrap(), 30);
        complete(&late, ExpectedStart::Within(999)).unwrap_err();
        complete(&late, ExpectedStart::Beginning).unwrap_err();
        let between = changed(|received| drop(received.drain(2..54)));
        complete(&between, ExpectedStart::Keyframe).unwrap_err();
        assert_ordered(&recording(&clip()), &between).unwrap_err();
    }

    /// Every fault, and how the judge names it.
    #[test]
    fn loss_duplicate_reorder_torn_message_and_time_are_named() {
        type Change = fn(&mut Vec<Message>);
        let faults: [(Change, &str); 8] = [
            (
                |received| drop(received.remove(40)),
                "1 packets later: loss",
            ),
            (
                |received| received.insert(40, received[39].clone()),
                "1 packets before: duplicate",
            ),
            (
                |received| received.swap(40, 42),
                "2 packets later: loss, or out of order",
            ),
            (
                |received| drop(received[40].payload.split_off(100)),
                "never sent: damaged",
            ),
            (
                |received| received[40].payload = Bytes::from_static(&[0x27, 1, 9]),
                "never sent: damaged",
            ),
            (|received| shift(&mut received[40], 1), "off in time"),
            (
                |received| shift(&mut received[40], u32::MAX - 200),
                "off in time",
            ),
            (
                |received| drop(received.remove(1)),
                "sequence headers of Audio",
            ),
        ];
        let sent = recording(&clip());
        for (number, (change, expected)) in faults.into_iter().enumerate() {
            let received = changed(change);
            for error in [
                complete(&received, ExpectedStart::Beginning).unwrap_err(),
                assert_uninterrupted(&sent, &received).unwrap_err(),
            ] {
                assert!(error.to_string().contains(expected), "{number}: {error}");
            }
            // Loss is the only fault that an ordered stream may have.
            let ordered = assert_ordered(&sent, &received);
            assert_eq!(ordered.is_ok(), number == 0, "{number}: {ordered:?}");
        }
    }

    #[test]
    fn missing_end_fails_only_where_all_is_expected() {
        let short = changed(|received| drop(received.pop()));
        let error = complete(&short, ExpectedStart::Beginning)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("79 packets arrived instead of 80"),
            "{error}"
        );
        assert_uninterrupted(&recording(&clip()), &short).unwrap();
        let more = changed(|received| received.extend(pair(1, 41, 1640)));
        assert_uninterrupted(&recording(&clip()), &more).unwrap_err();
    }

    #[test]
    fn packet_of_another_encoder_is_found() {
        let foreign = changed(|received| received[40] = pair(2, 19, 760)[0].clone());
        assert_uninterrupted(&recording(&clip()), &foreign).unwrap_err();
        assert_ordered(&recording(&clip()), &foreign).unwrap_err();
    }

    #[test]
    fn rounds_come_one_after_the_other_and_time_goes_on() {
        let rounds = [
            recording(&clip()),
            changed(|sent| {
                sent.iter_mut().for_each(|it| {
                    it.payload = [&it.payload[..], &[2]].concat().into();
                })
            }),
        ];
        let mut both = rounds[0].clone();
        let second = rounds[1].packets.iter();
        both.packets.extend(second.map(|it| Packet {
            timestamp: it.timestamp + 3000,
            ..*it
        }));
        assert_eq!(assert_rounds(&rounds, &both).unwrap(), 160);
        let mut back = both.clone();
        back.packets
            .iter_mut()
            .skip(82)
            .for_each(|it| it.timestamp -= 2000);
        assert_rounds(&rounds, &back).unwrap_err();
        both.packets.remove(100);
        assert_rounds(&rounds, &both).unwrap_err();
        assert_rounds(&rounds, &rounds[0]).unwrap_err();
    }
}
