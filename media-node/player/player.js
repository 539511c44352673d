// The player page: lists the streams of streams.json, plays one at the live edge, and reconnects by itself.
// URL: ?stream=live/livestream starts a stream; &transport=http|ws. Other parameters are credentials: they are passed to the
// server, and leave the address bar immediately, where others could see them and browsers would store them.

import { codecName, codecSupport, hasVideo, mediaFailure, statusFailure, unsupportedReason } from "./messages.js";

const LIST_INTERVAL = 2000; // ms
const LIST_TIMEOUT = 4000; // ms until the server does not reply. A browser waits for minutes when its packets are lost
const START_TIMEOUT = 8000; // ms until an attempt without media has failed; a missing stream gets its 404 earlier
const STALL_TIMEOUT = 2500; // ms without new media until the page shows it
const FREEZE_TIMEOUT = 4000; // ms that the video stands still while bytes arrive, until the player starts again
const SILENCE_TIMEOUT = 20000; // ms without a byte of a live stream, until the player starts again: a silent publisher is not live that long
const RETRY_DELAYS = [0, 500, 1000, 2000, 3000]; // ms
const WARNING_TIME = 6000; // ms for which a playing stream shows what of it the browser cannot play
const CODEC_RETRY_DELAY = 30000; // ms, where no list shows that the codecs have changed

const UNKNOWN = "–";

const $ = (id) => document.getElementById(id);
const video = $("video");
const parameters = new URLSearchParams(location.search);
const credentials = [...parameters].filter(([name]) => name !== "stream" && name !== "transport");

let listed = []; // the streams of streams.json
let listLoaded = false; // whether the last request for them succeeded
let listFailed = 0; // when the last one that failed began
let chosen = null; // {path, label, codecs}
let player = null;
let attempt = null; // what is known of the running player, see `newAttempt`
let failures = 0;
let retryTimer = 0;
let transport = ""; // the viewer's choice: "" (automatic), "http", "ws"
let fallback = false; // the automatic transport has switched to HTTP-FLV
let refusals = 0; // attempts in a row that failed although the stream exists
let unplayable = null; // the codecs that this browser cannot play, while the page waits for others
let unmuted = false; // the viewer has clicked, so that the browser allows audio
let message = ""; // what the page says over the video

// Screen readers read a message aloud whenever it is written.
function show(text) {
  if (text !== message) $("message").textContent = text;
  message = text;
}

const relative = (path) => path.replace(/^\/+/, "");

// --- playing ---

