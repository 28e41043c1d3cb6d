// Requests as the SDKs of senders sign them, and whether each SDK takes them itself. The secrets and the time come as JSON
// on standard input, the cases go out as a JSON array. Usage: node senders.mjs <folder of the packages>

import { createRequire } from "node:module";
import { createPrivateKey, createPublicKey, sign as signBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const load = createRequire(join(process.argv[2], "package.json"));
const { secrets, now } = JSON.parse(readFileSync(0, "utf8"));
const octokit = await import(
  pathToFileURL(join(process.argv[2], "node_modules/@octokit/webhooks/dist-bundle/index.js"))
);
const Stripe = load("stripe");
const svix = load("svix");
const standard = load("standardwebhooks");
const discord = load("discord-interactions");

const BODY = JSON.stringify({ event: "paid", note: "é \"quoted\"", amount: 1.5 });
const TOLERANCE = 300;

async function takes(verify) {
  try {
    return (await verify()) !== false;
  } catch {
    return false;
  }
}

/// The private key of Ed25519 for a seed (RFC 8410).
function ed25519(seed) {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "hex")]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function publicHex(seed) {
  return createPublicKey(ed25519(seed)).export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
}

const senders = {
  github: {
    async sign(secret, seconds, body) {
      return { "X-Hub-Signature-256": await new octokit.Webhooks({ secret }).sign(body) };
    },
    verify: (secret, headers, body) =>
      new octokit.Webhooks({ secret }).verify(body, headers["X-Hub-Signature-256"]),
    secrets: secrets.text,
    hasTime: false,
  },
  stripe: {
    async sign(secret, timestamp, payload) {
      return { "Stripe-Signature": Stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }) };
    },
    verify: (secret, headers, body) =>
      Stripe.webhooks.constructEvent(body, headers["Stripe-Signature"], secret, TOLERANCE),
    secrets: secrets.text,
    hasTime: true,
  },
  svix: {
    async sign(secret, seconds, body) {
      const signature = new svix.Webhook(secret).sign("msg_1", new Date(seconds * 1000), body);
      return { "svix-id": "msg_1", "svix-timestamp": String(seconds), "svix-signature": signature };
    },
    verify: (secret, headers, body) => new svix.Webhook(secret).verify(body, headers),
    secrets: secrets.whsec,
    hasTime: true,
  },
  "standard-webhooks": {
    async sign(secret, seconds, body) {
      const signature = new standard.Webhook(secret).sign("msg_1", new Date(seconds * 1000), body);
      return { "webhook-id": "msg_1", "webhook-timestamp": String(seconds), "webhook-signature": signature };
    },
    verify: (secret, headers, body) => new standard.Webhook(secret).verify(body, headers),
    secrets: secrets.whsec,
    hasTime: true,
  },
  discord: {
    async sign(seed, seconds, body) {
      const text = Buffer.from(`${seconds}${body}`);
      return {
        "X-Signature-Ed25519": signBytes(null, text, ed25519(seed)).toString("hex"),
        "X-Signature-Timestamp": String(seconds),
      };
    },
    verify: (seed, headers, body) =>
      discord.verifyKey(body, headers["X-Signature-Ed25519"], headers["X-Signature-Timestamp"], publicHex(seed)),
    secrets: secrets.seeds,
    shown: publicHex,
    // The SDK takes any time; so does not the scheme of Tidegate.
    hasTime: false,
  },
};

const cases = [];
for (const [name, sender] of Object.entries(senders)) {
  const [own, other] = sender.secrets;
  const shown = sender.shown ?? ((secret) => secret);
  const signings = [["right", own, now, BODY], ["another secret", other, now, BODY], ["another body", own, now, `${BODY} `]];
  if (sender.hasTime) {
    signings.push(["stale", own, now - TOLERANCE - 30, BODY], ["within the time", own, now - TOLERANCE + 60, BODY]);
  }
  for (const [what, secret, seconds, body] of signings) {
    // What is sent is signed; where it is the body that differs, something else is.
    const headers = await sender.sign(secret, seconds, BODY);
    const isTaken = await takes(() => sender.verify(own, headers, body));
    cases.push({ scheme: name === "svix" ? "standard-webhooks" : name, sender: name, what, headers, body, isTaken,
      secret: shown(own), other: shown(other) });
  }
}
console.log(JSON.stringify(cases));
