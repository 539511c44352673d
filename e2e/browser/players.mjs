// Plays a stream with players of other projects in Debian's Chromium, and prints what they showed as one line of JSON.
//   usage: node players.mjs CHROMIUM PLAYER=URL…      PLAYER is flv.js or xgplayer
// It prints "playing" when all of them play. From then on each has to play six more seconds of the stream.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const MORE = 6; // seconds of the stream after "playing"
const SCRIPTS = ["flv.js/dist/flv.min.js", "xgplayer/dist/index.min.js", "xgplayer-flv/dist/index.min.js"];

const [executablePath, ...players] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "livecluster-players-"));
const modules = join(dirname(createRequire(import.meta.url).resolve("playwright-core/package.json")), "..");

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors"],
});

// Runs in the page.
function start(players) {
  globalThis.errors = [];
  const report = (number) => (...error) => globalThis.errors.push(`${players[number]}: ${error.map((it) => it?.message ?? it).join(" ")}`);
  players.forEach((player, number) => {
    const [name, url] = player.split(/=(.*)/s);
    const container = document.createElement("div");
    container.id = `player-${number}`;
    container.style = "width: 320px; height: 180px";
    document.body.append(container);
    if (name === "xgplayer") {
      const { Player, FlvPlayer } = globalThis;
      new Player({ id: container.id, url, isLive: true, autoplay: true, autoplayMuted: true, plugins: [FlvPlayer] })
        .on("error", report(number));
      return;
    }
    const video = document.createElement("video");
    video.muted = true;
    container.append(video);
    const { flvjs } = globalThis;
    const flv = flvjs.createPlayer({ type: "flv", isLive: true, url });
    flv.on(flvjs.Events.ERROR, report(number));
    flv.attachMediaElement(video);
    flv.load();
    video.autoplay = true;
  });
}

// Run in the page.
const looks = (count) => Array.from({ length: count }, (_, number) => {
  const video = document.querySelector(`#player-${number} video`);
  return { time: video?.currentTime ?? 0, width: video?.videoWidth ?? 0, frames: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0 };
});
const havePlayed = (times) => times.every((time, number) => {
  const video = document.querySelector(`#player-${number} video`);
  return video?.currentTime > time && video.readyState > 2 && video.getVideoPlaybackQuality().totalVideoFrames > 0;
});

const seen = { failure: null, players: [], errors: [] };
const page = context.pages()[0] ?? await context.newPage();
page.setDefaultTimeout(25_000);
try {
  // A page of the first player's instance: for the others it is another site's. From no site at all, Chromium reaches no local address.
  await page.goto(new URL("/streams.json", players[0].split("=")[1]).href);
  for (const script of SCRIPTS) await page.addScriptTag({ path: join(modules, script) });
  await page.evaluate(start, players);
  await page.waitForFunction(havePlayed, players.map(() => 0.5));
  console.log("playing");
  const from = await page.evaluate(looks, players.length);
  await page.waitForFunction(havePlayed, from.map(({ time }) => time + MORE));
} catch (error) {
  seen.failure = String(error);
}
seen.errors = await page.evaluate(() => globalThis.errors ?? []);
const looked = await page.evaluate(looks, players.length);
seen.players = looked.map((look, number) => ({ player: players[number], ...look }));
await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify(seen));
process.exit(seen.failure ? 1 : 0);
