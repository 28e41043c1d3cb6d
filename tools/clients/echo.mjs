// A program behind a webhook, with Node's http: answers what it got as JSON, with the status 207.
// Prints its port, and ends when its standard input does.
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const server = createServer((request, response) => {
  const hash = createHash("sha256");
  request.on("data", (chunk) => hash.update(chunk));
  request.on("end", () => {
    const told = {
      program: "node",
      method: request.method,
      path: request.url,
      type: request.headers["content-type"] ?? null,
      mark: request.headers["x-mark"] ?? null,
      sha256: hash.digest("hex"),
    };
    response.writeHead(207, { "Content-Type": "application/json", "X-Program": "node" });
    response.end(JSON.stringify(told));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
