// What the page says: codecs and failures in words that a viewer understands. No state, no page.

// What the browser is asked for a codec's name as the node reports it; null: mpegts.js cannot read it from FLV.
const ASK = {
  "H.264": 'video/mp4; codecs="avc1.4D401E"',
  "HEVC": 'video/mp4; codecs="hvc1.1.6.L93.B0"',
  "AV1": 'video/mp4; codecs="av01.0.04M.08"',
  "AAC": 'audio/mp4; codecs="mp4a.40.2"',
  "MP3": "audio/mpeg",
  "Opus": 'audio/mp4; codecs="opus"',
  "FLAC": 'audio/mp4; codecs="flac"',
};
const SOUND = ["AAC", "MP3", "Opus", "FLAC", "AC-3", "E-AC-3", "Speex", "Nellymoser", "ADPCM", "PCM", "G.711", "PCMA", "PCMU"];

const source = () => globalThis.MediaSource ?? globalThis.ManagedMediaSource;

const isSound = (codec) => SOUND.some((name) => codec.toUpperCase().startsWith(name.toUpperCase()));

function plays(codec) {
  return Boolean(ASK[codec] && source()?.isTypeSupported(ASK[codec]));
}

// Which of a stream's codecs (names of the node) this browser can play: {sound, picture: false if not, words}.
export function verdict(codecs) {
  const cannot = (codecs ?? []).filter((codec) => !plays(codec));
  const picture = cannot.find((codec) => !isSound(codec));
  const sound = cannot.find(isSound);
  if (picture) {
    return { picture: false, sound: !sound, words: `${cannotPlay("picture", picture)} ${elsewhere}` };
  }
  if (sound) {
    return { picture: true, sound: false, words: cannotPlay("sound", sound) };
  }
  return { picture: true, sound: true, words: "" };
}

const elsewhere = "Another player, such as VLC or ffplay, can: its address is on this page.";

function cannotPlay(what, codec) {
  return ASK[codec]
    ? `This browser cannot play ${codec}, in which the ${what} of this stream is sent.`
    : `The ${what} of this stream is sent in ${codec}, which web pages cannot play live.`;
}

// Why the player library is not there or cannot work, or "".
export function obstacle() {
  if (globalThis.playerMissing) {
    return `This server was built without the part that plays in the browser: ${globalThis.playerMissing}. `
      + "Whoever builds it installs Node.js with npm, runs “touch media-node/build.rs” and builds again. "
      + "Until then: ffplay or VLC, with the stream's address on this page.";
  }
  if (!globalThis.mpegts) {
    return "The player could not be loaded from this server. Reload the page to try again.";
  }
  if (!source()) {
    return "This browser has no Media Source Extensions, so it cannot play live streams. "
      + "A current Chrome, Edge, Firefox or Safari can.";
  }
  return "";
}

// What the server's refusal means to a viewer; `wait`: trying again makes sense.
export function refusal(status, stream) {
  if (status === 404) return { wait: true, words: `“${stream}” is not live at the moment. It starts here as soon as it is.` };
  if (status === 503) return { wait: true, words: "The server is full or about to stop. Trying again …" };
  if (status === 400) return { wait: false, words: `“${stream}” is not a valid stream name.` };
  if (status === 401 || status === 403) return { wait: false, words: "The server does not allow you to watch this stream." };
  return { wait: true, words: `The server answered with HTTP ${status}. Trying again …` };
}

// What the media itself did, from mpegts.js's error.
export function mediaFailure(detail, info) {
  const reason = info?.msg ?? "";
  if (detail === "CodecUnsupported") {
    const codec = reason.split(":").pop().trim();
    return { wait: false, words: `This stream is sent in a codec (${codec}) that web pages cannot play live. ${elsewhere}` };
  }
  if (/not supported|unsupported|NotSupported/i.test(reason)) {
    return { wait: false, words: `This browser cannot play the codec of this stream. ${elsewhere}` };
  }
  return { wait: true, words: "The picture could not be decoded. Starting again …" };
}

// A codec string of the browser ("avc1.4D401E") as people know it.
export function codecName(codec) {
  const names = [["avc1", "H.264"], ["hvc1", "HEVC"], ["hev1", "HEVC"], ["av01", "AV1"], ["mp4a.40", "AAC"], ["mp3", "MP3"],
    ["opus", "Opus"], ["flac", "FLAC"], ["ipcm", "PCM"]];
  return names.find(([prefix]) => codec.toLowerCase().startsWith(prefix))?.[1] ?? codec;
}
