// The REST API: one function to ask, errors that say what to do, and whether the server can be reached.

import { token } from "./store.js";

/** How long an answer may take. A test request may wait a minute for its reply, and a bit. */
const TIMEOUT_MS = 75_000;

/** A refusal of the server, or its silence (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** The field that the message names first, in backticks: `limits.concurrency`. */
  get field() {
    return /^`([^`]+)`/.exec(this.message)?.[1] ?? null;
  }
}

const listeners = { signedOut: () => {}, reachable: () => {} };

/** Sets who is told: `signedOut()` where the token is not taken, `reachable(boolean)` after each request. */
export function observe(name, listener) {
  listeners[name] = listener;
}

/**
 * Asks the API; answers the parsed JSON. `options`: `method`, `body` (sent as JSON), `query` (an object; blank values
 * are left out), `signal`.
 */
export async function ask(path, options = {}) {
  return (await askText(path, options)).json;
}

/** The same, with the text of the answer beside it: numbers have digits there that a parsed one may not hold. */
export async function askText(path, options = {}) {
  const response = await open(path, options);
  const text = await response.text();
  let json = null;
  try {
    json = text === "" ? null : JSON.parse(text);
  } catch {
    throw new ApiError(response.status, "The server answered something that is no JSON. Is a proxy in between?");
  }
  if (response.ok) return { json, text };
  throw refused(response.status, json?.message);
}

/** The same, but answers the response itself where it is a success: for streams. */
export async function stream(path, signal, query) {
  const response = await open(path, { signal, query, accept: "text/event-stream", timeout: false });
  if (response.ok) return response;
  const json = await response.json().catch(() => null);
  throw refused(response.status, json?.message);
}

async function open(path, { method = "GET", body, query, signal, accept = "application/json", timeout = true }) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") parameters.set(name, value);
  }
  const target = parameters.size > 0 ? `${path}?${parameters}` : path;
  const signals = [signal, timeout ? AbortSignal.timeout(TIMEOUT_MS) : null].filter(Boolean);
  const headers = { Accept: accept, Authorization: `Bearer ${token.read() ?? ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(target, {
      method,
      headers,
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
      signal: AbortSignal.any(signals),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    listeners.reachable(true);
    return response;
  } catch (error) {
    if (signal?.aborted) throw error;
    listeners.reachable(false);
    const message = "The server cannot be reached. Nothing that you typed is lost: try again when it is back.";
    throw new ApiError(0, message);
  }
}

function refused(status, message) {
  if (status === 401) listeners.signedOut();
  return new ApiError(status, message ?? `The server answered ${status}.`);
}

/** Whether an error is only that the request was given up by this page. */
export function isAborted(error) {
  return error?.name === "AbortError";
}

// The paths, each written once.

const part = encodeURIComponent;

export const paths = {
  tokens: () => "/tokens",
  token: (id) => `/tokens/${part(id)}`,
  applications: () => "/applications",
  application: (app) => `/applications/${part(app)}`,
  webhooks: (app) => `/applications/${part(app)}/webhooks`,
  webhook: (app, id) => `/applications/${part(app)}/webhooks/${part(id)}`,
  usage: (app) => `/applications/${part(app)}/webhooks/usage`,
  requests: (app, id) => `/applications/${part(app)}/webhooks/${part(id)}/requests`,
  request: (app, id, request) => `/applications/${part(app)}/webhooks/${part(id)}/requests/${part(request)}`,
  replay: (app, id, request) => `/applications/${part(app)}/webhooks/${part(id)}/requests/${part(request)}/replay`,
  replays: (app, id) => `/applications/${part(app)}/webhooks/${part(id)}/requests/replay`,
  connection: (app, id, connection) => `/applications/${part(app)}/webhooks/${part(id)}/connections/${part(connection)}`,
  rotate: (app, id) => `/applications/${part(app)}/webhooks/${part(id)}/token`,
  test: (app, id) => `/applications/${part(app)}/webhooks/${part(id)}/test`,
  flows: (app) => `/applications/${part(app)}/flows`,
  flow: (app, id) => `/applications/${part(app)}/flows/${part(id)}`,
  deadLetters: (app, id) => `/applications/${part(app)}/flows/${part(id)}/deadLetters`,
};

/** The flows that a webhook triggers: the first page, and how many there are in all. */
export function flowsOf(app, webhook, perPage = 100) {
  const query = { "triggerFilter[0][type]": "webhook", "triggerFilter[0][key]": webhook, perPage };
  return ask(paths.flows(app), { query });
}

let known = null;

/** What the server tells of its settings; asked for once. */
export async function settings() {
  known ??= await ask("/settings");
  return known;
}

/** A webhook's URL; null where the ingress has none (a Unix socket). */
export function urlOf(webhook, about) {
  if (about.ingressUrl === null) return null;
  const url = `${about.ingressUrl}/webhooks/${webhook.token}`;
  return webhook.isWebsocket ? url.replace(/^http/, "ws") : url;
}

let senders = null;

/** The presets of known senders; asked for once. */
export async function presets() {
  senders ??= (await ask("/presets")).items;
  return senders;
}

/** Forgets what was asked once: the server may be another one now. */
export function forgetSettings() {
  known = null;
  senders = null;
}
