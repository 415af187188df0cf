// Plays one URL in headless Chromium and prints what the page saw, as JSON.
// Arguments: folder of node_modules, server's root, URL, "plain" or "hls", seconds at most.
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, server, url, mode, seconds] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
  ],
});
try {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (line) => {
    if (["warning", "error"].includes(line.type())) complaints.push(line.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${server}/blank.html`);
  if (mode === "hls") await page.addScriptTag({ url: `${server}/hls.js` });
  const seen = await page.evaluate(play, { url, mode, limit: Number(seconds) * 1000 });
  seen.complaints.push(...complaints);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

// Runs in the page.
async function play({ url, mode, limit }) {
  const complaints = [];
  const video = document.createElement("video");
  video.muted = true;
  document.body.append(video);
  const until = (what, condition) => new Promise((resolve, reject) => {
    const start = Date.now();
    const look = () => {
      if (video.error) return reject(new Error(`${what}: ${video.error.message}`));
      if (condition()) return resolve();
      if (Date.now() - start > limit) {
        const at = `at ${video.currentTime} of ${video.duration}, state ${video.readyState}`;
        return reject(new Error(`${what}: not after ${limit} ms, ${at}; ${complaints}`));
      }
      setTimeout(look, 50);
    };
    look();
  });
  if (mode === "hls") {
    const quiet = () => {};
    const tell = (...words) => complaints.push(words.map(String).join(" "));
    const logger = { trace: quiet, debug: quiet, log: quiet, info: quiet, warn: tell, error: tell };
    const hls = new Hls({ debug: logger, enableWorker: false });
    hls.on(Hls.Events.ERROR, (_, data) => complaints.push(`${data.type} ${data.details}`));
    hls.loadSource(url);
    hls.attachMedia(video);
  } else {
    video.src = url;
  }
  await until("metadata", () => video.readyState >= 2);
  const duration = video.duration;
  const seeks = [];
  for (const part of [0.75, 0.25, 0]) {
    video.currentTime = duration * part;
    await until(`seek to ${part}`, () => !video.seeking && video.readyState >= 2);
    seeks.push([duration * part, video.currentTime]);
  }
  const before = video.getVideoPlaybackQuality();
  await video.play();
  await until("the end", () => video.ended);
  const after = video.getVideoPlaybackQuality();
  const buffered = [];
  for (let i = 0; i < video.buffered.length; i += 1) {
    buffered.push([video.buffered.start(i), video.buffered.end(i)]);
  }
  return {
    duration, ended: video.ended, seeks, buffered, complaints,
    width: video.videoWidth, height: video.videoHeight,
    pictures: after.totalVideoFrames - before.totalVideoFrames,
    dropped: after.droppedVideoFrames - before.droppedVideoFrames,
  };
}
