//! Every form of a stream's address that clients use.

use super::*;

fn vhosts() -> Vec<String> {
    vec!["tv.example".to_owned(), "radio.example".to_owned()]
}

fn rtmp(tc_url: &str, app: &str, stream: &str) -> String {
    let key = StreamKey::from_rtmp(tc_url, app, stream, &vhosts(), &NameLimits::default());
    key.unwrap().to_string()
}

fn http(host: Option<&str>, path: &str) -> String {
    let key = StreamKey::from_http(host, path, &vhosts(), &NameLimits::default());
    key.unwrap().to_string()
}

#[test]
fn rtmp_address_names_app_and_stream() {
    assert_eq!(rtmp("rtmp://10.0.0.1/live", "live", "cam"), "live/cam");
    assert_eq!(
        rtmp("rtmp://10.0.0.1:1935/live/", "live/", "cam"),
        "live/cam"
    );
    assert_eq!(rtmp("rtmp://[::1]:1935/live", "live", "cam"), "live/cam");
    assert_eq!(rtmp("", "live", "cam"), "live/cam");
}

#[test]
fn configured_host_of_url_is_virtual_host() {
    let expected = "tv.example/live/cam";
    assert_eq!(rtmp("rtmp://tv.example/live", "live", "cam"), expected);
    assert_eq!(
        rtmp("rtmp://TV.example:19350/live", "live", "cam"),
        expected
    );
    assert_eq!(
        rtmp("rtmp://user:pass@tv.example/live", "live", "cam"),
        expected
    );
    assert_eq!(rtmp("rtmp://other.example/live", "live", "cam"), "live/cam");
}

#[test]
fn virtual_host_is_parameter_of_any_part() {
    let expected = "tv.example/live/cam";
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
    assert_eq!(rtmp(plain, "live", "cam?vhost=unknown"), "live/cam");
    assert_eq!(
        rtmp(
            "rtmp://tv.example/live",
            "live",
            "cam?vhost=__defaultVhost__"
        ),
        "live/cam"
    );
}

#[test]
fn virtual_host_is_marked_by_dots() {
    assert_eq!(
        rtmp(
            "rtmp://10.0.0.1/live...vhost...tv.example",
            "live...vhost...tv.example",
            "cam"
        ),
        "tv.example/live/cam"
    );
    assert_eq!(
        rtmp(
            "rtmp://10.0.0.1/live...vhost...tv.example/cam",
            "live...vhost...tv.example/cam",
            ""
        ),
        "tv.example/live/cam"
    );
}

#[test]
fn path_after_virtual_host_names_stream_if_no_other_part_does() {
    let url = "rtmp://10.0.0.1/live?vhost=tv.example/cam";
    assert_eq!(
        rtmp(url, "live?vhost=tv.example/cam", ""),
        "tv.example/live/cam"
    );
    assert_eq!(
        rtmp(url, "live?vhost=tv.example", "other"),
        "tv.example/live/other"
    );
}

#[test]
fn file_formats_of_rtmp_names_are_dropped() {
    let name = |stream| rtmp("rtmp://h/live", "live", stream);
    for stream in ["cam.flv", "flv:cam", "mp4:cam", "cam.flv?token=t"] {
        assert_eq!(name(stream), "live/cam", "{stream}");
    }
    assert_eq!(
        rtmp("rtmp://h/live/cam.flv", "live/cam.flv", ""),
        "live/cam"
    );
    assert_eq!(name("flv:room/cam.flv"), "live/room/cam");
    assert_eq!(name("mp4:cam.mp4"), "live/cam.mp4");
    assert_eq!(name("a.flv/cam"), "live/a.flv/cam");
    let refused =
        StreamKey::from_rtmp("rtmp://h/live", "live", ".flv", &[], &NameLimits::default());
    assert_eq!(refused.unwrap_err(), InvalidKey::Empty(KeyPart::Name));
}

#[test]
fn first_folder_is_virtual_host_in_rtmp_and_http() {
    let expected = "tv.example/live/cam";
    assert_eq!(http(None, "/tv.example/live/cam.flv"), expected);
    let url = "rtmp://h/tv.example/live";
    assert_eq!(rtmp(url, "tv.example/live", "cam"), expected);
    assert_eq!(
        rtmp("rtmp://h/tv.example", "tv.example", "live/cam"),
        expected
    );
    assert_eq!(
        rtmp("rtmp://radio.example/x", "TV.example/live", "cam"),
        expected
    );
    assert_eq!(rtmp(url, "__defaultVhost__/live", "cam"), "live/cam");
    assert_eq!(
        rtmp(url, "tv.example", "cam"),
        "tv.example/cam",
        "an application"
    );
}

