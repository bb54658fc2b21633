// The page at /debug on a phone: subscribes, publishes, shows the event, and needs no sideways scrolling.

import assert from "node:assert/strict";

import * as stage from "./stage.mjs";

await stage.run("debug page", async () => {
  const plasma = await stage.startPlasma({ PLASMA_DEBUG: "true", PLASMA_ORIGIN: "" });
  const browser = await stage.startBrowser();
  const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
  const outside = [];
  const page = await stage.openPage(browser, `${plasma.url}/debug`, phone);
  page.on("request", (request) => request.url().startsWith(plasma.url) || outside.push(request.url()));
  await page.reload();

  const width = await page.evaluate(() => document.scrollingElement.scrollWidth);
  assert.ok(width <= 360, `no sideways scrolling: ${width} px wide`);
  for (const id of ["eventTypes", "watchSubmit", "eventName", "eventData", "eventSubmit"]) {
    const box = await page.locator(`#${id}`).boundingBox();
    assert.ok(box && box.height >= 40 && box.x >= 0 && box.x + box.width <= 360, `${id} is in reach: ${JSON.stringify(box)}`);
  }

  await page.fill("#eventTypes", "program");
  await page.tap("#watchSubmit");
  await page.getByText("Watching program").waitFor();
  await page.fill("#eventName", "program:1234");
  await page.fill("#eventData", '{"views":42,"text":"<b>bold</b>"}');
  await page.tap("#eventSubmit");
  await page.getByText("views", { exact: false }).last().waitFor();
  const shown = await page.evaluate(() => document.body.innerText);
  assert.ok(shown.includes("program:1234") && shown.includes("42"), shown);
  assert.equal(await page.locator("b", { hasText: "bold" }).count(), 0, "data is shown as text");
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  assert.deepEqual(outside, [], "nothing from outside");
});
