// The npm package eventsource, as services use it: receives, comes back with its position, misses nothing.

import assert from "node:assert/strict";

import { EventSource } from "eventsource";

import * as stage from "./stage.mjs";

await stage.run("npm eventsource", async () => {
  const plasma = await stage.startPlasma();
  const relay = await stage.startRelay(plasma.port);
  const events = [];
  let wanted = { count: Infinity, done() {} };
  const until = (count) =>
    stage.within(
      stage.PATIENCE,
      `${count} events`,
      new Promise((done) => {
        wanted = { count, done };
        if (events.length >= count) done();
      }),
    );
  const source = new EventSource(`${relay.url}/?eventType=a,b`);
  await stage.within(stage.PATIENCE, "the stream to open", new Promise((done) => (source.onopen = done)));
  source.onmessage = (event) => {
    events.push({ id: event.lastEventId, data: event.data });
    if (events.length >= wanted.count) wanted.done();
  };
  await plasma.publish("a", ...stage.numbers(1, 10));
  await until(10);
  relay.cut();
  await plasma.publish("b", ...stage.numbers(11, 20));
  await until(20);
  source.close();
  stage.assertComplete(events, 20);
  const resumed = relay.requests.filter((request) => request.toLowerCase().includes(`last-event-id: ${events[9].id}`));
  assert.equal(resumed.length, 1);
});
