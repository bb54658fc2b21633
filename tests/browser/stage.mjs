// What the browser tests share: the server as a process, a relay that cuts connections, a page of another origin, and
// headless Chromium. Every wait has a deadline; nothing sleeps.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

/** For whatever should happen at once, in milliseconds. */
export const PATIENCE = 20_000;

/** Chromium without everything that looks for the outside world. */
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const cleanups = [];

/** Runs a test, cleans up whatever it started, and ends the process with its verdict. */
export async function run(name, test) {
  let code = 0;
  try {
    await within(4 * PATIENCE, `${name} to end`, test());
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`failed ${name}:`, error);
    code = 1;
  }
  for (const cleanup of cleanups.reverse()) {
    await Promise.race([Promise.resolve(cleanup()).catch(() => {}), new Promise((done) => setTimeout(done, 3_000))]);
  }
  process.exit(code);
}

/** The promise's value, or a failure that says what was waited for. */
export async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`in vain: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Starts the server that PLASMA_BIN names and waits until it listens. */
export async function startPlasma(settings = {}) {
  const ports = { PLASMA_PORT: "0", PLASMA_GRPC_PORT: "0", PLASMA_METRICS_PORT: "0", PLASMA_PPROF_PORT: "0" };
  const usual = { PLASMA_PUBLISH_OPEN: "true", PLASMA_ORIGIN: "*", PLASMA_SSE_RETRY: "200", PLASMA_DRAIN: "300ms" };
  const child = spawn(process.env.PLASMA_BIN, [], {
    env: { PATH: process.env.PATH, ...ports, ...usual, ...settings },
    stdio: ["ignore", "ignore", "pipe"],
  });
  cleanups.push(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stderr });
  const printed = [];
  const listening = new Promise((done, fail) => {
    lines.on("line", (line) => {
      printed.push(line);
      if (line.includes('"msg":"listening"')) done(JSON.parse(line));
    });
    child.on("exit", (code) => fail(new Error(`the server ended with ${code}:\n${printed.join("\n")}`)));
  });
  const port = (await within(PATIENCE, "the server to listen", listening)).http_port;
  const ended = once(child, "exit").then(([code]) => code);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** Publishes `{"meta":{"type":topic},"data":value}` for each value and returns the ids. */
    async publish(topic, ...values) {
      const body = JSON.stringify(values.map((data) => ({ meta: { type: topic }, data })));
      const answer = await fetch(`http://127.0.0.1:${port}/events`, { method: "POST", body });
      assert.equal(answer.status, 202);
      return (await answer.json()).ids;
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      child.kill("SIGTERM");
      return within(PATIENCE, "the server to end", ended);
    },
  };
}

/** A TCP relay in front of the server: remembers request heads, and cuts connections, if need be inside of an event. */
export async function startRelay(port) {
  const relay = { target: port, requests: [], links: new Set(), cutAt: null };
  const server = net.createServer((client) => {
    const upstream = net.connect(relay.target, "127.0.0.1");
    const link = { client, upstream };
    relay.links.add(link);
    const end = () => {
      relay.links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      socket.on("error", end).on("close", end);
    }
    client.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      if (/^(GET|OPTIONS|POST) /.test(text)) relay.requests.push(text);
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      const cut = relay.cutAt === null ? -1 : bytes.indexOf(relay.cutAt);
      if (cut < 0) {
        client.write(bytes);
        return;
      }
      relay.cutAt = null;
      client.end(bytes.subarray(0, cut + 3), end);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  relay.url = `http://127.0.0.1:${server.address().port}`;
  /** Ends every connection now. */
  relay.cut = () => {
    for (const { client, upstream } of [...relay.links]) {
      client.resetAndDestroy();
      upstream.destroy();
    }
  };
  /** Ends the connection that carries `text`, in the middle of it. */
  relay.cutInside = (text) => {
    relay.cutAt = text;
  };
  return relay;
}

/** Serves files by name from an origin that is not the server's. */
export async function servePages(files) {
  const server = http.createServer((request, answer) => {
    const file = files[request.url.split("?")[0]];
    answer.writeHead(file ? 200 : 404, { "Content-Type": file?.type ?? "text/plain" });
    answer.end(file?.body ?? "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

/** Headless Chromium. */
export async function startBrowser() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: QUIET,
    timeout: 3 * PATIENCE,
  });
  cleanups.push(() => browser.close());
  return browser;
}

/** Opens a page that shows its errors and waits no longer than we do. */
export async function openPage(browser, url, options = {}) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => console.error("the page:", error));
  await page.goto(url);
  return page;
}

/** Waits until the page has seen `count` events. */
export async function seen(page, count) {
  await page.waitForFunction((count) => window.seen.events.length >= count, count, { timeout: PATIENCE });
  return page.evaluate(() => window.seen);
}

/** Checks that data are 1, 2, 3, … and that ids only grow. */
export function assertComplete(events, count) {
  assert.deepEqual(
    events.map((event) => JSON.parse(event.data).data),
    Array.from({ length: count }, (_, index) => index + 1),
  );
  events.reduce((last, event) => {
    assert.match(event.id, /^\d{19,20}$/);
    assert.ok(BigInt(event.id) > last, `ids grow: ${event.id}`);
    return BigInt(event.id);
  }, 0n);
}

/** A page that subscribes to `url` with `constructor` and keeps all it sees in `window.seen`. */
export function subscriber(scripts = "", constructor = "EventSource") {
  const body = `<!doctype html><meta charset="utf-8"><title>subscriber</title>${scripts}<script>
    window.seen = { events: [], gaps: [], opened: 0, errors: 0 };
    const source = new ${constructor}(new URLSearchParams(location.search).get("url"));
    window.source = source;
    source.onopen = () => seen.opened++;
    source.onerror = () => seen.errors++;
    source.onmessage = (event) => seen.events.push({ id: event.lastEventId, data: event.data });
    source.addEventListener("plasma.gap", (event) => seen.gaps.push({ id: event.lastEventId, data: event.data }));
  </script>`;
  return { type: "text/html; charset=utf-8", body };
}

/** Values `from` to `to`, both included. */
export function numbers(from, to) {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}
