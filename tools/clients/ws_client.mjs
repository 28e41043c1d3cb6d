// Node's ws against a WebSocket webhook whose flow sends every message back as it came.
//
// Arguments: the webhook's URL (ws://…). Exit code 0: all was as it should be. TIDEGATE_TEST_TOOLS names the folder
// that `ws-install` installed into.

import { createRequire } from "node:module";

const { WebSocket } = createRequire(`${process.env.TIDEGATE_TEST_TOOLS}/node/`)("ws");

const LIMIT = 262_144;
const MILLISECONDS_MAX = 30_000;
const [url] = process.argv.slice(2);

setTimeout(() => fail("it takes too long"), MILLISECONDS_MAX).unref();

function fail(message) {
  console.error(message);
  process.exit(1);
}

function expect(what, got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    fail(`${what}: expected ${JSON.stringify(wanted).slice(0, 200)}, got ${JSON.stringify(got).slice(0, 200)}`);
  }
}

const next = (client, event) => new Promise((resolve) => client.once(event, (...values) => resolve(values)));

async function open(perMessageDeflate) {
  const client = new WebSocket(url, { perMessageDeflate, maxPayload: 4 * LIMIT });
  client.on("error", (error) => fail(`${error}`));
  await next(client, "open");
  expect("extensions", client.extensions, perMessageDeflate ? "permessage-deflate" : "");
  return client;
}

async function echoed(client, what, message) {
  client.send(message);
  const [data, isBinary] = await next(client, "message");
  expect(what, [isBinary ? data.toString("hex") : data.toString(), isBinary], [
    typeof message === "string" ? message : message.toString("hex"),
    typeof message !== "string",
  ]);
}

for (const deflate of [false, true]) {
  const client = await open(deflate);
  for (const text of ["hello", "", "ünïcödé 🐢 \"quoted\" \\", "x".repeat(70_000), "é".repeat(LIMIT / 2)]) {
    await echoed(client, `text of ${text.length}`, text);
  }
  for (const size of [0, 1, 125, 126, 65_535, 65_536, (LIMIT * 3) / 4]) {
    await echoed(client, `${size} bytes`, Buffer.from(Array.from({ length: size }, (_, index) => (index * 7) % 256)));
  }
  client.send("one ", { fin: false });
  client.send("two ", { fin: false });
  client.send("three", { fin: true });
  const [whole] = await next(client, "message");
  expect("fragments", whole.toString(), "one two three");
  client.ping("are you there");
  const [pong] = await next(client, "pong");
  expect("pong", pong.toString(), "are you there");
  client.close(4321, "that was all");
  const [code] = await next(client, "close");
  expect("close", code, 4321);

  const large = await open(deflate);
  large.send("y".repeat(LIMIT + 1));
  const [tooLarge, why] = await next(large, "close");
  expect("a message too large", [tooLarge, why.toString()], [1008, "Message too large"]);
}
