//! What `livecluster local` prints when all instances serve.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::demo;

/// Addresses of one instance.
pub(super) struct Row {
    /// Name, such as `origin-1`.
    pub(super) name: String,
    /// Address of RTMP, if that port is open.
    pub(super) rtmp: Option<SocketAddr>,
    /// Address of HTTP-FLV and the player page, if that port is open.
    pub(super) http: Option<SocketAddr>,
    /// Address of the metrics and the API.
    pub(super) internal: SocketAddr,
}

/// Returns the instances with their URLs, and what to try next. `program` is how this program was started.
pub(super) fn table(program: &str, name: &str, rows: &[Row], demo: bool) -> String {
    let cells: Vec<[String; 4]> = std::iter::once([
        "NAME".to_owned(),
        "PUBLISH AND PLAY (RTMP)".to_owned(),
        "PLAY (HTTP-FLV)".to_owned(),
        "METRICS".to_owned(),
    ])
    .chain(rows.iter().map(|row| {
        [
            row.name.clone(),
            url("rtmp", row.rtmp, demo::STREAM),
            url("http", row.http, &format!("{}.flv", demo::STREAM)),
            format!("http://{}/metrics", reachable(row.internal)),
        ]
    }))
    .collect();
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = format!("\nLiveCluster {name} is running on this machine:\n\n");
    for [name, rtmp, http, internal] in &cells {
        let [a, b, c] = widths;
        let _ = writeln!(text, "  {name:a$}  {rtmp:b$}  {http:c$}  {internal}");
    }
    text.push_str("\n`livestream` is an example: any name works. The root of each HTTP port is a player page.\n");
    if let (true, Some(row)) = (demo, rows.first()) {
        let page = url("http", row.http, &format!("?stream={}", demo::STREAM));
        let _ = writeln!(text, "The demo clip is live: open {page}");
    }
    let mut public = rows.iter().flat_map(|row| [row.rtmp, row.http]).flatten();
    if public.all(|address| address.ip().is_loopback()) {
        text.push_str("Only this machine can connect. `--listen ::` opens the ports to others.\n");
    }
    let _ = writeln!(
        text,
        "To try a failover, in a second terminal: `{program} local stop origin-1`, then `start origin-1`."
    );
    text.push_str("Ready. Ctrl-C stops.\n");
    text
}

/// Returns the URL of a port for a client on this machine; nothing for a port that is closed.
fn url(scheme: &str, address: Option<SocketAddr>, path: &str) -> String {
    address.map_or_else(String::new, |address| {
        format!("{scheme}://{}/{path}", reachable(address))
    })
}

/// Returns the address for a client on this machine.
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
    fn every_instance_has_a_line_with_urls_that_work_on_this_machine() {
        let row = |name: &str, rtmp: &str, http: &str, internal: &str| Row {
            name: name.to_owned(),
            rtmp: Some(rtmp.parse().unwrap()),
            http: Some(http.parse().unwrap()),
            internal: internal.parse().unwrap(),
        };
        let rows = [
            row("origin-1", "[::]:1935", "[::]:8080", "127.0.0.1:9090"),
            row("edge-1", "192.0.2.7:19351", "[::1]:8081", "127.0.0.1:9091"),
        ];
        let text = table("livecluster", "http-flv", &rows, true);
        assert!(text.contains(
            "  origin-1  rtmp://localhost:1935/live/livestream   http://localhost:8080/live/livestream.flv  http://localhost:9090/metrics\n"
        ), "{text}");
        assert!(text.contains(
            "  edge-1    rtmp://192.0.2.7:19351/live/livestream  http://[::1]:8081/live/livestream.flv      http://localhost:9091/metrics\n"
        ), "{text}");
        assert!(text.contains("open http://localhost:8080/?stream=live/livestream\n"));
    }
}
