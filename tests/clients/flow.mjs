// @grpc/grpc-js, as it comes, against the server at PLASMA_GRPC. Prints `restart` when it wants the server to drain and
// to come back on the same port, and goes on when it reads a line.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";

import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const ADDRESS = process.env.PLASMA_GRPC;
const PATIENCE = 20_000;
const BETWEEN_TRIES = 50;

const files = ["plasma.proto", "publish.proto", "health.proto"];
const loaded = loadSync(files, { includeDirs: [process.env.PLASMA_PROTO], keepCase: true, defaults: true, enums: String });
const api = grpc.loadPackageDefinition(loaded);
const credentials = grpc.credentials.createInsecure();
// Calls of all three services share the connection.
const streams = new api.proto.StreamService(ADDRESS, credentials);
const publisher = new api.plasma.v1.PublishService(ADDRESS, credentials);
const health = new api.grpc.health.v1.Health(ADDRESS, credentials);

/** The promise's value, or `undefined` when it is late. */
async function within(milliseconds, promise) {
  let timer;
  const late = new Promise((done) => {
    timer = setTimeout(done, milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unary(client, method, message) {
  return new Promise((done, fail) => {
    const deadline = Date.now() + PATIENCE;
    client[method](message, { deadline }, (error, answer) => (error ? fail(error) : done(answer)));
  });
}

async function publish(type, data) {
  const answer = await unary(publisher, "Publish", { events: [{ type, data }] });
  assert.deepEqual([answer.accepted.toString(), answer.ids.length], ["1", 1]);
  return answer.ids[0];
}

let marks = 0;

/** One call of Events; its end stands last among what came, as a status. */
class Stream {
  constructor(metadata = {}) {
    const fields = new grpc.Metadata();
    for (const [name, value] of Object.entries(metadata)) fields.set(name, value);
    this.call = streams.Events(fields);
    this.came = [];
    this.wake = () => {};
    const add = (item) => {
      this.came.push(item);
      this.wake();
    };
    this.call.on("data", (payload) => add({ payload }));
    this.call.on("status", (status) => add({ status }));
    this.call.on("error", () => {});
  }

  ask(...topics) {
    this.call.write({ Events: topics.map((type) => ({ type })) });
  }

  async next(milliseconds = PATIENCE) {
    const until = Date.now() + milliseconds;
    while (this.came.length === 0) {
      const left = until - Date.now();
      if (left <= 0) return undefined;
      await within(left, new Promise((done) => (this.wake = done)));
    }
    return this.came.shift();
  }

  /** The next event that is no mark of `subscribe`. */
  async event() {
    for (;;) {
      const item = await this.next();
      assert.ok(item?.payload, `an event: ${JSON.stringify(item)}`);
      const { eventType, data } = item.payload;
      if (!eventType.type.startsWith("mark-")) return [eventType.type, data];
    }
  }

  async end() {
    for (;;) {
      const item = await this.next();
      if (item?.status) return item.status.code;
      assert.ok(item?.payload?.eventType.type.startsWith("mark-"), JSON.stringify(item));
    }
  }

  /** Asks for topics and waits until the server knows them: a mark comes back. */
  async subscribe(...topics) {
    const mark = `mark-${++marks}`;
    this.ask(...topics, mark);
    for (;;) {
      await publish(mark, "0");
      const item = await this.next(BETWEEN_TRIES);
      if (!item) continue;
      assert.ok(item.payload?.eventType.type.startsWith("mark-"), JSON.stringify(item));
      if (item.payload.eventType.type === mark) return;
    }
  }
}

async function main() {
  assert.equal((await unary(health, "Check", {})).status, "SERVING");

  let stream = new Stream();
  await stream.subscribe("a");
  await publish("a", '{"x": "<b>"}');
  assert.deepEqual(await stream.event(), ["a", '{"x": "<b>"}']);
  await stream.subscribe("b", "c:d");
  await publish("a", "1");
  await publish("c:d:e", "2");
  assert.deepEqual(await stream.event(), ["c:d:e", "2"]);
  stream.ask();
  await stream.subscribe();
  await publish("b", "3");
  await stream.subscribe("z");
  await publish("z", "4");
  assert.deepEqual(await stream.event(), ["z", "4"], "nothing came while nothing was subscribed");
  stream.call.write({ Events: [{ type: "a" }], forceClose: true });
  assert.equal(await stream.end(), grpc.status.OK);

  stream = new Stream();
  await stream.subscribe("a");
  stream.call.end();
  assert.equal(await stream.end(), grpc.status.OK);

  stream = new Stream();
  await stream.subscribe("a");
  stream.call.cancel();
  assert.equal(await stream.end(), grpc.status.CANCELLED);

  const many = Array.from({ length: 50 }, () => new Stream());
  for (const one of many) await one.subscribe("m");
  const large = JSON.stringify("x".repeat(200_000));
  await publish("m", large);
  for (const one of many) {
    assert.deepEqual(await one.event(), ["m", large]);
    one.call.end();
    assert.equal(await one.end(), grpc.status.OK);
  }

  stream = new Stream({ "plasma-ids": "1" });
  await stream.subscribe("a");
  const last = await publish("a", "5");
  assert.deepEqual(await stream.event(), ["a", "5"]);
  console.log("restart");
  assert.equal(await stream.end(), grpc.status.UNAVAILABLE);
  const input = createInterface({ input: process.stdin });
  const [line] = await once(input, "line");
  assert.equal(line, "go on");
  input.close();

  for (const client of [streams, publisher]) {
    await new Promise((done, fail) => {
      client.waitForReady(Date.now() + PATIENCE, (error) => (error ? fail(error) : done()));
    });
  }
  stream = new Stream({ "plasma-ids": "1", "last-event-id": last });
  stream.ask("a");
  assert.equal((await stream.next()).payload?.eventType.type, "plasma.gap");
  await publish("a", "6");
  assert.deepEqual(await stream.event(), ["a", "6"]);
  stream.call.end();
  assert.equal(await stream.end(), grpc.status.OK);
  console.log("ok");
  process.exit(0);
}

await main();
