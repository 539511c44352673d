// The page: lists the live streams of streams.json, plays one, keeps it at the live edge, and comes back by itself.
// Address: ?stream=live/livestream plays at once; &transport=http|ws; other parameters go on to the stream's address.

import { codecName, mediaFailure, obstacle, refusal, verdict } from "./words.js";

const LIST_EVERY = 2000; // ms
const NOTHING_CAME = 8000; // ms until an attempt counts as failed; a missing stream gets its 404 earlier
const SILENCE = 2500; // ms without new media until the viewer is told
const RETRY = [500, 1000, 2000, 3000]; // ms

const $ = (id) => document.getElementById(id);
const video = $("video");
const parameters = new URLSearchParams(location.search);

let listed = []; // the streams of streams.json
let chosen = null; // {path, label, codecs}
let player = null;
let attempt = null; // of the running player: {socket, started, media: ms of the last media or 0}
let failures = 0;
let retry = 0;
let wished = ""; // transport that the viewer wants: "", "http", "ws"
let fallback = false; // the automatic choice is at WebSocket
let soundWished = false; // the viewer has clicked: the browser allows sound

const say = (words) => { if ($("message").textContent !== words) $("message").textContent = words; };
const relative = (path) => path.replace(/^\/+/, "");

// --- playing ---

function address(path, socket) {
  const url = new URL(relative(path), document.baseURI);
  for (const [name, value] of parameters) {
    if (name !== "stream" && name !== "transport") url.searchParams.append(name, value);
  }
  if (socket) url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function choose(stream) {
  chosen = stream;
  failures = 0;
  fallback = false;
  $("title").textContent = stream.label;
  document.title = `${stream.label} · live`;
  $("url").textContent = address(stream.path, false);
  $("address").hidden = false;
  $("stop").hidden = false;
  const kept = new URLSearchParams(parameters);
  kept.set("stream", relative(stream.path).replace(/\.flv$/, ""));
  history.replaceState(null, "", `?${kept.toString().replaceAll("%2F", "/")}`);
  start();
  showList();
}

function start() {
  stopPlayer();
  const hindrance = obstacle();
  if (hindrance) return say(hindrance);
  const known = verdict(listed.find(({ path }) => path === chosen.path)?.codecs);
  if (!known.picture) return say(known.words);
  const socket = wished === "ws" || (wished === "" && fallback);
  attempt = { socket, started: performance.now(), media: 0, warning: known.words };
  if (!failures) say("Connecting …");
  const source = { type: "flv", isLive: true, url: address(chosen.path, socket) };
  if (!known.sound) source.hasAudio = false;
  player = globalThis.mpegts.createPlayer(source, {
    enableStashBuffer: false,
    lazyLoad: false,
    autoCleanupSourceBuffer: true,
    autoCleanupMaxBackwardDuration: 30,
    autoCleanupMinBackwardDuration: 10,
    // Play a little faster when more than a second behind, jump when far behind (a tab that slept, a new viewer).
    liveSync: true,
    liveSyncMaxLatency: 1.0,
    liveSyncTargetLatency: 0.6,
    liveSyncPlaybackRate: 1.1,
    liveBufferLatencyChasing: true,
    liveBufferLatencyMaxLatency: 2.0,
    liveBufferLatencyMinRemain: 0.6,
  });
  const { Events, ErrorTypes } = globalThis.mpegts;
  const mine = player;
  const ifMine = (act) => (...values) => { if (player === mine) act(...values); };
  player.on(Events.ERROR, ifMine((type, detail, info) => {
    if (type === ErrorTypes.NETWORK_ERROR) lost(detail, info);
    else failed(mediaFailure(detail, info));
  }));
  player.on(Events.LOADING_COMPLETE, ifMine(() => (attempt.media
    ? failed({ wait: true, words: "The stream has ended. It goes on here when it comes back." })
    : lost("", null))));
  player.on(Events.MEDIA_INFO, ifMine(showMedia));
  player.attachMediaElement(video);
  player.load();
  video.muted = !soundWished;
  play();
}

async function play() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    video.play().catch(() => say("Press play to start."));
  }
}

function stopPlayer() {
  clearTimeout(retry);
  const old = player;
  player = null;
  attempt = null;
  old?.destroy();
}

// The connection failed or was refused: a status says why. A WebSocket hides it, so the same address is asked by HEAD.
async function lost(detail, info) {
  const { socket, media } = attempt;
  let status = detail === "HttpStatusCodeInvalid" ? info.code : 0;
  const stopped = chosen;
  if (!media) {
    stopPlayer();
    if (!status) {
      const answer = await fetch(address(stopped.path, false), { method: "HEAD", cache: "no-store" }).catch(() => null);
      if (chosen !== stopped || player) return;
      status = answer && !answer.ok ? answer.status : 0;
      if (answer?.ok && wished === "") fallback = !socket; // the stream is there: try the other way to it
    }
  }
  failed(status
    ? refusal(status, stopped.label)
    : { wait: true, words: "The connection to the server was lost. Connecting again …" });
}

