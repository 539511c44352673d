//! Encoders take over from each other on and between all nodes, and their viewers receive each one's frames as one stream; or they are
//! refused, and the first one goes on.

use media_config::DuplicatePublish;
use media_wire::Message;

use crate::support::{
    Clip, Publisher, Received, Start, assert_complete, begin, cluster, ended, finish, publish,
    watch_everywhere, within_deadline,
};

const BAD_NAME: &str = "NetStream.Publish.BadName";

#[tokio::test]
async fn viewers_receive_every_round_of_encoders_that_take_over() {
    let nodes = cluster(|_| {}).await;
    let mut viewers = watch_everywhere(&nodes, "live/one");
    let mut rounds = Vec::new();
    let mut before: Option<Publisher> = None;
    for (id, home) in (100..).zip([0, 0, 1, 1, 2, 0]) {
        let address = nodes[home].addresses.rtmp;
        let mut publisher = Publisher::start(address, "live/one").await;
        if let Some(mut zombie) = before {
            let status = within_deadline("the takeover", zombie.0.closed_with()).await;
            assert_eq!(status.expect("a status").code, BAD_NAME);
        }
        let clip = Clip { id, ..Clip::PLAIN }.messages(25 * 2);
        let rest = begin(&mut publisher, &clip, &mut viewers).await;
        publish(&mut publisher, rest, 2).await;
        for viewer in &mut viewers {
            viewer
                .received(&clip.last().expect("a frame").payload)
                .await;
        }
        rounds.push(clip);
        before = Some(publisher);
    }
    finish(before.expect("an encoder")).await;
    for received in ended(viewers).await {
        assert_rounds(&rounds, received);
    }
}

/// Fails unless each round is complete, and time never goes back from one to the next.
fn assert_rounds(rounds: &[Vec<Message>], received: Received) {
    let mut rest = received.messages;
    let mut latest = 0;
    for (number, round) in rounds.iter().enumerate() {
        let last = &round.last().expect("a frame").payload;
        let end = rest.iter().position(|it| it.payload == *last);
        let end = end.unwrap_or_else(|| panic!("round {number} does not come to its end"));
        let others = rest.split_off(end + 1);
        for message in &rest {
            let (timestamp, before) = (message.timestamp, latest);
            assert!(
                timestamp >= before,
                "round {number}: {timestamp} after {before}"
            );
            latest = timestamp;
        }
        let received = Received { messages: rest };
        assert_complete(round, &received, Start::Beginning);
        rest = others;
    }
    assert!(rest.is_empty(), "more came than was sent: {rest:?}");
}

#[tokio::test]
async fn second_encoder_is_refused_on_every_node_and_the_first_goes_on() {
    let nodes = cluster(|config| {
        config.stream.duplicate_publish = DuplicatePublish::Reject;
    })
    .await;
    let streams = nodes.iter().zip(0..).map(async |(home, number)| {
        let stream = format!("live/{number}");
        let mut viewers = watch_everywhere(&nodes, &stream);
        let mut publisher = Publisher::start(home.addresses.rtmp, &stream).await;
        let sent = Clip::PLAIN.messages(25 * 6);
        // Now every node has the stream.
        let rest = begin(&mut publisher, &sent, &mut viewers).await;
        let others = async {
            for second in &nodes {
                let refused = Publisher::try_start(second.addresses.rtmp, &stream).await;
                assert_eq!(refused.err().expect("a refusal").code, BAD_NAME);
            }
        };
        tokio::join!(publish(&mut publisher, rest, 2), others);
        finish(publisher).await;
        for received in ended(viewers).await {
            assert_complete(&sent, &received, Start::Beginning);
        }
    });
    futures::future::join_all(streams).await;
}
