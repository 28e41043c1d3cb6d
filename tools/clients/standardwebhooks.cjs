// Verifies a request as the reference implementation of Standard Webhooks does: its secret, headers and body come as JSON
// on standard input. Usage: node standardwebhooks.cjs <folder of the package>

const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const load = createRequire(join(process.argv[2], "package.json"));
const { Webhook } = load("standardwebhooks");
const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
new Webhook(secret).verify(body, headers);
console.log("ok");
