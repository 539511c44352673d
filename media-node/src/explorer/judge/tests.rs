use super::super::media::{SLATE_FRAMES, headers};
use super::*;

/// Headers and 120 frames of an encoder. Each twentieth one is a keyframe.
fn sent(encoder: u32) -> Vec<Message> {
    let frame = |number| Identity {
        encoder,
        encoding: encoder,
        number,
        sent: number * 20,
    };
    let frames = (0..120).map(|number| frame(number).message(encoder * 10_000 + number * 20));
    headers(encoder, 0).into_iter().chain(frames).collect()
}

fn judged(messages: &[Message]) -> Result<ViewerJudge, Violation> {
    let mut judge = ViewerJudge::default();
    for message in messages {
        judge.receive(message)?;
    }
    Ok(judge)
}

#[test]
fn what_was_sent_passes_and_so_does_a_skip_to_a_keyframe() {
    assert_eq!(judged(&sent(1)).unwrap().lost, 0);
    let mut skipped = sent(1);
    skipped.drain(10..43);
    assert_eq!(judged(&skipped).unwrap().lost, 33);
    let both = [sent(1), sent(2)].concat();
    assert_eq!(judged(&both).unwrap().received, 240);
}

#[test]
fn video_before_the_first_keyframe_of_an_encoder_is_not_lost() {
    let mut received = sent(1);
    received.retain(|message| match content(message) {
        Some(Content::Frame(frame)) if frame.number < 40 => {
            frame.number > 4 && frame.kind() == MediaKind::Audio
        }
        _ => true,
    });
    assert_eq!(judged(&received).unwrap().lost, 0);
}

/// Returns what is lost of an encoder if a slate comes in its second group of pictures, and afterwards what `arrives`.
fn lost_around_a_slate(arrives: impl Fn(Identity) -> bool) -> u32 {
    let mut received = sent(1);
    let mut after = received.split_off(3 + 26);
    after.retain(|message| {
        let content = content(message);
        matches!(content, Some(Content::Frame(frame)) if arrives(frame))
    });
    after
        .iter_mut()
        .for_each(|message| message.timestamp += 1000);
    let slate = (0..SLATE_FRAMES).map(|number| Identity {
        encoder: SLATE,
        encoding: SLATE,
        number,
        sent: 0,
    });
    let slate = slate.map(|frame| frame.message(11_000));
    received.extend(headers(SLATE, 0).into_iter().chain(slate));
    received.extend(headers(1, 0));
    judged(&[received, after].concat()).unwrap().lost
}

fn silence(timestamp: u32) -> Message {
    Message {
        kind: MediaKind::Audio,
        timestamp,
        payload: super::super::media::silence().clone(),
    }
}

/// Judges what was sent before and after a slate of a keyframe.
fn judged_around_stills(keyframe: u32, stills: bool, interval: u32) -> Result<u32, Violation> {
    let mut received = sent(1);
    let mut after = received.split_off(3 + 30);
    let keyframe = Identity {
        encoder: 1,
        encoding: 1,
        number: keyframe,
        sent: keyframe * 20,
    };
    for number in 0..3 {
        let at = 11_000 + number * interval;
        received.push(keyframe.message(at));
        received.push(silence(at));
        received.push(silence(at + 23));
    }
    after.retain(|message| match content(message) {
        Some(Content::Frame(frame)) => frame.number >= 40 || frame.kind() == MediaKind::Audio,
        _ => true,
    });
    after
        .iter_mut()
        .for_each(|message| message.timestamp += 3000);
    let mut judge = ViewerJudge::new(Allowed {
        stills,
        ..Allowed::default()
    });
    let messages = [received, after].concat();
    messages
        .iter()
        .try_for_each(|message| judge.receive(message))?;
    Ok(judge.lost)
}

#[test]
fn last_keyframe_may_be_repeated_with_silence_and_the_encoder_goes_on() {
    assert_eq!(judged_around_stills(20, true, 250), Ok(0));
    // One that the viewer has not received before is the last one as well.
    assert_eq!(judged_around_stills(60, true, 250), Ok(0));
    let refused = [
        (judged_around_stills(0, true, 250), Violation::OlderStill),
        (judged_around_stills(20, true, 240), Violation::Repeated),
        (judged_around_stills(20, false, 250), Violation::Reordered),
    ];
    for (judged, expected) in refused {
        assert_eq!(judged, Err(expected));
    }
    let mut interrupted = sent(1);
    interrupted.insert(40, silence(10_700));
    assert_eq!(judged(&interrupted).unwrap_err(), Violation::Silence);
}

