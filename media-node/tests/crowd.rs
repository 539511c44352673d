//! Twenty encoders on all nodes, and five hundred viewers of one stream on one edge: none loses a frame.

use crate::support::{
    Clip, Protocol, Publisher, Start, assert_complete, cluster, ended, finish, publish, watch,
};

const PUBLISHERS: u32 = 20;
const VIEWERS: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_viewer_of_a_crowd_loses_a_frame() {
    // All connect from one address, at the same time.
    let nodes =
        cluster(|config| config.limits.max_new_connections_per_second_per_address = 0).await;
    let protocol = |number: usize| [Protocol::Flv, Protocol::Rtmp][number % 2];
    let streams = (0..PUBLISHERS).zip(0_usize..).map(async |(id, number)| {
        let stream = format!("live/crowd-{number}");
        let sent = Clip {
            keyframe: 6_000,
            frame: 1_000,
            id,
            ..Clip::PLAIN
        };
        let sent = sent.messages(25 * 5);
        let (home, other) = (&nodes[number % 3], &nodes[(number + 1) % 3]);
        let mut viewers: Vec<_> = (0..2)
            .map(|it| watch(other, &stream, protocol(it)))
            .collect();
        if number == 0 {
            viewers.extend((0..VIEWERS).map(|it| watch(&nodes[2], &stream, protocol(it))));
        }
        let mut publisher = Publisher::start(home.addresses.rtmp, &stream).await;
        publish(&mut publisher, &sent, 1).await;
        finish(publisher).await;
        for received in ended(viewers).await {
            assert_complete(&sent, &received, Start::Keyframe);
        }
    });
    futures::future::join_all(streams).await;
}