function streamUrl(path, websocket) {
  const url = new URL(relative(path), document.baseURI);
  for (const [name, value] of credentials) url.searchParams.append(name, value);
  if (websocket) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function choose(stream) {
  chosen = stream;
  failures = 0;
  refusals = 0;
  fallback = false;
  parameters.set("stream", relative(decodeURIComponent(stream.path)).replace(/\.flv$/, ""));
  showChosen();
  start();
  showList();
}

function showChosen() {
  $("title").textContent = chosen?.label ?? "Choose a stream";
  document.title = chosen ? `${chosen.label} · live` : "Live streams";
  $("url").textContent = chosen ? streamUrl(chosen.path, false) : "";
  $("address").hidden = !chosen;
  $("stop").hidden = !chosen;
  showAddress();
}

function showAddress() {
  const shown = new URLSearchParams();
  for (const name of ["stream", "transport"]) if (parameters.has(name)) shown.set(name, parameters.get(name));
  const query = shown.toString().replaceAll("%2F", "/");
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}

// A signed URL is valid for one stream, so that the list is asked for that one.
function listUrl() {
  const query = new URLSearchParams(credentials);
  if (credentials.length && parameters.has("stream")) query.set("stream", parameters.get("stream"));
  return query.size ? `streams.json?${query}` : "streams.json";
}

function newAttempt(websocket, warning) {
  const now = performance.now(); // all times are of this clock, in ms
  return {
    websocket, // by WebSocket-FLV, otherwise by HTTP-FLV
    warning, // what this browser cannot play of the stream, or ""
    codecs: [], // as the player reports them, before the first frame
    started: now,
    bytes: now, // when bytes last arrived
    idle: now, // when none did
    media: 0, // when media last arrived; 0 before the first
    end: null, // the end of the buffered media, in s
    position: null, // of the video, in s
    moved: now, // when the position last changed, or the viewer paused
    complete: now, // when no video was missing
    resumed: null, // the position at which the player was last made to play on, in s
  };
}

const listing = () => listed.find(({ path }) => path === chosen.path);
const listedCodecs = () => (listing()?.codecs ?? []).join();

function start() {
  stopPlayer();
  const reason = unsupportedReason();
  if (reason) return show(reason);
  const support = codecSupport(listing()?.codecs);
  if (!support.video) return failed({ codec: true, message: support.message });
  // A browser opens six HTTP connections to one host, but more WebSockets.
  const websocket = transport === "ws" || (transport === "" && !fallback);
  attempt = newAttempt(websocket, support.message);
  if (!failures) show("Connecting …");
  const url = new URL(streamUrl(chosen.path, websocket));
  // Firefox lets a request wait for 20 s while another one for the same URL is open, in another tab as well.
  if (!websocket) url.searchParams.append("player", Math.random().toString(36).slice(2));
  const source = { type: "flv", isLive: true, url: url.href };
  if (!support.audio) source.hasAudio = false;
  player = globalThis.mpegts.createPlayer(source, {
    enableStashBuffer: false,
    lazyLoad: false,
    autoCleanupSourceBuffer: true,
    autoCleanupMaxBackwardDuration: 30,
    autoCleanupMinBackwardDuration: 10,
    // Play a little faster when more than a second behind; jump when far behind (a suspended tab, a new viewer).
    liveSync: true,
    liveSyncMaxLatency: 1.0,
    liveSyncTargetLatency: 0.6,
    liveSyncPlaybackRate: 1.1,
    liveBufferLatencyChasing: true,
    liveBufferLatencyMaxLatency: 2.0,
    liveBufferLatencyMinRemain: 0.6,
  });
  const { Events, ErrorTypes } = globalThis.mpegts;
  const current = player;
  // Later: mpegts.js fails where it is destroyed while it reports an event.
  const ifCurrent = (act) => (...values) => setTimeout(() => { if (player === current) act(...values); });
  player.on(Events.ERROR, ifCurrent((type, detail, info) => {
    if (type === ErrorTypes.NETWORK_ERROR) lost(detail, info);
    else {
      const failure = mediaFailure(detail, info);
      if (failure) failed(failure);
    }
  }));
  player.on(Events.STATISTICS_INFO, ifCurrent(({ speed }) => { attempt[speed > 0 ? "bytes" : "idle"] = performance.now(); }));
  player.on(Events.LOADING_COMPLETE, ifCurrent(() => (attempt.media ? ended() : lost("", null))));
  player.on(Events.MEDIA_INFO, ifCurrent((info) => {
    const codecs = [info.videoCodec, info.audioCodec].filter(Boolean).map(codecName);
    if (codecs.length) attempt.codecs = codecs;
  }));
  player.attachMediaElement(video);
  player.load();
  video.muted = !unmuted;
  play();
}

async function play() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    video.play().catch(() => show("Press play to start."));
  }
}

function stopPlayer() {
  clearTimeout(retryTimer);
  const old = player;
  player = null;
  attempt = null;
  unplayable = null;
  old?.destroy();
}

// The connection failed or was refused. A browser hides the HTTP status of a WebSocket, so a HEAD request asks for it.
async function lost(detail, info) {
  const { websocket, media } = attempt;
  let status = detail === "HttpStatusCodeInvalid" ? info.code : 0;
  const stopped = chosen;
  if (!media) {
    stopPlayer();
    if (!status && listLoaded && !listing()?.live) status = 404;
    if (!status) {
      const head = { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(START_TIMEOUT) };
      const answer = await fetch(streamUrl(stopped.path, false), head).catch(() => null);
      if (chosen !== stopped || player) return;
      status = answer && !answer.ok ? answer.status : 0;
      // The stream may have started just now, so that only the second time is a reason to try the other transport.
      refusals = answer?.ok ? refusals + 1 : 0;
      if (refusals > 1) [fallback, refusals] = [!fallback, 0];
    }
  }
  failed(status
    ? statusFailure(status, stopped.label)
    : { retry: true, message: "The connection to the server was lost. Reconnecting …" });
}

