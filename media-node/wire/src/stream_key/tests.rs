//! Every way of naming a stream that clients are known to use.

use super::*;

fn vhosts() -> Vec<String> {
    vec!["tv.example".to_owned(), "radio.example".to_owned()]
}

fn rtmp(tc_url: &str, app: &str, stream: &str) -> (String, String) {
    let target = target_from_rtmp(tc_url, app, stream, &vhosts()).unwrap();
    (target.key.to_string(), target.query)
}

fn http(host: Option<&str>, path: &str) -> (String, String) {
    let target = target_from_http(host, path, &vhosts()).unwrap();
    (target.key.to_string(), target.query)
}

fn named(key: &str) -> (String, String) {
    (key.to_owned(), String::new())
}

#[test]
fn an_ordinary_rtmp_address_names_app_and_stream() {
    assert_eq!(
        rtmp("rtmp://10.0.0.1/live", "live", "cam"),
        named("live/cam")
    );
    assert_eq!(
        rtmp("rtmp://10.0.0.1:1935/live/", "live/", "cam"),
        named("live/cam")
    );
    assert_eq!(
        rtmp("rtmp://[::1]:1935/live", "live", "cam"),
        named("live/cam")
    );
    assert_eq!(rtmp("", "live", "cam"), named("live/cam"));
}

#[test]
fn a_configured_host_of_the_url_is_the_virtual_host() {
    let expected = named("tv.example/live/cam");
    assert_eq!(rtmp("rtmp://tv.example/live", "live", "cam"), expected);
    assert_eq!(
        rtmp("rtmp://TV.example:19350/live", "live", "cam"),
        expected
    );
    assert_eq!(
        rtmp("rtmp://user:pass@tv.example/live", "live", "cam"),
        expected
    );
    assert_eq!(
        rtmp("rtmp://other.example/live", "live", "cam"),
        named("live/cam")
    );
}

#[test]
fn the_virtual_host_may_be_a_parameter_of_any_part() {
    let expected = named("tv.example/live/cam");
    let plain = "rtmp://10.0.0.1/live";
    assert_eq!(rtmp(plain, "live", "cam?vhost=tv.example"), expected);
    assert_eq!(rtmp(plain, "live", "cam?domain=tv.example"), expected);
    assert_eq!(rtmp(plain, "live?vhost=tv.example", "cam"), expected);
    assert_eq!(rtmp(plain, "live#vhost=tv.example", "cam"), expected);
    assert_eq!(
        rtmp("rtmp://10.0.0.1/live?vhost=tv.example", "live", "cam"),
        expected
    );
    assert_eq!(
        rtmp(
            "rtmp://10.0.0.1/live?vhost=tv.example/cam",
            "live?vhost=tv.example",
            "cam"
        ),
        expected
    );
    assert_eq!(
        rtmp("rtmp://radio.example/live", "live", "cam?vhost=tv.example"),
        expected
    );
    assert_eq!(rtmp(plain, "live", "cam?vhost=unknown"), named("live/cam"));
    assert_eq!(
        rtmp(
            "rtmp://tv.example/live",
            "live",
            "cam?vhost=__defaultVhost__"
        ),
        named("live/cam")
    );
}

#[test]
fn the_virtual_host_may_be_marked_by_dots() {
    assert_eq!(
        rtmp(
            "rtmp://10.0.0.1/live...vhost...tv.example",
            "live...vhost...tv.example",
            "cam"
        ),
        named("tv.example/live/cam")
    );
    assert_eq!(
        rtmp(
            "rtmp://10.0.0.1/live...vhost...tv.example/cam",
            "live...vhost...tv.example/cam",
            ""
        ),
        named("tv.example/live/cam")
    );
}

#[test]
fn a_stream_behind_a_virtual_host_counts_if_it_is_said_nowhere_else() {
    let url = "rtmp://10.0.0.1/live?vhost=tv.example/cam";
    assert_eq!(
        rtmp(url, "live?vhost=tv.example/cam", ""),
        named("tv.example/live/cam")
    );
    assert_eq!(
        rtmp(url, "live?vhost=tv.example", "other"),
        named("tv.example/live/other")
    );
}

#[test]
fn the_default_instance_is_dropped() {
    assert_eq!(
        rtmp("rtmp://h/live/_definst_", "live/_definst_", "cam"),
        named("live/cam")
    );
}

