//! Twenty encoders on all nodes, and five hundred viewers of one stream on one edge: none loses a frame.

use media_wire::Message;

use crate::support::{
    Clip, Protocol, Publisher, Start, TestNode, assert_complete, cluster, ended, finish,
    publish_in_step, received_by_all, watch,
};

const PUBLISHERS: u32 = 20;
const VIEWERS: usize = 500;

/// Viewers that connect at the same time.
const JOINING: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_viewer_of_a_crowd_loses_a_frame() {
    let nodes = cluster(|_| {}).await;
    let streams = (0..PUBLISHERS).zip(0_usize..).map(async |(id, number)| {
        let sent = Clip {
            keyframe: 6_000,
            frame: 1_000,
            id,
            ..Clip::PLAIN
        };
        let sent = sent.messages(25 * 5);
        let (home, other) = (&nodes[number % 3], &nodes[(number + 1) % 3]);
        let mut watched = vec![(other, 2)];
        if number == 0 {
            watched.extend([(&nodes[2], JOINING); VIEWERS / JOINING]);
        }
        complete_for(home, &format!("live/crowd-{number}"), &sent, &watched).await;
    });
    futures::future::join_all(streams).await;
}

/// Publishes to a node. So many viewers join on each of these nodes, in turn, while the stream goes on.
async fn complete_for(
    home: &TestNode,
    stream: &str,
    sent: &[Message],
    watched: &[(&TestNode, usize)],
) {
    let mut publisher = Publisher::start(home.addresses.rtmp, stream).await;
    let (mut before, rest) = sent.split_at(52);
    publisher.send(before.iter().cloned()).await;
    let mut viewers = Vec::new();
    let parts = rest.chunks(rest.len().div_ceil(watched.len()));
    for ((node, count), part) in watched.iter().zip(parts) {
        let protocol = |number: usize| [Protocol::Flv, Protocol::Rtmp][number % 2];
        let joining = (0..*count).map(|it| watch(node, stream, protocol(it)));
        let mut joining: Vec<_> = joining.collect();
        received_by_all(&mut joining, before).await;
        viewers.extend(joining);
        publish_in_step(&mut publisher, part, &mut viewers).await;
        before = part;
    }
    finish(publisher).await;
    let all: usize = watched.iter().map(|(_, count)| count).sum();
    assert_eq!(viewers.len(), all);
    for received in ended(viewers).await {
        assert_complete(sent, &received, Start::Keyframe);
    }
}
