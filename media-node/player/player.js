// The player page: lists the streams of streams.json, plays one at the live edge, and reconnects by itself.
// URL: ?stream=live/livestream starts a stream; &transport=http|ws. Other parameters are credentials: they are passed to the
// server, and leave the address bar at once, where others could see them and browsers would store them.

import { codecName, codecSupport, mediaFailure, statusFailure, unsupportedReason } from "./messages.js";

const LIST_INTERVAL = 2000; // ms
const START_TIMEOUT = 8000; // ms until an attempt without media has failed; a missing stream gets its 404 earlier
const STALL_TIMEOUT = 2500; // ms without new media until the page shows it
const RETRY_DELAYS = [500, 1000, 2000, 3000]; // ms

const $ = (id) => document.getElementById(id);
const video = $("video");
const parameters = new URLSearchParams(location.search);
const credentials = [...parameters].filter(([name]) => name !== "stream" && name !== "transport");

let listed = []; // the streams of streams.json
let chosen = null; // {path, label, codecs}
let player = null;
let attempt = null; // state of the running player: {websocket, started, media: ms of the last media or 0}
let failures = 0;
let retryTimer = 0;
let transport = ""; // the viewer's choice: "" (automatic), "http", "ws"
let fallback = false; // the automatic transport has switched to WebSocket
let unmuted = false; // the viewer has clicked, so that the browser allows audio

const show = (message) => { if ($("message").textContent !== message) $("message").textContent = message; };
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
  fallback = false;
  $("title").textContent = stream.label;
  document.title = `${stream.label} · live`;
  $("url").textContent = streamUrl(stream.path, false);
  $("address").hidden = false;
  $("stop").hidden = false;
  parameters.set("stream", relative(stream.path).replace(/\.flv$/, ""));
  showAddress();
  start();
  showList();
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

function start() {
  stopPlayer();
  const reason = unsupportedReason();
  if (reason) return show(reason);
  const support = codecSupport(listed.find(({ path }) => path === chosen.path)?.codecs);
  if (!support.video) return show(support.message);
  const websocket = transport === "ws" || (transport === "" && fallback);
  attempt = { websocket, started: performance.now(), media: 0, warning: support.message };
  if (!failures) show("Connecting …");
  const source = { type: "flv", isLive: true, url: streamUrl(chosen.path, websocket) };
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
  const ifCurrent = (act) => (...values) => { if (player === current) act(...values); };
  player.on(Events.ERROR, ifCurrent((type, detail, info) => {
    if (type === ErrorTypes.NETWORK_ERROR) lost(detail, info);
    else failed(mediaFailure(detail, info));
  }));
  player.on(Events.LOADING_COMPLETE, ifCurrent(() => (attempt.media
    ? failed({ retry: true, message: "The stream has ended. It continues here when its publisher returns." })
    : lost("", null))));
  player.on(Events.MEDIA_INFO, ifCurrent(showMedia));
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
  old?.destroy();
}

// The connection failed or was refused. A browser hides the HTTP status of a WebSocket, so a HEAD request asks for it.
async function lost(detail, info) {
  const { websocket, media } = attempt;
  let status = detail === "HttpStatusCodeInvalid" ? info.code : 0;
  const stopped = chosen;
  if (!media) {
    stopPlayer();
    if (!status) {
      const answer = await fetch(streamUrl(stopped.path, false), { method: "HEAD", cache: "no-store" }).catch(() => null);
      if (chosen !== stopped || player) return;
      status = answer && !answer.ok ? answer.status : 0;
      if (answer?.ok && transport === "") fallback = !websocket; // the stream exists: try the other transport
    }
  }
  failed(status
    ? statusFailure(status, stopped.label)
    : { retry: true, message: "The connection to the server was lost. Reconnecting …" });
}

function failed({ retry: retries, message }) {
  stopPlayer();
  show(message);
  if (!retries) return;
  const delay = RETRY_DELAYS[Math.min(failures, RETRY_DELAYS.length - 1)];
  failures += 1;
  retryTimer = setTimeout(start, delay);
}

