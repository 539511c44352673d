//! Timestamps cross every edge of the formats unchanged: 24 bits (RTMP's extended timestamp), 31 bits (a sign), 32 bits (a wrap, after
//! 49 days), and streams that do not begin at 0.

use crate::support::{
    Clip, Publisher, Start, assert_complete, begin, cluster, ended, finish, publish,
    watch_everywhere,
};

#[tokio::test]
async fn timestamps_cross_24_31_and_32_bits_on_every_node() {
    const BEFORE: u32 = 3000;
    let nodes = cluster(|_| {}).await;
    let starts = [
        ("day", 86_400_000),
        ("24-bits", (1 << 24) - BEFORE),
        ("31-bits", (1 << 31) - BEFORE),
        ("32-bits", 0_u32.wrapping_sub(BEFORE)),
    ];
    let streams = starts.map(async |(name, from)| {
        let stream = format!("live/{name}");
        let sent = Clip {
            from,
            ..Clip::PLAIN
        };
        let sent = sent.messages(25 * 8);
        let mut viewers = watch_everywhere(&nodes, &stream);
        let mut publisher = Publisher::start(nodes[1].addresses.rtmp, &stream).await;
        let rest = begin(&mut publisher, &sent, &mut viewers).await;
        publish(&mut publisher, rest, 5).await;
        finish(publisher).await;
        for received in ended(viewers).await {
            assert_complete(&sent, &received, Start::Beginning);
        }
    });
    futures::future::join_all(streams).await;
}
