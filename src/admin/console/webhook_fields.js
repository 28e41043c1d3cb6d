// The fields of a webhook as its form shows them. What each takes, its default and what it is for are the server's to say.

import { described, schemaOf } from "./schema.js";
import { bytes, number } from "./ui.js";

const http = (values) => !values.isWebsocket;

/** The status that a sender's kind prescribes, whatever the webhook says, and why; null for none. */
export function fixedCode(values) {
  if (values.isWebsocket) return null;
  switch (values.verificationType) {
    case "fitbit": return { value: 204, why: "Always 204 for Fitbit, which takes nothing else for a success." };
    case "twilio": return { value: 200, why: "Always 200 for Twilio, with the TwiML that it expects. A flow's reply can bring another." };
    default: return null;
  }
}

/** The status that callers get where no reply says otherwise. */
export const codeOf = (webhook) => fixedCode(webhook)?.value ?? webhook.responseCode;

const limit = (name, label) => ({ name: `limits.${name}`, label, kind: "limit", limit: name });
const access = (name, label, more = {}) => ({ name, label, kind: "access", access: name, ...more });

/** Sections of fields. `when` hides a field that has no effect; `limit` names what an empty one falls back to. */
export const SECTIONS = [
  { title: "General", open: true, fields: [
    { name: "name", label: "Name", required: true },
    { name: "description", label: "Description", kind: "area" },
    { name: "isWebsocket", label: "WebSocket webhook", creationOnly: true },
    { name: "enabled", label: "Enabled" },
  ] },
  { title: "Response", fields: [
    { name: "waitForReply", label: "Wait for reply from workflow", when: http },
    { name: "responseCode", label: "Response code", when: http, fixed: fixedCode },
    access("responseBody", "Response body", { when: http }),
  ] },
  { title: "Verification", fields: [
    { name: "verificationType", label: "Sender", when: http,
      labels: { none: "None", facebook: "Facebook (Meta)", fitbit: "Fitbit", twilio: "Twilio", alexa: "Amazon Alexa" } },
    { name: "verificationCode", label: "Verification code", when: (values) => http(values) && ["facebook", "fitbit"].includes(values.verificationType) },
    { name: "basicAuthUsername", label: "User name" },
    { name: "basicAuthPassword", label: "Password", kind: "password" },
    { name: "signature", label: "Signature", kind: "signature" },
  ] },
  { title: "Access", note: "All of it is off by default: any method, address and origin, and no credential.", fields: [
    access("methods", "Methods", { access: "list", when: http }),
    access("allowedNetworks", "Allowed networks", { access: "list" }),
    access("auth", "Credential"),
    access("deduplicate", "Repeats", { when: http }),
    access("cors", "CORS headers"),
  ] },
  { title: "Payload", fields: [
    { name: "castBuffersAs", label: "Bytes that are no text become", when: http,
      labels: { array: "an array of numbers", binary: "a binary string", utf8: "UTF-8 text", base64: "base64", hex: "hex" } },
    { name: "annotateMultipart", label: "Describe uploaded files", when: http },
    { name: "rawBody", label: "Raw body", when: http },
  ] },
  { title: "Limits", note: "Leave one empty for the server's own, which is shown in it.", fields: [
    limit("requestsPerWindow", "Calls in a window"),
    limit("windowSeconds", "Window, in seconds"),
    limit("concurrency", "At a time"),
    limit("payloadBytes", "Payload, in bytes"),
    limit("replyTimeoutSeconds", "Wait for a reply, in seconds"),
  ] },
].map((section) => ({ ...section, fields: section.fields.map((spec) => described("WebhookPost", spec)) }));

/** What a new webhook is, as the API has it. */
export const DEFAULTS = { limits: {} };
for (const { name, kind, fallback, required } of SECTIONS.flatMap((section) => section.fields)) {
  if (kind !== "limit") DEFAULTS[name] = fallback ?? (required ? "" : null);
}

const SCHEMES = {
  "standard-webhooks": "Standard Webhooks", github: "GitHub", stripe: "Stripe", slack: "Slack", shopify: "Shopify", twilio: "Twilio",
  meta: "Meta", fitbit: "Fitbit", discord: "Discord", zoom: "Zoom", pagerduty: "PagerDuty", sendgrid: "SendGrid", mailgun: "Mailgun",
  hmac: "Other (HMAC)", ed25519: "Other (Ed25519)",
};
export const SIGNATURE_SCHEMES = [["", "None"], ...schemaOf("Signature", "scheme").enum.map((word) => [word, SCHEMES[word] ?? word])];

/** What a limit's fallback reads like. */
export function limitText(limit, value) {
  if (value === 0) return "no limit";
  if (limit === "payloadBytes") return `${number(value)} (${bytes(value)})`;
  return number(value);
}
