// Plays streams in Debian's Chromium, each in a tab of its own, and prints what the players showed as one line of JSON.
//   usage: node players.mjs CHROMIUM SECONDS PLAYER=URL…      PLAYER is page (the player page), mpegts.js, flv.js or xgplayer
// It prints "playing" when all of them play. From then on each has to play so many more seconds of its stream. When the server ends the
// connection they connect again, as the README asks pages to do.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, seconds, ...players] = process.argv.slice(2);
const modules = join(dirname(createRequire(import.meta.url).resolve("playwright-core/package.json")), "..");
const vendored = join(import.meta.dirname, "../../media-node/player/vendor");
const SCRIPTS = {
  page: [],
  "mpegts.js": [join(vendored, "mpegts.js")],
  "flv.js": [join(modules, "flv.js/dist/flv.min.js")],
  xgplayer: ["xgplayer/dist/index.min.js", "xgplayer-flv/dist/index.min.js"].map((script) => join(modules, script)),
};
const profile = mkdtempSync(join(tmpdir(), "livecluster-players-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"],
});

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
  const seen = { connections: 0, played: 0, standstill: 0, width: 0, errors: [] };
  globalThis.seen = seen;
  let [time, since] = [null, 0];
  setInterval(() => {
    const video = document.querySelector("video");
    const now = performance.now();
    if (time !== null) seen.standstill = Math.max(seen.standstill, Math.round(now - since));
    if (!video || video.readyState < 2 || video.currentTime === time) return;
    const step = video.currentTime - time;
    if (time !== null && step > 0 && step < 1) seen.played += step;
    seen.width = video.videoWidth;
    [time, since] = [video.currentTime, now];
  }, 100);
}

async function open(player) {
  const [name, url] = player.split(/=(.*)/s);
  const page = await context.newPage();
  page.setDefaultTimeout(25_000 + seconds * 1000);
  const uncaught = [];
  page.on("pageerror", (error) => uncaught.push(`uncaught: ${error.message}`));
  // A page of the first player's instance: for the others it is another site's. From no site at all, Chromium reaches no local address.
  await page.goto(name === "page" ? url : new URL("/streams.json", players[0].split("=")[1].replace(/^ws/, "http")).href);
  for (const path of SCRIPTS[name]) await page.addScriptTag({ path });
  await page.evaluate(look);
  if (name !== "page") await page.evaluate(play, [name, url]);
  return { player, page, uncaught };
}

const played = (tab, time) => tab.page.waitForFunction((time) => globalThis.seen.played >= time, time, { polling: 100 });
const tabs = await Promise.all(players.map(open));
let failure = null;
try {
  await Promise.all(tabs.map((tab) => played(tab, 0.5)));
  console.log("playing");
  const from = await Promise.all(tabs.map(({ page }) => page.evaluate(() => globalThis.seen.played)));
  await Promise.all(tabs.map((tab, number) => played(tab, from[number] + Number(seconds))));
} catch (error) {
  failure = String(error);
}
const seen = await Promise.all(tabs.map(async ({ player, page, uncaught }) => {
  const { errors, ...rest } = await page.evaluate(() => globalThis.seen);
  return { player, ...rest, errors: [...errors, ...uncaught] };
}));
await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify({ failure, players: seen }));
process.exit(failure ? 1 : 0);
