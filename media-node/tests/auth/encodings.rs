//! What a signed URL opens: one stream, however its path is written, and none whose name only resembles it.

use std::time::{SystemTime, UNIX_EPOCH};

use media_config::{SignedUrlRules, SignedUrlSettings};

use super::{folder, publish, signature, start};
use crate::support::request;

#[tokio::test]
async fn signed_url_opens_its_stream_however_the_path_is_written_and_no_other_one() {
    let folder = folder(&[("keys", "k1")]);
    let node = start(|config| {
        config.auth.play.signed_urls = Some(SignedUrlSettings {
            directory: folder.path().to_owned(),
            rules: SignedUrlRules::default(),
        });
    })
    .await;
    let mut held = Vec::new();
    for stream in ["live/a", "live/A", "Live/a", "live/a.flv.flv", "live/b"] {
        held.push(publish(&node, stream).await);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expires = now.as_secs() + 3_600;
    let signature = signature("k1", &format!("play\n__defaultVhost__/live/a\n{expires}"));
    let query = format!("expires={expires}&signature={signature}");
    for (path, status) in [
        ("/live/a.flv?", 200),
        ("/live/%61.flv?", 200),
        ("/%6cive/a.flv?", 200),
        ("//live//a.flv?", 200),
        ("/live/_definst_/a.flv?", 200),
        ("/live/a.flv?other=1&", 200),
        ("/live/A.flv?", 401),
        ("/Live/a.flv?", 401),
        ("/live/b.flv?", 401),
        ("/live/a.flv.flv?", 401),
        ("/live/%2561.flv?", 401),
        ("/live/a%00.flv?", 400),
        ("/live/a%2Fb.flv?", 401),
        ("/live/./a.flv?", 401),
        ("/other/../live/a.flv?", 401),
        // The first one of several parameters counts.
        ("/live/a.flv?expires=9999999999&", 401),
        ("/live/a.flv?signature=&", 401),
    ] {
        let path = format!("{path}{query}");
        let response = request(node.addresses.http, "HEAD", &path).await;
        assert_eq!(response.status, status, "{path}");
    }
    // The same text signs neither a publication nor another time.
    for changed in [
        format!("expires={expires}0&signature={signature}"),
        format!("expires=0{expires}&signature={signature}"),
        format!("expires=%20{expires}&signature={signature}"),
        format!("expires={expires}%0A&signature={signature}"),
        format!("Expires={expires}&signature={signature}"),
        format!("expires={expires}&signature={}", signature.to_lowercase()),
    ] {
        let path = format!("/live/a.flv?{changed}");
        let response = request(node.addresses.http, "HEAD", &path).await;
        assert_eq!(response.status, 401, "{path}");
    }
}
