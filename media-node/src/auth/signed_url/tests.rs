//! The schemes against published examples, and against URLs that were changed.

use std::fs;
use std::net::Ipv4Addr;

use tempfile::TempDir;

use super::*;

const NOW: u64 = 1_700_000_000;

fn urls(scheme: SignedUrlScheme, keys: &str) -> (TempDir, SignedUrls) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys"), keys).unwrap();
    let rules = SignedUrlRules {
        scheme,
        validity_seconds: 0,
    };
    let urls = SignedUrls::open(folder.path(), rules).unwrap();
    (folder, urls)
}

fn judge(urls: &SignedUrls, action: Action, query: &str, now: u64) -> Result<(), Denial> {
    judge_stream(urls, action, "live", "cam", query, now)
}

fn judge_stream(
    urls: &SignedUrls,
    action: Action,
    app: &str,
    name: &str,
    query: &str,
    now: u64,
) -> Result<(), Denial> {
    let stream = StreamKey::new(None, app, name).unwrap();
    let credential = Credential::new(query, None);
    let signed = Signed {
        action,
        stream: &stream,
        peer: Ipv4Addr::new(192, 0, 2, 1).into(),
        priority: credential.parameter("priority"),
    };
    urls.judge(&credential, signed, now).map(drop)
}

fn sign(key: &str, text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    let mac = mac.chain_update(text).finalize().into_bytes();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac)
}

fn url(key: &str, text: &str, expires: u64) -> String {
    format!(
        "expires={expires}&signature={}",
        sign(key, &format!("{text}\n{expires}"))
    )
}

#[test]
fn url_is_valid_for_its_action_stream_and_time() {
    let (_folder, urls) = urls(SignedUrlScheme::LiveCluster, "k1\nk2\n");
    for key in ["k1", "k2"] {
        let query = url(key, "play\n__defaultVhost__/live/cam", NOW);
        assert_eq!(judge(&urls, Action::Play, &query, NOW), Ok(()));
        assert_eq!(
            judge(&urls, Action::Play, &query, NOW + 1),
            Err(Denial::Expired)
        );
        assert_eq!(
            judge(&urls, Action::Publish, &query, NOW),
            Err(Denial::Signature)
        );
        let other = judge_stream(&urls, Action::Play, "live", "cam2", &query, NOW);
        assert_eq!(other, Err(Denial::Signature));
    }
    let forged = url("k3", "play\n__defaultVhost__/live/cam", NOW);
    assert_eq!(
        judge(&urls, Action::Play, &forged, NOW),
        Err(Denial::Signature)
    );
    let later = url("k1", "play\n__defaultVhost__/live/cam", NOW).replace("00000&", "99999&");
    assert_eq!(
        judge(&urls, Action::Play, &later, NOW),
        Err(Denial::Signature)
    );
}

#[test]
fn url_bound_to_an_address_is_valid_there_only() {
    let (_folder, urls) = urls(SignedUrlScheme::LiveCluster, "k");
    let bound = |ip: &str| {
        let text = format!("play\n__defaultVhost__/live/cam\n{NOW}\n{ip}");
        format!("expires={NOW}&signature={}", sign("k", &text))
    };
    assert_eq!(judge(&urls, Action::Play, &bound("192.0.2.1"), NOW), Ok(()));
    let elsewhere = judge(&urls, Action::Play, &bound("192.0.2.2"), NOW);
    assert_eq!(elsewhere, Err(Denial::Signature));
}

/// The example of Tencent Cloud's page "Hotlink Protection URL Calculation".
#[test]
fn tencent_example_is_valid() {
    let (_folder, urls) = urls(SignedUrlScheme::Tencent, "e12c46f2612d5106e2034781ab261ca3");
    let query = "txSecret=f85a2ab363fe4deaffef9754d79da6fe&txTime=5C271099";
    let at = |now| judge_stream(&urls, Action::Publish, "live", "test", query, now);
    assert_eq!(at(0x5C27_1099), Ok(()));
    assert_eq!(at(0x5C27_1099 + 1), Err(Denial::Expired));
    let moved = query.replace("5C271099", "7C271099");
    let moved = judge_stream(&urls, Action::Publish, "live", "test", &moved, NOW);
    assert_eq!(moved, Err(Denial::Signature));
}

#[test]
fn tencent_name_cannot_give_digits_to_the_time() {
    let (_folder, urls) = urls(SignedUrlScheme::Tencent, "key");
    let secret = hash::<Md5>(&[format!("keycam1{NOW:x}").as_bytes()]);
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("txSecret={secret}&txTime=1{NOW:x}");
    assert_eq!(
        judge(&urls, Action::Play, &query, NOW),
        Err(Denial::Signature)
    );
}

