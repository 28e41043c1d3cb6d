// The fields of a webhook with their defaults, their ranges, and what each is for. One table makes the forms.

import { bytes, number } from "./ui.js";

/** What a new webhook is, as the API has it. */
export const DEFAULTS = {
  name: "", description: "", isWebsocket: false, enabled: true, waitForReply: false, responseCode: 200,
  verificationType: "none", verificationCode: "", basicAuthUsername: "", basicAuthPassword: "",
  castBuffersAs: "array", annotateMultipart: false, rawBody: false, limits: {}, signature: null,
  methods: null, allowedNetworks: null, auth: null, deduplicate: null, responseBody: null, cors: null,
};

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

/** Sections of fields. `when` hides a field that has no effect; `limit` names what an empty one falls back to. */
export const SECTIONS = [
  { title: "General", open: true, fields: [
    { name: "name", label: "Name", kind: "text", required: true, most: 255, help: "All that a webhook needs. 1 to 255 characters; only people read it." },
    { name: "description", label: "Description", kind: "area", most: 32767, help: "For people. Empty unless you write one." },
    { name: "isWebsocket", label: "WebSocket webhook", kind: "check", creationOnly: true, help: "Callers open a WebSocket instead of sending requests. Off unless you say so, and fixed once the webhook is made." },
    { name: "enabled", label: "Enabled", kind: "check", help: "A disabled webhook answers 200 and triggers nothing (a WebSocket webhook: 404). On unless you say otherwise." },
  ] },
  { title: "Response", fields: [
    { name: "waitForReply", label: "Wait for a flow's reply", kind: "check", when: http, help: "The caller waits until a flow or a worker replies, and gets a 504 if none does in time. Off: the response leaves at once." },
    { name: "responseCode", label: "Response code", kind: "number", least: 200, most: 599, when: http, fixed: fixedCode, help: "The status where no reply says otherwise. 200 to 599; 200 by default." },
    { name: "responseBody", label: "Response body", kind: "access", when: http, help: "What a caller that does not wait gets." },
  ] },
  { title: "Verification", fields: [
    { name: "verificationType", label: "Sender", kind: "select", when: http, help: "Whose handshake it answers. None by default.", options: [
      ["none", "None"], ["facebook", "Facebook (Meta)"], ["fitbit", "Fitbit"], ["twilio", "Twilio"], ["alexa", "Amazon Alexa"]] },
    { name: "verificationCode", label: "Verification code", kind: "text", most: 32767, when: (values) => http(values) && ["facebook", "fitbit"].includes(values.verificationType),
      help: "What the sender sends along to prove itself. May be a template over the globals: {{globals.key}}." },
    { name: "basicAuthUsername", label: "User name", kind: "text", most: 255, help: "Basic authentication: both blank means none. May be a template: {{globals.key}}." },
    { name: "basicAuthPassword", label: "Password", kind: "password", most: 255, help: "Shown to whoever has the access token. May be a template, too." },
    { name: "signature", label: "Signature", kind: "signature", help: "Every request must be signed with a shared secret. None by default." },
  ] },
  { title: "Access", note: "All of it is off by default: any method, address and origin, and no credential.", fields: [
    { name: "methods", label: "Methods", kind: "access", access: "list", when: http, help: "Some of DELETE, GET, PATCH, POST, PUT; others get a 405. Empty: all." },
    { name: "allowedNetworks", label: "Allowed networks", kind: "access", access: "list", help: "Addresses and networks such as 192.0.2.0/24, one a line; callers from elsewhere get a 403. Empty: any." },
    { name: "auth", label: "Credential", kind: "access", access: "auth", help: "What every call must carry, beside basic authentication; others get a 401." },
    { name: "deduplicate", label: "Repeats", kind: "access", access: "deduplicate", when: http, help: "Whether calls with the same key trigger once." },
    { name: "cors", label: "CORS headers", kind: "access", access: "cors", help: "Which pages in browsers may read the answers." },
  ] },
  { title: "Payload", fields: [
    { name: "castBuffersAs", label: "Bytes that are no text become", kind: "select", when: http, help: "How uploads and binary bodies stand in a payload. An array by default.", options: [
      ["array", "an array of numbers"], ["binary", "a binary string"], ["utf8", "UTF-8 text"], ["base64", "base64"], ["hex", "hex"]] },
    { name: "annotateMultipart", label: "Describe uploaded files", kind: "check", when: http, help: "A file of a form becomes {filename, contentType, encoding, data} instead of its bytes alone. Off by default." },
    { name: "rawBody", label: "Raw body", kind: "check", when: http, help: "data.rawBody holds the body as it came, in base64. Off by default." },
  ] },
  { title: "Limits", note: "Leave one empty for the server's own, which is shown in it.", fields: [
    { name: "limits.requestsPerWindow", label: "Calls in a window", kind: "limit", least: 0, most: 1_000_000_000, limit: "requestsPerWindow", help: "Over it callers get a 429. 0 means no limit." },
    { name: "limits.windowSeconds", label: "Window, in seconds", kind: "limit", least: 1, most: 86_400, limit: "windowSeconds", help: "No span of this length ever holds more calls than that." },
    { name: "limits.concurrency", label: "At a time", kind: "limit", least: 0, most: 100_000_000, limit: "concurrency", help: "Requests that wait for a reply, and open WebSockets. 0 means no limit." },
    { name: "limits.payloadBytes", label: "Payload, in bytes", kind: "limit", least: 1, most: 67_108_864, limit: "payloadBytes", help: "Of a body, a message, a reply. Over it callers get a 413." },
    { name: "limits.replyTimeoutSeconds", label: "Wait for a reply, in seconds", kind: "limit", least: 1, most: 3600, limit: "replyTimeoutSeconds", help: "Then callers get a 504." },
  ] },
];

export const SIGNATURE_SCHEMES = [
  ["", "None"], ["standard-webhooks", "Standard Webhooks"], ["github", "GitHub"], ["stripe", "Stripe"], ["slack", "Slack"],
  ["shopify", "Shopify"], ["twilio", "Twilio"], ["meta", "Meta"], ["fitbit", "Fitbit"],
  ["discord", "Discord"], ["zoom", "Zoom"], ["pagerduty", "PagerDuty"],
  ["sendgrid", "SendGrid"], ["mailgun", "Mailgun"], ["hmac", "Other (HMAC)"], ["ed25519", "Other (Ed25519)"],
];

/** What a limit's fallback reads like. */
export function fallback(limit, value) {
  if (value === 0) return "no limit";
  if (limit === "payloadBytes") return `${number(value)} (${bytes(value)})`;
  return number(value);
}
