// Texts of the page: codecs and failures, described for viewers. Pure functions without access to the page.

// Codec names of the media node -> media types to query the browser's support with. mpegts.js cannot demux other codecs.
const MEDIA_TYPES = {
  "H.264": 'video/mp4; codecs="avc1.4D401E"',
  "HEVC": 'video/mp4; codecs="hvc1.1.6.L93.B0"',
  "AV1": 'video/mp4; codecs="av01.0.04M.08"',
  "AAC": 'audio/mp4; codecs="mp4a.40.2"',
  "MP3": ["audio/mpeg", 'audio/mp4; codecs="mp3"'], // mpegts.js chooses the one that the browser supports: Firefox only the second
  "Opus": 'audio/mp4; codecs="opus"',
  "FLAC": 'audio/mp4; codecs="flac"',
};
const AUDIO_CODECS = ["AAC", "MP3", "Opus", "FLAC", "AC-3", "E-AC-3", "Speex", "Nellymoser", "ADPCM", "PCM", "G.711", "PCMA", "PCMU"];

const source = () => globalThis.MediaSource ?? globalThis.ManagedMediaSource;

const isAudio = (codec) => AUDIO_CODECS.some((name) => codec.toUpperCase().startsWith(name.toUpperCase()));

export const hasVideo = (codecs) => (codecs ?? []).some((codec) => !isAudio(codec));

function plays(codec) {
  return [MEDIA_TYPES[codec] ?? []].flat().some((type) => source()?.isTypeSupported(type));
}

// Support of a stream's codecs (names of the media node) by this browser: {video, audio, message}.
export function codecSupport(codecs) {
  const unsupported = (codecs ?? []).filter((codec) => !plays(codec));
  const video = unsupported.find((codec) => !isAudio(codec));
  const audio = unsupported.find(isAudio);
  if (video) {
    return { video: false, audio: !audio, message: `${cannotPlay("video", video)} ${otherPlayers}` };
  }
  if (audio) {
    return { video: true, audio: false, message: cannotPlay("audio", audio) };
  }
  return { video: true, audio: true, message: "" };
}

const otherPlayers = "Other players, such as VLC or ffplay, can play it by the URL on this page.";

function cannotPlay(track, codec) {
  return MEDIA_TYPES[codec]
    ? `This browser cannot play ${codec}, the codec of this stream's ${track}.`
    : `The ${track} of this stream uses the codec ${codec}, which web pages cannot play live.`;
}

// The reason that the player library cannot work in this browser, or "".
export function unsupportedReason() {
  if (!globalThis.mpegts) {
    return "The player could not be loaded from this server. Reload the page to try again.";
  }
  if (!source()) {
    return "This browser has no Media Source Extensions, so it cannot play live streams. "
      + "A current Chrome, Edge, Firefox or Safari can.";
  }
  return "";
}

// The meaning of an HTTP status for a viewer: {retry, message}.
export function statusFailure(status, stream) {
  if (status === 404) return { retry: true, message: `“${stream}” is not live at the moment. It starts here as soon as it is.` };
  if (status === 503) return { retry: true, message: "The server is full or shutting down. Retrying …" };
  if (status === 400) return { retry: false, message: `“${stream}” is not a valid stream name.` };
  if (status === 401 || status === 403) return { retry: false, message: "The server does not allow you to watch this stream." };
  return { retry: true, message: `The server answered with HTTP ${status}. Retrying …` };
}

const NOT_SUPPORTED = 9; // code of a DOMException

// The meaning of mpegts.js's media error for a viewer: {retry, codec, message}; or null if the player goes on. `codec` says
// that only other codecs can help.
export function mediaFailure(detail, info) {
  const reason = String(info?.msg ?? info ?? "");
  // Packets beside the frames, such as AV1's color information.
  if (detail === "FormatError" && /invalid .*packet type/i.test(reason)) return null;
  // A further track of Enhanced RTMP. The byte before its FourCC, which mpegts.js takes for a part of it, says that it is the packet's only one.
  if (detail === "CodecUnsupported" && /: [\0-\x0f]/.test(reason)) return null;
  if (detail === "CodecUnsupported") {
    const codec = reason.split(":").pop().trim();
    return { codec: true, message: `This stream uses a codec (${codec}) that web pages cannot play live. ${otherPlayers}` };
  }
  if (info?.code === NOT_SUPPORTED || /not supported|unsupported|can't play/i.test(reason)) {
    return { codec: true, message: `This browser cannot play the codec of this stream. ${otherPlayers}` };
  }
  return { retry: true, message: "The video could not be decoded. Restarting …" };
}

// The common name of a browser's codec string ("avc1.4D401E").
export function codecName(codec) {
  const names = [["avc1", "H.264"], ["hvc1", "HEVC"], ["hev1", "HEVC"], ["av01", "AV1"], ["mp4a.40", "AAC"], ["mp3", "MP3"],
    ["opus", "Opus"], ["flac", "FLAC"], ["ipcm", "PCM"]];
  return names.find(([prefix]) => codec.toLowerCase().startsWith(prefix))?.[1] ?? codec;
}
