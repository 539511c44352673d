//! Real encoders, players and browsers against the instances of `livecluster local`: `e2e/run interop`.
//!
//! One scenario, one file, named by what it proves. Each starts instances of its own, so none depends on another. What needs only our
//! own client is a test of the media node.

use crate::scenario::{Scenario, scenarios};

mod browser_players;
mod encoder_loop;
mod every_packet;
mod gortmplib;
mod instance_viewers;
mod page;
mod page_changes;
mod refused_encoder;
mod rtmpdump;
mod timestamp_limit;
mod timestamps;
mod tls;
mod web_players;
mod websocket;

/// Every scenario, in the order in which they run.
pub const INTEROP: &[Scenario] = scenarios! { Programs:
    every_packet "every-packet" Alone None,
        "each codec, published to each instance, arrives complete from every instance by RTMP and HTTP-FLV";
    rtmpdump "rtmpdump" Beside None,
        "librtmp completes the digest handshake and plays from every instance";
    websocket "websocket" Beside None,
        "a WebSocket client that is not ours receives the complete stream and a normal close";
    encoder_loop "encoder-loop" Beside None,
        "an ffmpeg that ends and starts again five times is one stream for its viewers";
    refused_encoder "refused-encoder" Beside None,
        "a second ffmpeg fails on every instance where duplicates are rejected, and the first goes on";
    timestamps "timestamps" Beside None,
        "ffmpeg's streams that begin beyond a day or cross 2^24 milliseconds arrive complete and at their pace";
    tls "tls" Beside None,
        "ffmpeg publishes and plays by RTMPS and HTTPS-FLV, and curl verifies the certificate with TLS 1.2 and 1.3";
    gortmplib "gortmplib" Beside None,
        "gortmplib, MediaMTX's library, plays H.264, HEVC and AV1 and publishes them again, frame by frame";
    web_players "web-players" Alone None,
        "flv.js and xgplayer play on by HTTP, HTTPS and WSS while the encoder ends and starts again";
    timestamp_limit "timestamp-limit" Alone None,
        "web players play on, and others stay connected, when a stream of 12 days gets another encoder and its timestamps begin again";
    page "page" Alone None,
        "the player page plays in Chromium and Firefox on every instance";
    page_changes "page-changes" Alone None,
        "the player page plays on in Chromium and Firefox when the encoder starts again or changes its codecs, and after an outage";
};
