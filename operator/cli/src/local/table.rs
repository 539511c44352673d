//! What `livecluster local` prints when all instances serve.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::demo;

/// Addresses of one instance.
pub(super) struct TableRow {
    /// Name, such as `origin-1`.
    pub(super) name: String,
    /// Address of RTMP, if that port is open.
    pub(super) rtmp: Option<SocketAddr>,
    /// Address of HTTP-FLV and the player page, if that port is open.
    pub(super) http: Option<SocketAddr>,
    /// Address of RTMP by TLS, if that port is open.
    pub(super) rtmps: Option<SocketAddr>,
    /// Address of HTTP by TLS, if that port is open.
    pub(super) https: Option<SocketAddr>,
    /// Address of the metrics.
    pub(super) metrics: SocketAddr,
}

/// Returns the instances with their URLs, and what to try next. `program` is how this program was started.
pub(super) fn table(program: &str, name: &str, rows: &[TableRow], demo: bool) -> String {
    let cells: Vec<[String; 4]> = std::iter::once([
        "NAME".to_owned(),
        "PUBLISH AND PLAY (RTMP)".to_owned(),
        "PLAY (HTTP-FLV)".to_owned(),
        "METRICS".to_owned(),
    ])
    .chain(rows.iter().flat_map(lines))
    .collect();
    let width = |column: usize| {
        let cells = cells.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = format!("\nLiveCluster {name} is running on this computer:\n\n");
    for [name, rtmp, http, metrics] in &cells {
        let [a, b, c] = widths;
        let line = format!("  {name:a$}  {rtmp:b$}  {http:c$}  {metrics}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str("\n`livestream` is an example: any name works. The root of each HTTP port is a player page.\n");
    if let (true, Some(row)) = (demo, rows.first()) {
        let path = format!("?stream={}", demo::STREAM);
        let page = match row.https {
            Some(_) => url("https", row.https, &path),
            None => url("http", row.http, &path),
        };
        let _ = writeln!(text, "The demo clip is live: open {page}");
    }
    let mut public = rows.iter().flat_map(TableRow::public);
    if public.all(|address| address.ip().is_loopback()) {
        text.push_str("Only this computer can connect. `--listen ::` opens the ports to others.\n");
    }
    let _ = writeln!(
        text,
        "To try a failover, in a second terminal: `{program} local stop origin-1`, then `start origin-1`."
    );
    text.push_str("Ready. Ctrl-C stops.\n");
    text
}

impl TableRow {
    fn public(&self) -> impl Iterator<Item = SocketAddr> {
        let all = [self.rtmp, self.http, self.rtmps, self.https];
        all.into_iter().flatten()
    }
}

/// Returns the cells of an instance: a line for its ports without TLS, and one for those with TLS, where they are open.
fn lines(row: &TableRow) -> Vec<[String; 4]> {
    let file = format!("{}.flv", demo::STREAM);
    let plain = [
        url("rtmp", row.rtmp, demo::STREAM),
        url("http", row.http, &file),
    ];
    let secure = [
        url("rtmps", row.rtmps, demo::STREAM),
        url("https", row.https, &file),
    ];
    let open = [plain, secure]
        .into_iter()
        .filter(|urls| urls.iter().any(|url| !url.is_empty()));
    let metrics = format!("http://{}/metrics", reachable(row.metrics));
    let mut first = [row.name.clone(), metrics];
    open.map(|[rtmp, http]| {
        let [name, metrics] = std::mem::take(&mut first);
        [name, rtmp, http, metrics]
    })
    .collect()
}

/// Returns the URL of a port for a client on this computer; nothing for a port that is closed.
fn url(scheme: &str, address: Option<SocketAddr>, path: &str) -> String {
    address.map_or_else(String::new, |address| {
        format!("{scheme}://{}/{path}", reachable(address))
    })
}

/// Returns the address for a client on this computer.
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
    fn every_instance_has_a_line_with_urls_that_work_on_this_computer() {
        let row = |name: &str, rtmp: &str, http: &str, metrics: &str| TableRow {
            name: name.to_owned(),
            rtmp: Some(rtmp.parse().unwrap()),
            http: Some(http.parse().unwrap()),
            rtmps: None,
            https: None,
            metrics: metrics.parse().unwrap(),
        };
        let rows = [
            row("origin-1", "[::]:1935", "[::]:8080", "127.0.0.1:9190"),
            row("edge-1", "192.0.2.7:19351", "[::1]:8081", "127.0.0.1:9191"),
        ];
        let text = table("livecluster", "http-flv", &rows, true);
        assert!(text.contains(
            "  origin-1  rtmp://localhost:1935/live/livestream   http://localhost:8080/live/livestream.flv  http://localhost:9190/metrics\n"
        ), "{text}");
        assert!(text.contains(
            "  edge-1    rtmp://192.0.2.7:19351/live/livestream  http://[::1]:8081/live/livestream.flv      http://localhost:9191/metrics\n"
        ), "{text}");
        assert!(text.contains("open http://localhost:8080/?stream=live/livestream\n"));
    }

    #[test]
    fn ports_with_tls_have_a_line_of_their_own() {
        let row = TableRow {
            name: "origin-1".to_owned(),
            rtmp: Some("127.0.0.1:1935".parse().unwrap()),
            http: None,
            rtmps: Some("127.0.0.1:1936".parse().unwrap()),
            https: Some("127.0.0.1:8443".parse().unwrap()),
            metrics: "127.0.0.1:9190".parse().unwrap(),
        };
        let text = table("livecluster", "tls", &[row], true);
        let cells = |line: &str| {
            text.lines()
                .any(|it| it.split_whitespace().eq(line.split(' ')))
        };
        assert!(
            cells("origin-1 rtmp://localhost:1935/live/livestream http://localhost:9190/metrics"),
            "{text}"
        );
        assert!(
            cells(
                "rtmps://localhost:1936/live/livestream https://localhost:8443/live/livestream.flv"
            ),
            "{text}"
        );
        assert!(
            text.contains("open https://localhost:8443/?stream=live/livestream\n"),
            "{text}"
        );
    }
}
