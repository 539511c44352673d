//! What `livecluster local` says when the nodes are up.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::demo;

/// Where one node is.
pub(super) struct Row {
    /// `origin 1`.
    pub(super) label: String,
    /// Publish and play.
    pub(super) rtmp: SocketAddr,
    /// Play, and the player page.
    pub(super) http: SocketAddr,
    /// Metrics and API.
    pub(super) internal: SocketAddr,
}

/// The nodes with their URLs, for people.
pub(super) fn table(name: &str, rows: &[Row], demo: bool) -> String {
    let cells: Vec<[String; 4]> = std::iter::once([
        "NODE".to_owned(),
        "PUBLISH AND PLAY (RTMP)".to_owned(),
        "PLAY (HTTP-FLV)".to_owned(),
        "METRICS".to_owned(),
    ])
    .chain(rows.iter().map(|row| {
        [
            row.label.clone(),
            format!("rtmp://{}/{}", reachable(row.rtmp), demo::STREAM),
            format!("http://{}/{}.flv", reachable(row.http), demo::STREAM),
            format!("http://{}/metrics", reachable(row.internal)),
        ]
    }))
    .collect();
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = format!("\nLiveCluster {name} runs on this machine:\n\n");
    for [node, rtmp, http, internal] in &cells {
        let [a, b, c] = widths;
        let _ = writeln!(text, "  {node:a$}  {rtmp:b$}  {http:c$}  {internal}");
    }
    text.push_str("\n`livestream` may be any name. The root of each HTTP port is a page that plays in a browser.\n");
    if let (true, Some(row)) = (demo, rows.first()) {
        let _ = writeln!(
            text,
            "The demo clip is live: open http://{}/?stream={}",
            reachable(row.http),
            demo::STREAM
        );
    }
    text.push_str("Ready. Ctrl-C stops.\n");
    text
}

/// An address that a client of this machine can use.
fn reachable(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() || ip.is_loopback() => {
            format!("localhost:{}", address.port())
        }
        IpAddr::V6(ip) if ip.is_unspecified() => format!("localhost:{}", address.port()),
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_line_with_urls_that_work_on_this_machine() {
        let row = |label: &str, rtmp: &str, http: &str, internal: &str| Row {
            label: label.to_owned(),
            rtmp: rtmp.parse().unwrap(),
            http: http.parse().unwrap(),
            internal: internal.parse().unwrap(),
        };
        let rows = [
            row("origin 1", "[::]:1935", "[::]:8080", "127.0.0.1:9090"),
            row("edge 1", "192.0.2.7:19351", "[::1]:8081", "127.0.0.1:9091"),
        ];
        let text = table("http-flv", &rows, true);
        assert!(text.contains(
            "  origin 1  rtmp://localhost:1935/live/livestream   http://localhost:8080/live/livestream.flv  http://localhost:9090/metrics\n"
        ), "{text}");
        assert!(text.contains(
            "  edge 1    rtmp://192.0.2.7:19351/live/livestream  http://[::1]:8081/live/livestream.flv      http://localhost:9091/metrics\n"
        ), "{text}");
        assert!(text.contains("open http://localhost:8080/?stream=live/livestream\n"));
    }
}