function failed({ wait, words }) {
  stopPlayer();
  say(words);
  if (!wait) return;
  const pause = RETRY[Math.min(failures, RETRY.length - 1)];
  failures += 1;
  retry = setTimeout(start, pause);
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
  history.replaceState(null, "", location.pathname);
  say("");
  showList();
}

// --- what is shown ---

function showMedia(info) {
  const codecs = [info.videoCodec, info.audioCodec].filter(Boolean).map(codecName);
  if (codecs.length) $("codecs").textContent = codecs.join(", ");
}

// Twice a second: where the picture is, and whether media still comes.
function watch() {
  const { buffered, currentTime } = video;
  $("unmute").hidden = !(player && video.muted && video.readyState > 1);
  if (!player || !buffered.length) {
    for (const id of ["latency", "picture"]) $(id).textContent = "–";
    if (!player) $("codecs").textContent = "–"; // the player names them before the first picture
    if (attempt && !attempt.media && performance.now() - attempt.started > NOTHING_CAME) lost("", null);
    return;
  }
  const end = buffered.end(buffered.length - 1);
  if (end !== attempt.end) {
    attempt.end = end;
    attempt.media = performance.now();
  }
  const behind = end - currentTime;
  $("latency").textContent = `${Math.max(0, behind).toFixed(1)} s`;
  $("picture").textContent = video.videoWidth ? `${video.videoWidth}×${video.videoHeight}` : "sound only";
  if (performance.now() - attempt.media > SILENCE) {
    say("Nothing comes from the publisher. The stream goes on here when it comes back.");
  } else if (video.paused) {
    say("");
  } else if (currentTime > 0 || video.readyState > 2) {
    failures = 0;
    say(performance.now() - attempt.started < 6000 ? attempt.warning : "");
  }
  // A hole in the timeline, or a start before the first picture: step over it.
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
    const about = document.createElement("small");
    button.type = "button";
    button.dataset.path = stream.path;
    button.dataset.stream = stream.label;
    if (chosen?.path === stream.path) button.setAttribute("aria-current", "true");
    name.textContent = stream.label;
    if (stream.live) name.className = "on";
    about.textContent = [
      stream.live ? "" : "waiting for its publisher",
      stream.codecs.join(", "),
      `${stream.viewers} ${stream.viewers === 1 ? "viewer" : "viewers"} here`,
    ].filter(Boolean).join(" · ");
    button.append(name, about);
    button.addEventListener("click", () => { soundWished = true; choose(stream); });
    item.append(button);
    return item;
  }));
  if (focused) [...list.querySelectorAll("button")].find(({ dataset }) => dataset.path === focused)?.focus();
}

const label = ({ vhost, app, name }) => [vhost, app, name].filter(Boolean).join("/");

let shown = "";
async function list() {
  try {
    const answer = await fetch("streams.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const { node, streams } = await answer.json();
    listed = streams.map((stream) => ({ ...stream, label: label(stream), codecs: stream.codecs ?? [] }))
      .sort((a, b) => a.label.localeCompare(b.label));
    $("node").textContent = node ? `from ${node}` : "";
    $("hint").textContent = listed.length ? ""
      : "Nobody is publishing at the moment. A stream shows up here as soon as an encoder sends it.";
  } catch (error) {
    listed = [];
    $("hint").textContent = `The list of streams is not available (${error.message}). Trying again …`;
  }
  const text = JSON.stringify(listed);
  if (text !== shown) showList();
  shown = text;
  if (!document.hidden || !shown) setTimeout(list, LIST_EVERY);
  else document.addEventListener("visibilitychange", list, { once: true });
}

// --- start ---

$("transport").addEventListener("change", (event) => {
  wished = event.target.value;
  fallback = false;
  failures = 0;
  if (chosen) start();
});
$("unmute").addEventListener("click", () => { soundWished = true; video.muted = false; play(); });
video.addEventListener("volumechange", () => { soundWished = !video.muted; });
$("stop").addEventListener("click", stop);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText($("url").textContent).catch(() => {});
  getSelection().selectAllChildren($("url"));
});
setInterval(watch, 500);

wished = ["http", "ws"].includes(parameters.get("transport")) ? parameters.get("transport") : "";
$("transport").value = wished;
say(obstacle());
await list();
const asked = relative(parameters.get("stream") ?? "").replace(/\.flv$/, "");
if (asked) {
  const path = `/${asked.split("/").map(encodeURIComponent).join("/")}.flv`;
  choose(listed.find((stream) => stream.path === path) ?? { path, label: asked, codecs: [] });
}