// The server ends the connection of a live stream when its timestamps begin again, or when it shuts down.
function ended() {
  failed({ retry: true, message: listing()?.live ? "" : "The stream has ended. It continues here when its publisher returns." });
}

function failed({ retry: retries, codec, message }) {
  stopPlayer();
  show(message);
  if (codec) unplayable = listedCodecs();
  else if (!retries) return;
  const delay = codec ? CODEC_RETRY_DELAY : RETRY_DELAYS[Math.min(failures, RETRY_DELAYS.length - 1)];
  failures += 1;
  retryTimer = setTimeout(start, delay);
}

function stop() {
  stopPlayer();
  chosen = null;
  video.removeAttribute("src");
  video.load();
  parameters.delete("stream");
  showChosen();
  show("");
  showList();
}

// --- display ---

// Twice a second: the position in the stream, and whether media still arrives.
function watch() {
  const { buffered } = video;
  const now = performance.now();
  const end = player && buffered.length ? buffered.end(buffered.length - 1) : null;
  showPlayback(end);
  if (end !== null) follow(end, now);
  else if (attempt && !attempt.media && now - attempt.started > START_TIMEOUT) lost("", null);
}

// `end` is that of the buffered media in seconds, or null without any.
function showPlayback(end) {
  const plays = end !== null;
  const size = video.videoWidth ? `${video.videoWidth}×${video.videoHeight}` : "audio only";
  const reported = attempt?.codecs ?? [];
  // The player reports no codecs of AV1.
  const codecs = plays && !reported.length ? listing()?.codecs ?? [] : reported;
  $("latency").textContent = plays ? `${Math.max(0, end - video.currentTime).toFixed(1)} s` : UNKNOWN;
  $("resolution").textContent = plays ? size : UNKNOWN;
  $("codecs").textContent = codecs.join(", ") || UNKNOWN;
  $("unmute").hidden = !(player && video.muted && video.readyState > 1);
}

// Notes what has arrived and what was played, and acts on what is missing.
function follow(end, now) {
  const { currentTime } = video;
  if (end !== attempt.end) {
    attempt.end = end;
    attempt.media = now;
  }
  if (video.paused || currentTime !== attempt.position) {
    attempt.position = currentTime;
    attempt.moved = now;
  }
  if (video.videoWidth || !hasVideo(listing()?.codecs)) attempt.complete = now;
  if (standsStill(now)) return failed({ retry: true, message: "The video stands still. Restarting …" });
  if (now - attempt.media > STALL_TIMEOUT) {
    show(listLoaded ? "The publisher sends nothing. The stream continues here when it resumes."
      : "The server cannot be reached. The stream continues here when it can.");
  } else if (video.paused) {
    show("");
  } else if (currentTime > 0 || video.readyState > 2) {
    failures = 0;
    refusals = 0;
    show(now - attempt.started < WARNING_TIME ? attempt.warning : "");
  }
  if (!video.paused && !video.seeking && video.readyState < 3) resume(end);
}

// Lets a player that has run out of media play on.
function resume(end) {
  const { buffered, currentTime } = video;
  const available = end - currentTime;
  if (available > 1) {
    // A gap in the timeline, or a start before the first frame: skip it.
    video.currentTime = end - 0.5;
  } else if (available > 0.3 && currentTime >= buffered.start(buffered.length - 1) && currentTime !== attempt.resumed) {
    // Chromium waits for twice as much audio as the last time, until it seeks. Here to where it is, so that nothing is lost.
    attempt.resumed = currentTime;
    video.currentTime = currentTime;
  }
}