#[test]
fn parameters_that_ffmpeg_split_at_a_slash_are_not_the_name() {
    let name = |app, stream| rtmp("rtmp://h/live/vf?secret=a", app, stream);
    assert_eq!(name("live/vf?secret=a", "b"), "live/vf");
    assert_eq!(
        name("live/vf?x=1&secret=a", "b/c&vhost=tv.example"),
        "tv.example/live/vf"
    );
    assert_eq!(name("live/room/vf?secret=a", ""), "live/room/vf");
    // Parameters of the application.
    assert_eq!(name("live/room?secret=a", "b?x=1"), "live/room/b");
    assert_eq!(name("live?secret=a", "b"), "live/b");
    assert_eq!(
        name("live/room?vhost=tv.example", "b"),
        "tv.example/live/room/b"
    );
    let joined = join_parameters("live/vf?x=1&secret=a", "b=");
    assert_eq!(joined, Some(("live", "vf?x=1&secret=a/b=".to_owned())));
}

#[test]
fn default_instance_is_dropped() {
    assert_eq!(
        rtmp("rtmp://h/live/_definst_", "live/_definst_", "cam"),
        "live/cam"
    );
}

#[test]
fn app_and_stream_are_the_same_however_client_splits_them() {
    let expected = "live/room/cam";
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
fn stream_without_app_gets_default_app() {
    assert_eq!(rtmp("rtmp://h/cam", "cam", ""), "__defaultApp__/cam");
    assert_eq!(rtmp("rtmp://h/", "", "cam"), "__defaultApp__/cam");
    assert_eq!(rtmp("rtmp://h/live", "", "cam"), "live/cam");
}

#[test]
fn other_parameters_are_ignored() {
    let key = rtmp(
        "rtmp://h/live?token=t",
        "live?token=t",
        "cam?x=1&vhost=tv.example&flag",
    );
    assert_eq!(key, "tv.example/live/cam");
}

#[test]
fn http_path_names_app_and_stream() {
    assert_eq!(http(None, "/live/cam.flv"), "live/cam");
    assert_eq!(
        http(Some("tv.example:8080"), "/live/cam.flv"),
        "tv.example/live/cam"
    );
    assert_eq!(
        http(Some("h"), "/live/cam.flv?vhost=tv.example"),
        "tv.example/live/cam"
    );
    assert_eq!(
        http(Some("h"), "/tv.example/live/cam.flv"),
        "tv.example/live/cam"
    );
    assert_eq!(
        http(Some("tv.example"), "/__defaultVhost__/live/cam.flv"),
        "live/cam"
    );
    assert_eq!(http(Some("h"), "/other/live/cam.flv"), "other/live/cam");
    assert_eq!(http(None, "/cam.flv"), "__defaultApp__/cam");
    assert_eq!(http(None, "/live/cam.flv?token=a%20b"), "live/cam");
}

#[test]
fn percent_escapes_are_decoded_in_rtmp_and_http() {
    assert_eq!(http(None, "/live/my%20cam.flv"), "live/my cam");
    assert_eq!(rtmp("rtmp://h/live", "live", "my%20cam"), "live/my cam");
    assert_eq!(rtmp("rtmp://h/live", "live", "100%"), "live/100%");
    assert_eq!(rtmp("rtmp://h/live", "live", "%+1%ff"), "live/%+1%ff");
    assert_eq!(http(None, "/live/%E2%82%AC.flv"), "live/€");
}

#[test]
fn path_other_than_flv_is_refused() {
    let refused = |path| StreamKey::from_http(None, path, &[], &NameLimits::default()).unwrap_err();
    assert_eq!(refused("/live/cam"), InvalidKey::NotAnFlvPath);
    assert_eq!(refused("/"), InvalidKey::NotAnFlvPath);
    assert_eq!(refused("/live/.flv"), InvalidKey::Empty(KeyPart::Name));
    assert_eq!(
        refused("/live/a%0ab.flv"),
        InvalidKey::ControlCharacter(KeyPart::Name)
    );
}

#[test]
fn empty_long_and_unprintable_parts_are_refused() {
    let new = |app: &str, name: &str| StreamKey::new(None, app, name).unwrap_err();
    assert_eq!(new("live", ""), InvalidKey::Empty(KeyPart::Name));
    assert_eq!(new("live", "/"), InvalidKey::Empty(KeyPart::Name));
    assert_eq!(new("", "cam"), InvalidKey::Empty(KeyPart::App));
    assert_eq!(
        new("live", "a\nb"),
        InvalidKey::ControlCharacter(KeyPart::Name)
    );
    let long = "x".repeat(256);
    assert_eq!(
        new("live", &long),
        InvalidKey::TooLong {
            part: KeyPart::Name,
            length: 256
        }
    );
    assert_eq!(
        StreamKey::from_rtmp("rtmp://h/", "", "", &[], &NameLimits::default()).unwrap_err(),
        InvalidKey::Empty(KeyPart::Name)
    );
}

#[test]
fn key_displays_its_parts() {
    let key = StreamKey::new(Some("tv.example"), "live", "cam").unwrap();
    assert_eq!(key.to_string(), "tv.example/live/cam");
    let default = StreamKey::new(Some("__defaultVhost__"), "live", "cam").unwrap();
    assert_eq!(
        (default.vhost(), default.to_string().as_str()),
        (None, "live/cam")
    );
}

#[test]
fn long_http_addresses_are_refused_before_they_are_read() {
    let of = |path: &str| StreamKey::from_http(None, path, &[], &NameLimits::default());
    let parameters = |count: usize| format!("/live/cam.flv?{}", "a=b&".repeat(count));
    assert!(of(&parameters(32)).is_ok());
    assert_eq!(
        of(&parameters(33)),
        Err(InvalidKey::TooManyParameters {
            count: 33,
            allowed: 32
        })
    );
    let long = format!("/live/cam.flv?{}", "a".repeat(4_096));
    assert_eq!(
        of(&long),
        Err(InvalidKey::LongParameters {
            bytes: 4_097,
            allowed: 4_096
        })
    );
    let long = format!("/{}cam.flv", "a/".repeat(800));
    assert_eq!(
        of(&long),
        Err(InvalidKey::LongNames {
            bytes: 1_608,
            allowed: 512
        })
    );
}

#[test]
fn long_rtmp_addresses_are_refused_before_they_are_read() {
    let of = |tc_url: &str, app: &str, stream: &str| {
        StreamKey::from_rtmp(tc_url, app, stream, &[], &NameLimits::default())
    };
    let parameters = |count: usize| format!("?{}", "a=b&".repeat(count));
    let url = format!("rtmp://h/live{}", parameters(31));
    let app = format!("live{}", parameters(31));
    assert!(
        of(&url, &app, "cam?key=x").is_ok(),
        "repeated parameters count once"
    );
    assert_eq!(
        of(&url, &app, "cam?key=x&token=y"),
        Err(InvalidKey::TooManyParameters {
            count: 33,
            allowed: 32
        })
    );
    let long = format!("cam?{}", "a".repeat(4096));
    assert_eq!(
        of("rtmp://h/live", "live", &long),
        Err(InvalidKey::LongParameters {
            bytes: 4097,
            allowed: 4_096
        })
    );
    let huge = format!("rtmp://h/live{}", parameters(16_000));
    assert_eq!(
        of(&huge, "live", "cam"),
        Err(InvalidKey::LongParameters {
            bytes: 64_001,
            allowed: 4_096
        })
    );
    assert_eq!(
        of("rtmp://h/live", "live", &"a/".repeat(32_000)),
        Err(InvalidKey::LongNames {
            bytes: 64_004,
            allowed: 512
        })
    );
    assert_eq!(
        of(&"a/".repeat(32_000), "", "cam"),
        Err(InvalidKey::LongNames {
            bytes: 64_000,
            allowed: 512
        })
    );
}

#[test]
fn limits_of_an_address_are_those_of_the_configuration() {
    let limits = NameLimits {
        name_bytes: 8,
        parameters: 2,
        parameter_bytes: 16,
    };
    let http = |path: &str| StreamKey::from_http(None, path, &[], &limits);
    let rtmp = |stream: &str| StreamKey::from_rtmp("rtmp://h/live", "live", stream, &[], &limits);
    assert!(http("/live/%61%62%63%64.flv?a=1&b=2").is_ok());
    assert!(rtmp("abcd?a=1&b=2").is_ok());
    let names = InvalidKey::LongNames {
        bytes: 9,
        allowed: 8,
    };
    assert_eq!(http("/live/abcde.flv"), Err(names.clone()));
    assert_eq!(rtmp("abcde"), Err(names));
    let count = InvalidKey::TooManyParameters {
        count: 3,
        allowed: 2,
    };
    assert_eq!(http("/live/a.flv?a&b&c"), Err(count.clone()));
    assert_eq!(rtmp("a?a&b&c"), Err(count));
    let bytes = InvalidKey::LongParameters {
        bytes: 17,
        allowed: 16,
    };
    assert_eq!(rtmp("a?key=abcdefghijkl"), Err(bytes));
}
