// Node's fetch and http client against a webhook: bodies of many sizes, with and without keep-alive, declared and
// streamed.
//
// Arguments: the URL of a webhook that answers at once, and of one that answers 201 {"reply":true}. Exit code 0: all
// was as it should be.

import http from "node:http";

const LIMIT = 262_144;
const SIZES = [0, 1, 1000, 65_536, 262_143, 262_144, 262_145];
const SUCCESS = '{"success":true}';
const TOO_LARGE = '{"error":"Content too large"}';
const MILLISECONDS_MAX = 20_000;

const [quick, replying] = process.argv.slice(2);

function expect(what, got, wanted) {
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    console.error(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
    process.exit(1);
  }
}

const outcome = (size) => (size <= LIMIT ? [200, SUCCESS] : [413, TOO_LARGE]);

async function fetched(url, options) {
  const response = await fetch(url, { signal: AbortSignal.timeout(MILLISECONDS_MAX), ...options });
  return [response.status, await response.text()];
}

/// The body as a stream of unknown length, which fetch sends chunked.
function streamed(body) {
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      if (sent >= body.length) return controller.close();
      controller.enqueue(body.subarray(sent, sent + 50_000));
      sent += 50_000;
    },
  });
}

/// One request through `http`, which says whether the connection was used before.
function requested(agent, url, method, body) {
  return new Promise((resolve, reject) => {
    const headers = { "Content-Length": body.length };
    const request = http.request(url, { agent, method, headers, timeout: MILLISECONDS_MAX }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve([response.statusCode, text]));
      response.on("error", reject);
    });
    request.on("timeout", () => request.destroy(new Error("no response")));
    request.on("error", reject);
    request.end(body);
  });
}

const kept = new http.Agent({ keepAlive: true, maxSockets: 1 });
const alone = new http.Agent({ keepAlive: false });
for (const size of SIZES) {
  const body = new Uint8Array(size).fill(120);
  const what = `${size} bytes`;
  expect(`fetch, ${what}`, await fetched(quick, { method: "POST", body }), outcome(size));
  const close = { Connection: "close" };
  expect(`fetch and close, ${what}`, await fetched(quick, { method: "POST", body, headers: close }), outcome(size));
  const stream = { method: "PUT", body: streamed(body), duplex: "half" };
  expect(`fetch of a stream, ${what}`, await fetched(quick, stream), outcome(size));
  expect(`http kept, ${what}`, await requested(kept, quick, "POST", body), outcome(size));
  expect(`http alone, ${what}`, await requested(alone, quick, "PATCH", body), outcome(size));
  if (size <= LIMIT) {
    expect(`reply, ${what}`, await fetched(replying, { method: "POST", body }), [201, '{"reply":true}']);
  }
}
for (const method of ["GET", "DELETE", "PATCH", "PUT", "POST"]) {
  expect(method, await fetched(quick, { method }), [200, SUCCESS]);
}
expect("HEAD", await fetched(quick, { method: "HEAD" }), [200, ""]);
const many = Array.from({ length: 100 }, (_, index) => fetched(index % 2 ? quick : replying, { method: "POST", body: "x" }));
for (const [index, got] of (await Promise.all(many)).entries()) {
  expect(`one of many, ${index}`, got, index % 2 ? [200, SUCCESS] : [201, '{"reply":true}']);
}
kept.destroy();
console.log("fetch: all as it should be");
