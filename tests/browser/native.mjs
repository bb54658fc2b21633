// A native EventSource of another origin is cut off three times, once inside of an event. It comes back by itself with
// Last-Event-ID, has missed nothing and seen nothing twice.

import assert from "node:assert/strict";

import * as stage from "./stage.mjs";

await stage.run("native EventSource", async () => {
  const plasma = await stage.startPlasma();
  const relay = await stage.startRelay(plasma.port);
  const pages = await stage.servePages({ "/": stage.subscriber() });
  const browser = await stage.startBrowser();
  const url = encodeURIComponent(`${relay.url}/?eventType=a`);
  const page = await stage.openPage(browser, `${pages}/?url=${url}`);
  await page.waitForFunction(() => window.seen.opened === 1);

  await plasma.publish("a", ...stage.numbers(1, 20));
  await stage.seen(page, 20);

  relay.cut();
  await plasma.publish("a", ...stage.numbers(21, 40));
  await plasma.publish("b", "of no interest");
  await stage.seen(page, 40);

  relay.cutInside('"data":50}');
  await plasma.publish("a", ...stage.numbers(41, 60));
  await stage.seen(page, 60);

  relay.cut();
  for (const number of stage.numbers(61, 80)) await plasma.publish("a", number);
  const seen = await stage.seen(page, 80);

  stage.assertComplete(seen.events, 80);
  assert.deepEqual(seen.gaps, []);
  assert.equal(seen.opened, 4);
  const resumes = relay.requests.map((request) => /^last-event-id: *(\d+)/im.exec(request)?.[1]);
  assert.equal(resumes.length, 4);
  assert.equal(resumes[0], undefined);
  assert.equal(resumes[1], seen.events[19].id);
  assert.equal(resumes[2], seen.events[48].id, "the event that was cut does not count as seen");
});
