// Opens the player page in Debian's Chromium, plays a stream, and prints what the page showed, as JSON.
//   usage: node watch.mjs CHROMIUM URL SCREENSHOT [CLICK]      CLICK is the path of the stream to click: /live/livestream.flv
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, url, screenshot, click] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "livecluster-browser-"));
const seen = { console: [], requests: [] };

const context = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  viewport: { width: 1200, height: 800 },
  args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
let failure = null;
try {
  const page = context.pages()[0] ?? await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => seen.console.push(`uncaught: ${error.message}`));
  page.on("request", (request) => seen.requests.push(request.url()));
  await page.goto(url);
  if (click) {
    const button = page.locator(`button[data-path="${click}"]`);
    await button.waitFor();
    seen.listed = await page.locator("#streams button").evaluateAll((all) => all.map(({ dataset }) => dataset.path));
    await button.click();
    await page.waitForFunction(() => document.getElementById("video").currentTime > 0.2);
    await page.reload(); // what the address bar shows plays the same stream
  }
  // The video moves when its pixels, drawn twice, differ and its time goes on.
  const look = () => page.evaluate(() => {
    const video = document.getElementById("video");
    const canvas = document.createElement("canvas");
    canvas.width = 160;
    canvas.height = 90;
    const context2d = canvas.getContext("2d");
    context2d.drawImage(video, 0, 0, 160, 90);
    const pixels = context2d.getImageData(0, 0, 160, 90).data;
    let hash = 0;
    let bright = 0;
    for (let i = 0; i < pixels.length; i += 1) {
      hash = (Math.imul(hash, 31) + pixels[i]) | 0;
      if (i % 4 !== 3 && pixels[i] > 40) bright += 1;
    }
    const { videoWidth: width, videoHeight: height, currentTime: time, paused, readyState } = video;
    const text = (id) => document.getElementById(id)?.textContent ?? null;
    return { hash, bright, width, height, time, paused, readyState,
      codecs: text("codecs"), latency: text("latency"), message: text("message"), title: text("title") };
  });
  const began = Date.now();
  await page.waitForFunction(() => document.getElementById("video").currentTime > 0.2);
  seen.startedAfter = Date.now() - began;
  seen.first = await look();
  await page.waitForFunction((from) => document.getElementById("video").currentTime > from + 3, seen.first.time);
  seen.second = await look();
} catch (error) {
  failure = error;
  seen.failure = String(error);
}
try {
  const page = context.pages()[0];
  seen.text = await page.locator("body").innerText();
  await page.screenshot({ path: screenshot });
} catch (error) {
  seen.failure ??= String(error);
}
await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify(seen));
process.exit(failure ? 1 : 0);