function stop() {
  stopPlayer();
  chosen = null;
  video.removeAttribute("src");
  video.load();
  $("title").textContent = "Choose a stream";
  $("stop").hidden = true;
  $("address").hidden = true;
  parameters.delete("stream");
  showAddress();
  show("");
  showList();
}

// --- display ---

function showMedia(info) {
  const codecs = [info.videoCodec, info.audioCodec].filter(Boolean).map(codecName);
  if (codecs.length) $("codecs").textContent = codecs.join(", ");
}

// Twice a second: the position in the stream, and whether media still arrives.
function watch() {
  const { buffered, currentTime } = video;
  $("unmute").hidden = !(player && video.muted && video.readyState > 1);
  if (!player || !buffered.length) {
    for (const id of ["latency", "resolution"]) $(id).textContent = "–";
    if (!player) $("codecs").textContent = "–"; // the player reports them before the first frame
    if (attempt && !attempt.media && performance.now() - attempt.started > START_TIMEOUT) lost("", null);
    return;
  }
  const end = buffered.end(buffered.length - 1);
  if (end !== attempt.end) {
    attempt.end = end;
    attempt.media = performance.now();
  }
  const behind = end - currentTime;
  $("latency").textContent = `${Math.max(0, behind).toFixed(1)} s`;
  $("resolution").textContent = video.videoWidth ? `${video.videoWidth}×${video.videoHeight}` : "audio only";
  if (performance.now() - attempt.media > STALL_TIMEOUT) {
    show("The publisher sends nothing. The stream continues here when it resumes.");
  } else if (video.paused) {
    show("");
  } else if (currentTime > 0 || video.readyState > 2) {
    failures = 0;
    show(performance.now() - attempt.started < 6000 ? attempt.warning : "");
  }
  // A gap in the timeline, or a start before the first frame: skip it.
  if (!video.paused && !video.seeking && video.readyState < 3 && behind > 1) {
    video.currentTime = end - 0.5;
  }
}

function showList() {
  const list = $("streams");
  const focused = document.activeElement?.dataset?.path;
  list.replaceChildren(...listed.map((stream) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const name = document.createElement("strong");
    const details = document.createElement("small");
    button.type = "button";
    button.dataset.path = stream.path;
    button.dataset.stream = stream.label;
    if (chosen?.path === stream.path) button.setAttribute("aria-current", "true");
    name.textContent = stream.label;
    if (stream.live) name.className = "on";
    details.textContent = [
      stream.live ? "" : "waiting for its publisher",
      stream.codecs.join(", "),
      `${stream.viewers} ${stream.viewers === 1 ? "viewer" : "viewers"} here`,
    ].filter(Boolean).join(" · ");
    button.append(name, details);
    button.addEventListener("click", () => { unmuted = true; choose(stream); });
    item.append(button);
    return item;
  }));
  if (focused) [...list.querySelectorAll("button")].find(({ dataset }) => dataset.path === focused)?.focus();
}

const label = ({ vhost, app, name }) => [vhost, app, name].filter(Boolean).join("/");

let lastList = "";
async function list() {
  try {
    const answer = await fetch(listUrl(), { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const { instance, streams } = await answer.json();
    listed = streams.map((stream) => ({ ...stream, label: label(stream), codecs: stream.codecs ?? [] }))
      .sort((a, b) => a.label.localeCompare(b.label));
    $("instance").textContent = instance ? `from ${instance}` : "";
    $("hint").textContent = listed.length ? ""
      : "No stream is live. A stream appears here as soon as an encoder publishes it.";
  } catch (error) {
    listed = [];
    $("hint").textContent = `The list of streams is not available (${error.message}). Retrying …`;
  }
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
  failures = 0;
  if (chosen) start();
});
$("unmute").addEventListener("click", () => { unmuted = true; video.muted = false; play(); });
video.addEventListener("volumechange", () => { unmuted = !video.muted; });
$("stop").addEventListener("click", stop);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText($("url").textContent).catch(() => {});
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
  choose(listed.find((stream) => stream.path === path) ?? { path, label: requested, codecs: [] });
}