// Whether the player is stuck: the stream is live, and bytes arrive that it does not play, or none at all. Or the server replies again,
// after it did not, and nothing arrives on the connection from before. Or the stream had no video before, and Firefox leaves out what comes.
function standsStill(now) {
  if (!listing()?.live) return false;
  if (now - attempt.complete > FREEZE_TIMEOUT) return true;
  const wasted = now - Math.max(attempt.idle, Math.min(attempt.media, attempt.moved));
  return now - attempt.bytes > SILENCE_TIMEOUT || wasted > FREEZE_TIMEOUT || attempt.bytes < listFailed;
}

// A click is lost when its button leaves the page before it is released: those of streams that stay are neither replaced nor moved.
function showList() {
  const list = $("streams");
  const items = new Map([...list.children].map((item) => [item.firstChild.dataset.path, item]));
  const wanted = listed.map((stream) => describe(items.get(stream.path) ?? listItem(stream.path), stream));
  for (const item of items.values()) if (!wanted.includes(item)) item.remove();
  wanted.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
}

function listItem(path) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.path = path;
  button.append(document.createElement("strong"), document.createElement("small"));
  button.addEventListener("click", () => { unmuted = true; choose(listed.find((stream) => stream.path === path)); });
  item.append(button);
  return item;
}

function describe(item, stream) {
  const button = item.firstChild;
  const [name, details] = button.children;
  if (chosen?.path === stream.path) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
  name.textContent = stream.label;
  name.className = stream.live ? "on" : "";
  details.textContent = [
    stream.live ? "" : "waiting for its publisher",
    stream.codecs.join(", "),
    `${stream.viewers} ${stream.viewers === 1 ? "viewer" : "viewers"} here`,
  ].filter(Boolean).join(" · ");
  return item;
}

// Encoders choose names. Marks of direction would show one in another order, so that it looks like another one.
const shown = (text) => text.replace(/[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
  (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`);
const label = ({ vhost, app, name }) => shown([vhost, app, name].filter(Boolean).join("/"));

let lastList = "";
async function list() {
  const began = performance.now();
  try {
    const answer = await fetch(listUrl(), { cache: "no-store", signal: AbortSignal.timeout(LIST_TIMEOUT) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const { instance, streams } = await answer.json();
    listed = streams.map((stream) => ({ ...stream, label: label(stream), codecs: stream.codecs ?? [] }))
      .sort((a, b) => a.label.localeCompare(b.label));
    listLoaded = true;
    $("instance").textContent = instance ? `from ${instance}` : "";
    $("hint").textContent = listed.length ? ""
      : "No stream is live. A stream appears here as soon as an encoder publishes it.";
  } catch (error) {
    [listed, listLoaded, listFailed] = [[], false, began];
    $("hint").textContent = `The list of streams is not available (${error.message}). Retrying …`;
  }
  if (chosen && unplayable !== null && listedCodecs() !== unplayable) start();
  const text = JSON.stringify(listed);
  if (text !== lastList) showList();
  lastList = text;
  if (!document.hidden || !lastList) setTimeout(list, LIST_INTERVAL);
  else document.addEventListener("visibilitychange", list, { once: true });
}

// --- start ---

$("transport").addEventListener("change", (event) => {
  transport = event.target.value;
  fallback = false;
  refusals = 0;
  failures = 0;
  if (chosen) start();
});
$("unmute").addEventListener("click", () => { unmuted = true; video.muted = false; play(); });
video.addEventListener("volumechange", () => { unmuted = !video.muted; });
$("stop").addEventListener("click", stop);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(streamUrl(chosen.path, false)).catch(() => {});
  getSelection().selectAllChildren($("url"));
});
setInterval(watch, 500);

showAddress();
transport = ["http", "ws"].includes(parameters.get("transport")) ? parameters.get("transport") : "";
$("transport").value = transport;
show(unsupportedReason());
await list();
const requested = relative(parameters.get("stream") ?? "").replace(/\.flv$/, "");
if (requested) {
  const path = `/${requested.split("/").map(encodeURIComponent).join("/")}.flv`;
  choose(listed.find((stream) => stream.path === path) ?? { path, label: shown(requested), codecs: [] });
}
