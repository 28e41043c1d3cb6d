// The call over which a flow is previewed and tried: one that came to its webhooks, or one that is made up.

import { askText, isAborted, paths } from "./api.js";
import { h, put } from "./dom.js";
import { elements, jsonField, pretty, textAt } from "./json.js";
import { drafts } from "./store.js";
import { field, moment, select } from "./ui.js";

/** Calls of a webhook, and webhooks, that are offered. */
const CALLS_OFFERED = 10;
const WEBHOOKS_ASKED = 5;

const MADE_UP = {
  time: "2026-02-19T17:26:00.123Z",
  data: {
    method: "post", path: "/transition/up", headers: { "content-type": "application/json" }, query: { location: "52" },
    body: { value: 30, name: "pump" }, replyId: "…",
  },
};
const MADE_UP_MESSAGE = {
  time: "2026-02-19T17:26:00.123Z",
  data: { type: "message", path: "/", headers: {}, query: {}, message: { data: "hello", length: 5 }, replyId: "…" },
};

/**
 * The choice of a call. `webhooks()` gives the flow's webhooks as `{id, name, isWebsocket}`; `changed()` is told of another
 * payload. `text()` is the payload's JSON, null while it is none; `webhook()` the id of the webhook that was called. The
 * address may name a call: `?webhook=…&call=…`.
 */
export function sampleChoice({ app, application, name, query, webhooks, changed, signal }) {
  const globals = Object.fromEntries((application?.globals ?? []).map((global) => [global.key, parsed(global.json)]));
  const kept = drafts.read(name);
  let calls = [];
  let from = kept?.webhook ?? null;
  const choice = select([["", "A call that is made up"]], "");
  const madeUp = () => JSON.stringify({ ...(webhooks()[0]?.isWebsocket ? MADE_UP_MESSAGE : MADE_UP), globals }, null, 2);
  const area = jsonField("Payload", kept?.text ?? madeUp(), { rows: 14, help: "Change it to see what other calls would do.", oninput: () => {
    choice.value = "own";
    keep();
    changed();
  } });
  const chosen = field("Over the payload of", choice, null);
  const keep = () => drafts.keep(name, { text: area.control.value, webhook: from });
  const put1 = (text, webhook) => {
    area.control.value = text;
    from = webhook;
    area.check();
    keep();
    changed();
  };
  choice.addEventListener("change", () => {
    const call = calls[Number(choice.value)];
    if (choice.value === "") put1(madeUp(), null);
    else if (call) put1(pretty(call.text), call.webhook);
  });
  const offer = () => {
    const value = kept && choice.value === "" && area.control.value !== madeUp() ? "own" : choice.value;
    put(choice, h("option", { value: "" }, "A call that is made up"), h("option", { value: "own", hidden: value !== "own" }, "What is written below"),
      calls.map((call, index) => h("option", { value: String(index) }, call.label)));
    choice.value = value;
  };
  /** Looks for calls that came lately; the last of them is taken unless something else was chosen. */
  const load = async () => {
    const asked = webhooks().slice(0, WEBHOOKS_ASKED);
    const found = await Promise.all(asked.map((webhook) => callsOf(app, webhook, signal, webhooks().length > 1)));
    if (signal.aborted) return;
    calls = found.flat();
    const named = await namedCall(app, query, signal);
    if (named) calls = [named, ...calls.filter((call) => call.id !== named.id)];
    offer();
    if (named) {
      choice.value = "0";
      put1(pretty(named.text), named.webhook);
    } else if (calls.length > 0 && kept === null && choice.value === "") {
      choice.value = "0";
      put1(pretty(calls[0].text), calls[0].webhook);
    }
  };
  offer();
  area.check();
  return {
    element: h("div", {}, chosen.element, h("details", { class: "more" }, h("summary", {}, "The payload itself"), area.element)),
    text: () => (area.check() ? area.control.value : null),
    webhook: () => from,
    load,
  };
}

async function callsOf(app, webhook, signal, isNamed) {
  try {
    const { text } = await askText(paths.requests(app, webhook.id), { signal });
    return elements(textAt(text, "items")).filter((item) => textAt(item, "payload") !== "null").slice(0, CALLS_OFFERED).map((item) => {
      const call = JSON.parse(item);
      return { id: call.id, text: textAt(item, "payload"), webhook: webhook.id, label: `${moment(call.time)}  ${call.method} ${call.path || "/"}${isNamed ? ` (${webhook.name})` : ""}` };
    });
  } catch (error) {
    if (!isAborted(error) && error.status === undefined) throw error;
    // Calls are a help: without them there is the one that is made up.
    return [];
  }
}

/** The call that the address names; null for none, or one without a payload. */
async function namedCall(app, query, signal) {
  const [webhook, id] = [query.get("webhook"), query.get("call")];
  if (!webhook || !id) return null;
  try {
    const { json, text } = await askText(paths.request(app, webhook, id), { signal });
    const payload = textAt(text, "payload");
    return payload === null || payload === "null" ? null : { id, text: payload, webhook, label: `${moment(json.time)}  ${json.method} ${json.path || "/"}` };
  } catch (error) {
    if (isAborted(error)) throw error;
    return null;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
