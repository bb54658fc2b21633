// Yaffle's polyfill in a browser: it names its position in the query, from another origin, and misses nothing.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import * as stage from "./stage.mjs";

await stage.run("event-source-polyfill", async () => {
  const plasma = await stage.startPlasma();
  const relay = await stage.startRelay(plasma.port);
  const source = new URL("./node_modules/event-source-polyfill/src/eventsource.js", import.meta.url);
  const pages = await stage.servePages({
    "/": stage.subscriber('<script src="/polyfill.js"></script>', "EventSourcePolyfill"),
    "/polyfill.js": { type: "text/javascript", body: await readFile(source) },
  });
  const browser = await stage.startBrowser();
  const url = encodeURIComponent(`${relay.url}/?eventType=a`);
  const page = await stage.openPage(browser, `${pages}/?url=${url}`);
  await page.waitForFunction(() => window.seen.opened === 1);
  await plasma.publish("a", ...stage.numbers(1, 10));
  await stage.seen(page, 10);
  relay.cut();
  await plasma.publish("a", ...stage.numbers(11, 20));
  const seen = await stage.seen(page, 20);
  stage.assertComplete(seen.events, 20);
  const queries = relay.requests.map((request) => /[?&]lastEventId=(\d+)/.exec(request)?.[1]);
  assert.ok(queries.includes(seen.events[9].id), `the position in the query: ${queries}`);
});
