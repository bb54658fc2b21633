// Two servers in a row on one address: the browser comes back to the second with an id of the first, is told that what
// came between may be lost, and goes on. Once the first is killed, once it says farewell.

import assert from "node:assert/strict";

import * as stage from "./stage.mjs";

await stage.run("restart", async () => {
  const pages = await stage.servePages({ "/": stage.subscriber() });
  const browser = await stage.startBrowser();
  for (const end of ["kill", "stop"]) {
    const first = await stage.startPlasma();
    const relay = await stage.startRelay(first.port);
    const url = encodeURIComponent(`${relay.url}/?eventType=a`);
    const page = await stage.openPage(browser, `${pages}/?url=${url}`);
    await page.waitForFunction(() => window.seen.opened === 1);
    const [id] = await first.publish("a", 1);
    await stage.seen(page, 1);

    const code = await first[end]();
    if (end === "stop") assert.equal(code, 0);
    const second = await stage.startPlasma();
    relay.target = second.port;

    await page.waitForFunction(() => window.seen.gaps.length === 1);
    await second.publish("a", 2);
    const seen = await stage.seen(page, 2);
    stage.assertComplete(seen.events, 2);
    assert.equal(seen.gaps.length, 1);
    const notice = JSON.parse(seen.gaps[0].data);
    assert.deepEqual([notice.lost_from, notice.reason], [id, "expired"]);
    assert.equal(seen.gaps[0].id, id, "a notice does not move the position");
    await page.close();
  }
});
