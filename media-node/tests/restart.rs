//! A media node that is stopped and started again in the same process.

use std::net::SocketAddr;

use media_node::{NodeConfig, Timings};

use crate::support::{FlvViewer, Publisher, RtmpViewer, TestNode, own_address};

#[tokio::test]
async fn stopped_media_node_starts_again_on_its_ports_without_its_streams() {
    let any = SocketAddr::from((own_address(), 0));
    let mut config = NodeConfig {
        workers: 2,
        name: "test".to_owned(),
        ..NodeConfig::default()
    };
    config.stream.play_wait_seconds = 60;
    config.listen.rtmp = Some(any);
    config.listen.http = Some(any);
    config.listen.internal = any;
    config.listen.metrics = Some(any);
    let mut node = TestNode::run(config.clone(), Timings::default()).await;
    let addresses = node.addresses;
    config.listen.rtmp = Some(addresses.rtmp);
    config.listen.http = Some(addresses.http);
    config.listen.internal = addresses.internal;
    config.listen.metrics = Some(addresses.metrics);
    for _ in 0..3 {
        let _publisher = Publisher::with_group(addresses.rtmp, "live/a").await;
        let mut flv = FlvViewer::open(addresses.http, "/live/a.flv").await;
        let mut rtmp = RtmpViewer::start(addresses.rtmp, "live/a").await;
        assert_eq!(flv.numbered().await, Some((0, 0)));
        assert_eq!(rtmp.numbered().await, Some((0, 0)));

        node.stop.cancel();
        node.ended().await;
        node = TestNode::run(config.clone(), Timings::default()).await;
        assert_eq!(node.addresses, addresses);
        let summary = node.api("/api/v1/summary").await;
        for count in ["streams", "viewers", "connections", "egressBytes"] {
            assert_eq!(summary[count], 0, "{count}");
        }
    }
}
