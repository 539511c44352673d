//! Keyframes of megabytes, as 4K has them, and long groups of pictures are complete for viewers on every node; a viewer that comes late
//! starts at the newest keyframe, and waits for no other message.

use crate::support::{
    Clip, Publisher, Start, assert_complete, cluster, ended, finish, publish_in_step,
    received_by_all, watch_everywhere,
};

/// 20 Mbit/s with a keyframe of 3 MB every two seconds.
const FOUR_K: Clip = Clip {
    gop: 50,
    keyframe: 3_000_000,
    frame: 40_000,
    ..Clip::PLAIN
};

/// 8 Mbit/s, and one keyframe.
const LONG_GOP: Clip = Clip {
    gop: 100_000,
    keyframe: 200_000,
    frame: 40_000,
    ..Clip::PLAIN
};

#[tokio::test]
async fn keyframes_of_megabytes_are_complete_on_every_node() {
    complete_everywhere(FOUR_K, 5 * 25).await;
}

#[tokio::test]
async fn long_group_of_pictures_is_complete_on_every_node() {
    complete_everywhere(LONG_GOP, 15 * 25).await;
}

/// Publishes to an edge, with viewers everywhere from the first keyframe and from two thirds on.
async fn complete_everywhere(clip: Clip, frames: u32) {
    let nodes = cluster(|_| {}).await;
    let sent = clip.messages(frames);
    let (before, after) = sent.split_at(sent.len() * 2 / 3);
    let (beginning, middle) = before.split_at(10);
    let mut publisher = Publisher::start(nodes[1].addresses.rtmp, "live/large").await;
    publisher.send(beginning.iter().cloned()).await;
    let mut early = watch_everywhere(&nodes, "live/large");
    received_by_all(&mut early, beginning).await;
    publish_in_step(&mut publisher, middle, &mut early).await;
    let mut late = watch_everywhere(&nodes, "live/large");
    received_by_all(&mut late, before).await;
    let (count, mut all) = (early.len(), early);
    all.extend(late);
    publish_in_step(&mut publisher, after, &mut all).await;
    finish(publisher).await;
    let received = ended(all).await;
    let (early, late) = received.split_at(count);
    for received in early {
        assert_complete(&sent, received, Start::Beginning);
    }
    for received in late {
        assert_complete(&sent, received, Start::Keyframe);
    }
}