#[test]
fn tencent_secret_may_be_a_sha256() {
    let (_folder, urls) = urls(SignedUrlScheme::Tencent, "key");
    let time = format!("{NOW:X}");
    let secret: String = Sha256::digest(format!("keycam{time}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let query = format!("txSecret={secret}&txTime={time}");
    assert_eq!(judge(&urls, Action::Play, &query, NOW), Ok(()));
}

/// The example of Alibaba Cloud's page "Type A signing".
#[test]
fn alibaba_example_is_valid() {
    let auth_key = "1444435200-0-0-80cd3862d699b7118eed99103f2a3a4f";
    let key = b"aliyuncdnexp1234";
    assert!(is_alibaba_key(key, "/video/standard/1K.html", auth_key));
    assert!(!is_alibaba_key(key, "/video/standard/2K.html", auth_key));
    assert!(!is_alibaba_key(
        b"other",
        "/video/standard/1K.html",
        auth_key
    ));
}

#[test]
fn alibaba_url_is_valid_with_and_without_suffix_and_for_its_period() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("primary"), "key").unwrap();
    let rules = SignedUrlRules {
        scheme: SignedUrlScheme::Alibaba,
        validity_seconds: 60,
    };
    let urls = SignedUrls::open(folder.path(), rules).unwrap();
    for path in ["/live/cam", "/live/cam.flv"] {
        let hash = hash::<Md5>(&[format!("{path}-{NOW}-r-0-key").as_bytes()]);
        let md5: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let query = format!("auth_key={NOW}-r-0-{md5}");
        assert_eq!(judge(&urls, Action::Play, &query, NOW + 60), Ok(()));
        assert_eq!(
            judge(&urls, Action::Play, &query, NOW + 61),
            Err(Denial::Expired)
        );
    }
    let signed = format!("{NOW}-r-0");
    let md5 = hash::<Md5>(&[format!("/live/cam.flv-{signed}-key").as_bytes()]);
    let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("auth_key={signed}-{md5}");
    let other = judge_stream(&urls, Action::Play, "live", "cam.flv", &query, NOW);
    assert_eq!(other, Err(Denial::Signature));
    for broken in ["", "-", "1-2-3", "1-2-3-4-5", "x"] {
        let query = format!("auth_key={broken}");
        assert_eq!(
            judge(&urls, Action::Play, &query, NOW),
            Err(Denial::Signature)
        );
    }
}

#[test]
fn removed_signing_key_is_noticed() {
    let (folder, urls) = urls(SignedUrlScheme::LiveCluster, "k");
    let query = url("k", "play\n__defaultVhost__/live/cam", NOW);
    let stream = StreamKey::new(None, "live", "cam").unwrap();
    let signed = Signed {
        action: Action::Play,
        stream: &stream,
        priority: None,
        peer: Ipv4Addr::LOCALHOST.into(),
    };
    let proof = urls
        .judge(&Credential::new(&query, None), signed, NOW)
        .unwrap();
    assert!(urls.holds(&proof));
    fs::write(folder.path().join("keys"), "k2").unwrap();
    urls.keys.reload();
    assert!(!urls.holds(&proof));
}

#[test]
fn priority_is_part_of_what_is_signed() {
    let (_folder, urls) = urls(SignedUrlScheme::LiveCluster, "k1");
    let text = "publish\n__defaultVhost__/live/cam";
    let signature = sign("k1", &format!("{text}\n{NOW}\npriority=7"));
    let judged = |priority: &str| {
        let query = format!("expires={NOW}&signature={signature}{priority}");
        judge(&urls, Action::Publish, &query, NOW)
    };
    assert_eq!(judged("&priority=7"), Ok(()));
    assert_eq!(judged("&priority=8"), Err(Denial::Signature));
    assert_eq!(judged(""), Err(Denial::Signature));
    let unsigned = format!("{}&priority=7", url("k1", text, NOW));
    assert_eq!(
        judge(&urls, Action::Publish, &unsigned, NOW),
        Err(Denial::Signature)
    );
}

#[test]
fn priority_does_not_stand_for_an_address() {
    let (_folder, urls) = urls(SignedUrlScheme::LiveCluster, "k1");
    let text = format!("publish\n__defaultVhost__/live/cam\n{NOW}\npriority=7\n198.51.100.9");
    let signature = sign("k1", &text);
    let query = format!("expires={NOW}&signature={signature}&priority=7%0A198.51.100.9");
    assert_eq!(
        judge(&urls, Action::Publish, &query, NOW),
        Err(Denial::Signature)
    );
}

#[test]
fn signature_of_a_cdn_has_no_priority() {
    let (_folder, urls) = urls(SignedUrlScheme::Alibaba, "key");
    let signed = format!("{NOW}-0-0");
    let md5 = hash::<Md5>(&[format!("/live/cam-{signed}-key").as_bytes()]);
    let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
    let query = format!("auth_key={signed}-{md5}");
    assert_eq!(judge(&urls, Action::Publish, &query, NOW), Ok(()));
    let query = format!("{query}&priority=7");
    assert_eq!(
        judge(&urls, Action::Publish, &query, NOW),
        Err(Denial::Priority)
    );
}
