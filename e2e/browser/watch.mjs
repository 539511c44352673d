// Opens the player page in a browser, plays a stream, then in another tab as well, and prints what the first tab showed, as JSON.
//   usage: node watch.mjs BROWSER URL SCREENSHOT [CLICK]
// BROWSER is chromium or firefox; CLICK is the path of the stream to click: /live/livestream.flv
import { launch, open, until } from "./browsers.mjs";

const [name, url, screenshot, click] = process.argv.slice(2);
const seen = { console: [], requests: [] };
const browser = await launch(name);
const page = await open(browser, { width: 1200, height: 800 });
let failure = null;
try {
  page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => seen.console.push(`uncaught: ${error.message}`));
  const noteRequest = (request) => seen.requests.push(request.url());
  page.on("request", noteRequest);
  await page.goto(url);
  const listText = () => page.$eval("#streams", ({ textContent }) => textContent);
  const press = async (selector) => {
    const { x, y, width, height } = await page.$eval(selector, (button) => button.getBoundingClientRect().toJSON());
    await page.mouse.move(x + width / 2, y + height / 2);
    await page.mouse.down();
  };
  const plays = (from) => document.getElementById("video").currentTime > from;
  if (click) {
    const selector = `button[data-path="${click}"]`;
    await until(page, (selector) => document.querySelector(selector) !== null, selector);
    seen.listed = await page.$$eval("#streams button", (all) => all.map(({ dataset }) => dataset.path));
    await press(selector);
    // Another viewer comes, so that the list changes before the button is released.
    const before = await listText();
    await page.evaluate((path) => { globalThis.other = fetch(path); }, click);
    await until(page, (before) => document.getElementById("streams").textContent !== before, before);
    await page.mouse.up();
    await until(page, plays, 0.2);
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
  await until(page, plays, 0.2);
  seen.startedAfter = Date.now() - began;
  seen.first = await look();
  await until(page, plays, seen.first.time + 3);
  seen.second = await look();
  const other = await open(browser, { width: 1200, height: 800 });
  other.on("request", noteRequest);
  await other.goto(page.url());
  await until(other, plays, 0.2);
} catch (error) {
  failure = error;
  seen.failure = String(error);
}
try {
  seen.text = await page.$eval("body", (body) => body.innerText);
  await page.screenshot({ path: screenshot });
} catch (error) {
  seen.failure ??= String(error);
}
await browser.close();
console.log(JSON.stringify(seen));
process.exit(failure ? 1 : 0);