#[test]
fn app_and_stream_are_the_same_however_a_client_splits_them() {
    let expected = named("live/room/cam");
    assert_eq!(rtmp("rtmp://h/live", "live", "room/cam"), expected);
    assert_eq!(rtmp("rtmp://h/live/room", "live/room", "cam"), expected);
    assert_eq!(
        rtmp("rtmp://h/live/room/cam", "live/room/cam", ""),
        expected
    );
    assert_eq!(http(None, "/live/room/cam.flv"), expected);
    let key = StreamKey::new(None, "live", "room/cam").unwrap();
    assert_eq!((key.app(), key.name()), ("live/room", "cam"));
}

#[test]
fn a_stream_without_app_gets_the_default_app() {
    assert_eq!(rtmp("rtmp://h/cam", "cam", ""), named("__defaultApp__/cam"));
    assert_eq!(rtmp("rtmp://h/", "", "cam"), named("__defaultApp__/cam"));
    assert_eq!(rtmp("rtmp://h/live", "", "cam"), named("live/cam"));
}

#[test]
fn other_parameters_are_kept_once_each() {
    let (key, query) = rtmp(
        "rtmp://h/live?token=t",
        "live?token=t",
        "cam?x=1&vhost=tv.example&flag",
    );
    assert_eq!(key, "tv.example/live/cam");
    assert_eq!(query, "x=1&flag&token=t");
}

#[test]
fn an_http_path_names_app_and_stream() {
    assert_eq!(http(None, "/live/cam.flv"), named("live/cam"));
    assert_eq!(
        http(Some("tv.example:8080"), "/live/cam.flv"),
        named("tv.example/live/cam")
    );
    assert_eq!(
        http(Some("h"), "/live/cam.flv?vhost=tv.example"),
        named("tv.example/live/cam")
    );
    assert_eq!(
        http(Some("h"), "/tv.example/live/cam.flv"),
        named("tv.example/live/cam")
    );
    assert_eq!(
        http(Some("tv.example"), "/__defaultVhost__/live/cam.flv"),
        named("live/cam")
    );
    assert_eq!(
        http(Some("h"), "/other/live/cam.flv"),
        named("other/live/cam")
    );
    assert_eq!(http(None, "/cam.flv"), named("__defaultApp__/cam"));
    assert_eq!(http(None, "/live/cam.flv?token=a%20b").1, "token=a%20b");
}

#[test]
fn percent_escapes_mean_the_same_in_rtmp_and_http() {
    assert_eq!(http(None, "/live/my%20cam.flv"), named("live/my cam"));
    assert_eq!(
        rtmp("rtmp://h/live", "live", "my%20cam"),
        named("live/my cam")
    );
    assert_eq!(rtmp("rtmp://h/live", "live", "100%"), named("live/100%"));
    assert_eq!(
        rtmp("rtmp://h/live", "live", "%+1%ff"),
        named("live/%+1%ff")
    );
    assert_eq!(http(None, "/live/%E2%82%AC.flv"), named("live/€"));
}

#[test]
fn what_is_no_flv_path_is_refused() {
    let refused = |path| target_from_http(None, path, &[]).unwrap_err();
    assert_eq!(refused("/live/cam"), InvalidKey::NotAnFlvPath);
    assert_eq!(refused("/"), InvalidKey::NotAnFlvPath);
    assert_eq!(refused("/live/.flv"), InvalidKey::Empty(Part::Name));
    assert_eq!(
        refused("/live/a%0ab.flv"),
        InvalidKey::ControlCharacter(Part::Name)
    );
}

#[test]
fn empty_long_and_unprintable_parts_are_refused() {
    let new = |app: &str, name: &str| StreamKey::new(None, app, name).unwrap_err();
    assert_eq!(new("live", ""), InvalidKey::Empty(Part::Name));
    assert_eq!(new("live", "/"), InvalidKey::Empty(Part::Name));
    assert_eq!(new("", "cam"), InvalidKey::Empty(Part::App));
    assert_eq!(
        new("live", "a\nb"),
        InvalidKey::ControlCharacter(Part::Name)
    );
    let long = "x".repeat(256);
    assert_eq!(
        new("live", &long),
        InvalidKey::TooLong {
            part: Part::Name,
            length: 256
        }
    );
    assert_eq!(
        target_from_rtmp("rtmp://h/", "", "", &[]).unwrap_err(),
        InvalidKey::Empty(Part::Name)
    );
}

#[test]
fn a_key_shows_its_parts() {
    let key = StreamKey::new(Some("tv.example"), "live", "cam").unwrap();
    assert_eq!(key.to_string(), "tv.example/live/cam");
    let default = StreamKey::new(Some("__defaultVhost__"), "live", "cam").unwrap();
    assert_eq!(
        (default.vhost(), default.to_string().as_str()),
        (None, "live/cam")
    );
}
