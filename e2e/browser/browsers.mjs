// Debian's browsers, headless, each with a profile of its own, which it removes.
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const BROWSERS = {
  chromium: {
    browser: "chrome",
    executablePath: "/usr/bin/chromium",
    pipe: true, // ends with this process
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--autoplay-policy=no-user-gesture-required", "--disable-background-timer-throttling",
      "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows"],
  },
  firefox: {
    browser: "firefox",
    executablePath: join(import.meta.dirname, "firefox"),
    extraPrefsFirefox: { "media.suspend-background-video.enabled": false, "media.autoplay.default": 0 },
  },
};

export function launch(name) {
  const [handleSIGINT, handleSIGTERM, handleSIGHUP] = [false, false, false];
  const options = { headless: true, acceptInsecureCerts: true, protocolTimeout: 60_000, handleSIGINT, handleSIGTERM, handleSIGHUP };
  return puppeteer.launch({ ...options, ...BROWSERS[name] });
}

// In a window of its own, so that it is never in the background.
export async function open(browser, viewport) {
  const page = await browser.newPage({ type: "window" });
  await page.setViewport(viewport);
  return page;
}

// Waits until a function returns true in the page. Puppeteer's own way evaluates text there, which the player page does not allow.
export async function until(page, condition, ...values) {
  const deadline = Date.now() + 60_000;
  while (!await page.evaluate(condition, ...values)) {
    if (Date.now() > deadline) throw new Error(`not within 60 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
