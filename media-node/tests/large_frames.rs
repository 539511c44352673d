//! Keyframes of megabytes, as 4K has them, and long groups of pictures are complete for viewers on every node; a viewer that comes late
//! starts at the keyframe immediately.

use std::time::Duration;

use crate::support::{
    Clip, Publisher, Start, assert_complete, cluster, ended, finish, publish, wait_everywhere,
    watch_everywhere,
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

/// Publishes to an edge, with viewers everywhere from the beginning and from two thirds on.
async fn complete_everywhere(clip: Clip, frames: u32) {
    let nodes = cluster(|_| {}).await;
    let sent = clip.messages(frames);
    let early = wait_everywhere(&nodes, "live/large").await;
    let mut publisher = Publisher::start(nodes[1].addresses.rtmp, "live/large").await;
    let (before, after) = sent.split_at(sent.len() * 2 / 3);
    publish(&mut publisher, before, 4).await;
    let late = watch_everywhere(&nodes, "live/large");
    publish(&mut publisher, after, 4).await;
    finish(publisher).await;
    for received in ended(early).await {
        assert_complete(&sent, &received, Start::Beginning);
    }
    for received in ended(late).await {
        assert_complete(&sent, &received, Start::Keyframe);
        let waited = received.first_keyframe();
        let limit = Duration::from_secs(3);
        assert!(waited < limit, "a late viewer waited {waited:?}");
    }
}
