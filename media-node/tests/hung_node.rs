//! A media node that hangs, as on a host that is out of CPU or memory, and goes on: it has what was sent to it meanwhile.

use std::time::Duration;

use crate::support::{
    Clip, Process, Protocol, Publisher, Start, assert_complete, ended, finish, watch_at,
};

#[tokio::test]
async fn encoder_stays_when_its_media_node_hangs_for_longer_than_it_may_be_idle() {
    let stream =
        "stream: {publishIdleTimeoutSeconds: 3, continuitySeconds: 1, playWaitSeconds: 60}";
    let mut node = Process::start_with("", stream).await;
    let sent = Clip::PLAIN.messages(50);
    let (before, meanwhile) = sent.split_at(30);
    let mut publisher = Publisher::start(node.rtmp, "live/a").await;
    let mut viewer = watch_at(node.rtmp, node.http, "live/a", Protocol::Flv);
    publisher.send(before.iter().cloned()).await;
    viewer.received(&before[29].payload).await;
    node.hang(true);
    publisher.send(meanwhile.iter().cloned()).await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    node.hang(false);
    finish(publisher).await;
    for received in ended(vec![viewer]).await {
        assert_complete(&sent, &received, Start::Beginning);
    }
    node.assert_healthy();
}
