// Calls a webhook whose calls `tidegate listen` brings to a program, with Node's fetch.
// Arguments: the URL, and the name that the program answers with. What the program got must be what was sent.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

const [url, program] = process.argv.slice(2);
const calls = [
  ["POST", "", "application/json", Buffer.from(' {"n": 1.10,\n "s": "\u00fc"} ')],
  ["PUT", "/up/there?a=1&a=2&b=x%20y", "application/x-www-form-urlencoded", Buffer.from("text=%3Cb%3E&token=xyz&empty=")],
  ["PATCH", "/b", "application/octet-stream", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
  ["DELETE", "/gone", "text/plain", Buffer.from("bye")],
  ["GET", "/look?q=%C3%BC", null, Buffer.alloc(0)],
];
for (const [number, [method, more, type, body]] of calls.entries()) {
  const headers = { "X-Mark": `call ${number}`, ...(type ? { "Content-Type": type } : {}) };
  const response = await fetch(url + more, { method, headers, ...(body.length ? { body } : {}) });
  assert.deepEqual(await response.json(), {
    program,
    method,
    path: "/base" + more,
    type,
    mark: `call ${number}`,
    sha256: createHash("sha256").update(body).digest("hex"),
  });
  assert.equal(response.status, 207);
  assert.equal(response.headers.get("x-program"), program);
}
console.log("done");
