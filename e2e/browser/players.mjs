// Plays streams in a browser, each in a window of its own, and prints twice a second what the players have shown, as a line of JSON.
//   usage: node players.mjs BROWSER PLAYER=URL…      BROWSER is chromium or firefox; PLAYER is page (the player page), mpegts.js, flv.js or xgplayer
// It ends when it is interrupted. When the server ends the connection the players connect again, as the README asks pages to do.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { launch, open } from "./browsers.mjs";

const [name, ...players] = process.argv.slice(2);
const modules = join(import.meta.dirname, "node_modules");
const vendored = join(import.meta.dirname, "../../media-node/player/vendor");
const SCRIPTS = {
  page: [],
  "mpegts.js": [join(vendored, "mpegts.js")],
  "flv.js": [join(modules, "flv.js/dist/flv.min.js")],
  xgplayer: ["xgplayer/dist/index.min.js", "xgplayer-flv/dist/index.min.js"].map((script) => join(modules, script)),
};

// Runs in the page.
function play([name, url]) {
  const { seen } = globalThis;
  const report = (...error) => seen.errors.push(error.map((it) => it?.message ?? it).join(" "));
  const container = document.createElement("div");
  container.id = "player";
  container.style = "width: 320px; height: 180px";
  document.body.append(container);
  if (name === "xgplayer") {
    const { Player, FlvPlayer } = globalThis;
    const flv = { maxReaderInterval: 30_000 };
    const player = new Player({ id: "player", url, isLive: true, autoplay: true, autoplayMuted: true, plugins: [FlvPlayer], flv });
    player.on("core_event", ({ eventName }) => {
      seen.connections += eventName === "core.loadstart";
      // It ends its media source right after this event.
      if (eventName === "core.loadcomplete") setTimeout(() => player.switchURL(url));
    });
    player.on("error", report);
    return;
  }
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  container.append(video);
  const library = globalThis.mpegts ?? globalThis.flvjs;
  const start = () => {
    seen.connections += 1;
    const player = library.createPlayer({ type: "flv", isLive: true, url });
    player.on(library.Events.ERROR, report);
    player.on(library.Events.LOADING_COMPLETE, () => { player.destroy(); start(); });
    player.attachMediaElement(video);
    player.load();
  };
  start();
}

// Runs in the page: looks ten times a second whether the video moves. A player that connects again begins at zero.
function look() {
  const seen = { connections: 0, played: 0, standstill: 0, width: 0, sound: false, codecs: "", message: "", resumed: 0, skipped: 0, errors: [] };
  globalThis.seen = seen;
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
  const seek = function seek(to) {
    const step = to - get.call(this);
    if (step === 0) seen.resumed += 1;
    else if (this.readyState > 0) seen.skipped += Math.max(0, step);
    set.call(this, to);
  };
  Object.defineProperty(HTMLMediaElement.prototype, "currentTime", { get, set: seek });
  const text = (id) => document.getElementById(id)?.textContent ?? "";
  let [time, since] = [null, 0];
  setInterval(() => {
    const video = document.querySelector("video");
    const now = performance.now();
    if (time !== null) seen.standstill = Math.max(seen.standstill, Math.round(now - since));
    [seen.codecs, seen.message] = [text("codecs"), text("message")];
    if (!video || video.readyState < 2 || video.currentTime === time) return;
    const step = video.currentTime - time;
    if (time !== null && step > 0 && step < 1) seen.played += step;
    seen.width = video.videoWidth;
    seen.sound = video.mozHasAudio ?? video.webkitAudioDecodedByteCount > 0;
    [time, since] = [video.currentTime, now];
  }, 100);
}

const browser = await launch(name);

async function start(player) {
  const [name, url] = player.split(/=(.*)/s);
  const page = await open(browser, { width: 800, height: 600 });
  const uncaught = [];
  page.on("pageerror", ({ message }) => {
    // Firefox reports a WebSocket that is lost as if it were an error of the page.
    if (!message.includes("ws://") && !message.includes("wss://")) uncaught.push(`uncaught: ${message}`);
  });
  // A page of the first player's instance: for the others it is another site's. From no site at all, Chromium reaches no local address.
  await page.goto(name === "page" ? url : new URL("/streams.json", players[0].split("=")[1].replace(/^ws/, "http")).href);
  for (const path of SCRIPTS[name]) await page.evaluate(`${readFileSync(path, "utf8")}\n;0`);
  await page.evaluate(look);
  if (name !== "page") await page.evaluate(play, [name, url]);
  return { player, page, uncaught };
}

const tabs = await Promise.all(players.map(start));
let interrupted = false;
process.once("SIGINT", () => { interrupted = true; });
while (!interrupted) {
  const seen = await Promise.all(tabs.map(async ({ player, page, uncaught }) => {
    const { errors, ...rest } = await page.evaluate(() => globalThis.seen);
    return { player, ...rest, errors: [...errors, ...uncaught] };
  }));
  console.log(JSON.stringify(seen));
  await new Promise((resolve) => setTimeout(resolve, 500));
}
await browser.close();