#[test]
fn video_between_a_slate_and_the_next_keyframe_is_not_lost() {
    let is_audio = |frame: Identity| frame.kind() == MediaKind::Audio;
    let lost = lost_around_a_slate(|frame| frame.number >= 40 || is_audio(frame));
    assert_eq!(lost, 0);
    // Audio is.
    assert_eq!(lost_around_a_slate(|frame| frame.number >= 40), 7);
    // And so is the keyframe, with the video after it.
    let lost = lost_around_a_slate(|frame| frame.number >= 60 || is_audio(frame));
    assert_eq!(lost, 10);
}

#[test]
fn time_of_an_encoder_begins_again_only_at_a_keyframe_and_where_that_is_allowed() {
    let begun_again = |number: usize, restarts, repeats| {
        let mut received = sent(1);
        let later = received.iter_mut().skip(3 + number);
        later.for_each(|message| message.timestamp += 15);
        let mut judge = ViewerJudge::new(Allowed {
            returns: true,
            restarts,
            repeats,
            ..Allowed::default()
        });
        received
            .iter()
            .try_for_each(|message| judge.receive(message))
    };
    for (restarts, repeats) in [(true, false), (false, true)] {
        assert_eq!(begun_again(40, restarts, repeats), Ok(()));
        let judged = begun_again(42, restarts, repeats);
        assert_eq!(judged, Err(Violation::TimeShifted));
    }
    assert_eq!(begun_again(40, false, false), Err(Violation::TimeShifted));
}

#[test]
fn encoder_is_on_air_again_only_with_later_messages_and_where_that_is_allowed() {
    let returned = |number: u32, returns| {
        let frames = |encoder, first: u32, timestamp: u32| {
            let frame = move |number| Identity {
                encoder,
                encoding: 1,
                number: first + number,
                sent: timestamp + number * 20,
            };
            (0..20).map(move |number| frame(number).message(timestamp + number * 20))
        };
        let mut judge = ViewerJudge::new(Allowed {
            returns,
            ..Allowed::default()
        });
        let mut received = headers(1, 0);
        received.extend(frames(1, 0, 0));
        received.extend(frames(2, 0, 400));
        received.extend(frames(1, number, 800));
        received
            .iter()
            .try_for_each(|message| judge.receive(message))
    };
    assert_eq!(returned(20, true), Ok(()));
    assert_eq!(returned(20, false), Err(Violation::TwoOnAir));
    assert_eq!(returned(0, true), Err(Violation::Reordered));
}

#[test]
fn each_violation_is_found() {
    type Change = fn(&mut Vec<Message>);
    let changes: [(Violation, Change); 12] = [
        (Violation::Repeated, |received| {
            received.insert(40, received[39].clone())
        }),
        (Violation::Reordered, |received| received.swap(40, 42)),
        (Violation::Torn, |received| {
            drop(received[40].payload.split_off(30));
        }),
        (Violation::NoKeyframe, |received| {
            drop(received.drain(30..40))
        }),
        (Violation::NoKeyframe, |received| drop(received.drain(3..5))),
        (Violation::TimeGoesBack, |received| {
            received[40].timestamp -= 100
        }),
        (Violation::TimeTooLate, |received| {
            received[40].timestamp = 1 << 31
        }),
        (Violation::WrongHeader, |received| {
            received[1] = headers(9, 0)[1].clone()
        }),
        (Violation::NoHeader, |received| drop(received.remove(1))),
        (Violation::HeaderRepeated, |received| {
            received.insert(40, received[1].clone())
        }),
        (Violation::TimeShifted, |received| {
            received
                .iter_mut()
                .skip(40)
                .for_each(|it| it.timestamp += 15);
        }),
        (Violation::TwoOnAir, |received| {
            let back = received.split_off(43);
            received.extend(sent(2).split_off(0));
            received.extend(back);
        }),
    ];
    for (expected, change) in changes {
        let mut received = sent(1);
        change(&mut received);
        assert_eq!(judged(&received).unwrap_err(), expected);
    }
}
