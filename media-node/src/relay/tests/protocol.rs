//! The server of the relay protocol against invalid requests.

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use media_wire::MediaKind;
use media_wire::flv::{Tracks, file_header, tag_header};
use tokio::time::timeout;

use super::cluster::{LIMIT, RelayCluster, RelayNode, key};

/// Forwards these bytes, and returns the status of the response.
async fn forward(node: &RelayNode, body: Vec<u8>) -> StatusCode {
    let mut connection = node.relay.context.connect(node.address).await.unwrap();
    let uri = "/relay/v1/forward?app=live&stream=hostile&epoch=7";
    let body = Full::new(body.into()).boxed_unsync();
    let response = timeout(LIMIT, connection.send(Method::POST, uri, body));
    response.await.unwrap().unwrap().status()
}

#[tokio::test]
async fn forwarded_body_that_is_no_relay_stream_is_refused_and_leaves_no_publication() {
    let cluster = RelayCluster::new();
    let origin = cluster.origin("o").await;
    let header = file_header(Tracks {
        audio: true,
        video: true,
    })
    .to_vec();
    let tag = |kind, len| tag_header(kind, 0, len).to_vec();
    let unmarked = [
        header.clone(),
        tag(MediaKind::Audio, 1),
        vec![1, 0, 0, 0, 12],
    ];
    let huge = [header.clone(), tag(MediaKind::Video, 0xFF_FFFF)];
    let broken_mark = [
        header.clone(),
        tag(MediaKind::Data, 20),
        b"\x02\x00\x11onLiveClusterMark\0\0\0\x1f".to_vec(),
    ];
    for (body, status) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        (unmarked.concat(), 400),
        (huge.concat(), 400),
        (broken_mark.concat(), 400),
        (vec![0xFF; 1 << 20], 400),
        (header, 200),
        (Vec::new(), 200),
    ] {
        assert_eq!(
            forward(&origin, body.clone()).await.as_u16(),
            status,
            "{:?}",
            body.get(..40)
        );
        let stream = origin.registry.find(&key("hostile")).unwrap();
        assert_eq!(stream.state().publication, None);
    }
}

#[tokio::test]
async fn invalid_request_gets_a_status() {
    let cluster = RelayCluster::new();
    let (origin, edge) = (cluster.origin("o").await, cluster.edge("e").await);
    let stream = "app=live&stream=a";
    let of_stream = |path: &str| format!("{path}?{stream}");
    let (get, post) = (Method::GET, Method::POST);
    for (node, method, request, status) in [
        (&origin, &get, "publication".to_owned(), 400),
        (&origin, &get, of_stream("publication") + "&wait=x", 400),
        (&origin, &get, of_stream("publication"), 404),
        (&origin, &get, of_stream("pull"), 404),
        (&origin, &post, of_stream("pull"), 405),
        (&origin, &post, of_stream("forward"), 400),
        (&edge, &post, of_stream("forward") + "&epoch=1", 403),
        (&origin, &post, of_stream("supersede"), 400),
        (&origin, &post, of_stream("supersede") + "&epoch=1", 200),
        (&origin, &get, "nothing".to_owned(), 404),
    ] {
        let uri = format!("/relay/v1/{request}");
        let response = node.status_of(method.clone(), &uri).await;
        assert_eq!(response.as_u16(), status, "{uri}");
    }
}
