// One call: what was sent, what was made of it, why, what became of it, and what was answered.

import { h, put } from "./dom.js";
import { pretty } from "./json.js";
import { jsonError } from "./json_error.js";
import { bodyView } from "./record_body.js";
import { recordOf, replay } from "./records_state.js";
import { go, link } from "./router.js";
import { drafts } from "./store.js";
import { testDraft } from "./test.js";
import { fullMoment } from "./time.js";
import { announce, badge, button, code, copy, duration, failure, notice, number } from "./ui.js";

/** Headers that a test request may not carry, or that the ingress sets. */
const OWN_HEADERS = ["connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for", "content-encoding"];
/** What stands for a credential that is not kept. */
const MASKED = "***";

/** How a fate is shown. */
const FATES = {
  ran: ["ran", "good"], delivered: ["delivered", "good"], waiting: ["waiting", "warn"], retried: ["failed, tried again", "warn"],
  dead: ["dead letter", "bad"], expired: ["nobody waited any more", "warn"], failed: ["failed", "bad"],
};

/**
 * Shows a call in `target`. `flows` names flows by id; `open(id)` shows another call; `close()` goes back to the list. `pane.now`
 * is the part of it that is shown, which stays when another call is chosen.
 */
export async function recordDetail({ app, webhook, url, id, target, flows, open, close, signal, pane }) {
  const again = () => recordDetail({ app, webhook, url, id, target, flows, open, close, signal, pane });
  let record;
  try {
    record = await recordOf(app, webhook.id, id, signal);
  } catch (error) {
    if (!signal.aborted) put(target, back(close), failure(error, again));
    return;
  }
  if (signal.aborted) return;
  const isMessage = record.kind === "message";
  const title = isMessage ? (record.direction === "out" ? "Message that was sent" : "Message that was received") : `${record.method ?? record.kind} ${record.path || "/"}`;
  const panel = h("div", { role: "tabpanel", tabindex: "0", id: "call-pane" });
  const panes = [["request", isMessage ? "Message" : "Request"], ["payload", "Payload"], ["flows", "What happened"], isMessage ? null : ["response", "Response"]].filter(Boolean);
  const bar = h("div", { class: "tabs small", role: "tablist", "aria-label": "Parts of the call" });
  const show = (name, isMove) => {
    pane.now = name;
    put(bar, panes.map(([key, text]) => h("button", {
      type: "button", role: "tab", id: `pane-${key}`, "aria-selected": String(key === name), "aria-controls": "call-pane", tabindex: key === name ? "0" : "-1", onclick: () => show(key, true),
    }, text)));
    panel.setAttribute("aria-labelledby", `pane-${name}`);
    put(panel, { request: () => requestPane(record), payload: () => payloadPane(record), flows: () => fatePane({ app, webhook, record, flows, open }), response: () => responsePane(record) }[name]());
    if (isMove) bar.querySelector("[aria-selected=true]").focus();
  };
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const place = panes.findIndex(([key]) => key === pane.now);
    show(panes[(place + step + panes.length) % panes.length][0], true);
  });
  put(target, back(close),
    h("div", { class: "heading" }, h("h2", {}, title), h("div", { class: "actions" }, status(record), record.count > 1 ? badge(`${number(record.count)} times`, "warn") : null)),
    h("p", { class: "quiet" }, h("time", { datetime: record.time }, fullMoment(record.time)), record.peer ? ` · from ${record.peer}` : "", record.durationMs === null ? "" : ` · took ${duration(record.durationMs)}`, record.requestId ? [" · id ", h("code", {}, record.requestId)] : null),
    record.kind === "request" ? actions({ app, webhook, url, record, open }) : null,
    bar, panel);
  show(panes.some(([key]) => key === pane.now) ? pane.now : "request", false);
}

function back(close) {
  return h("p", { class: "back" }, button("← All calls", close, { class: "linkish" }));
}

export function status(record) {
  if (record.status === null) return badge("waits", "warn");
  return h("span", { class: `status s${Math.floor(record.status / 100)}` }, String(record.status));
}

function actions({ app, webhook, url, record, open }) {
  const send = button("Replay", async () => {
    send.disabled = true;
    try {
      const answer = await replay(app, webhook.id, record.id);
      notice(`Sent again: it was answered ${answer.statusCode}.`);
      announce(`Answered ${answer.statusCode}`);
      if (answer.id) open(answer.id);
    } catch (error) {
      notice(error.message, "error");
    } finally {
      send.disabled = record.isReplayable === false;
    }
  }, { class: "small primary", disabled: record.isReplayable === false, title: record.isReplayable === false ? "A call that was refused for its credentials, or is not kept whole, is not sent again." : null });
  const isText = record.request?.body?.base64 === null || record.request?.body === null;
  const edit = button("Replay edited", () => {
    drafts.keep(testDraft(webhook), testOf(record));
    go(link(app, "webhooks", webhook.id, "test"));
  }, { class: "small", disabled: !isText || record.request?.body?.isWhole === false, title: isText ? "Fills the Test tab with this call" : "Its body is bytes, which cannot be edited here" });
  const curl = url === null ? null : button("Copy as curl", async () => {
    const done = await copy(curlOf(record, url));
    notice(done ? "The curl command is on the clipboard." : "The browser does not let this page copy.", done ? "ok" : "error");
  }, { class: "small" });
  return h("div", { class: "actions call-actions" }, send, edit, curl);
}

/** A record as the Test tab's draft. */
function testOf(record) {
  const { request } = record;
  const text = request.body?.text ?? "";
  const isJson = text !== "" && jsonError(text) === null;
  const headers = request.headers.filter(([name, value]) => !OWN_HEADERS.includes(name.toLowerCase()) && value !== MASKED);
  return { path: record.path === "/" ? "" : record.path, method: record.method, headers, body: isJson ? pretty(text) : text, isJson: isJson || text === "" };
}

/** The call as a command of a POSIX shell. */
function curlOf(record, url) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const { request } = record;
  const lines = [`curl -i -X ${record.method}`];
  for (const [name, value] of request.headers) {
    if (!["host", "content-length", "connection", "expect", "transfer-encoding"].includes(name.toLowerCase())) lines.push(`  -H ${quote(`${name}: ${value}`)}`);
  }
  const body = request.body;
  const isBytes = body && body.base64 !== null && body.base64 !== undefined;
  if (body && body.bytes > 0) lines.push(isBytes ? "  --data-binary @-" : `  --data-binary ${quote(body.text)}`);
  lines.push(`  ${quote(url + (record.path === "/" ? "" : record.path))}`);
  const command = lines.join(" \\\n");
  return isBytes && body.bytes > 0 ? `printf %s ${quote(body.base64)} | base64 -d | ${command}` : command;
}

function requestPane(record) {
  const query = record.path?.includes("?") ? [...new URLSearchParams(record.path.slice(record.path.indexOf("?") + 1))] : [];
  const { request } = record;
  if (!request) return h("p", { class: "quiet" }, "What was sent is not kept.");
  return [
    bodyView(record.kind === "message" ? "Message" : "Body", request.body),
    query.length > 0 ? pairs("Query", query) : null,
    request.headers?.length > 0 ? pairs(`Headers${request.version ? `, ${request.version}` : ""}`, request.headers) : null,
  ];
}

function pairs(label, entries) {
  return h("section", {}, h("h3", {}, label), h("dl", { class: "facts mono" }, entries.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value === "" ? h("span", { class: "quiet" }, "empty") : value)])));
}

function payloadPane(record) {
  if (record.payloadText === null) {
    return h("p", { class: "quiet" }, record.refusal ? "It was refused: no flow gets a payload of it." : "There is no payload of it: its body is over 64 KiB, or was not received whole.");
  }
  return code("Payload", pretty(record.payloadText));
}

/** What was decided, how long it took, and what became of it at each flow. */
function fatePane({ app, webhook, record, flows, open }) {
  const steps = record.steps ? [["Body received", record.steps.bodyMs], ["Checked", record.steps.verifyMs], ["Flows", record.steps.flowsMs], ["Waited for a reply", record.steps.waitMs]].filter(([, ms]) => ms !== null && ms !== undefined) : [];
  return [
    h("p", {}, record.refusal && record.kind !== "close" ? [badge("refused", "bad"), ` ${record.refusal}`] : record.kind === "close" ? `Closed with ${record.status}${record.refusal ? `: ${record.refusal}` : ""}` : [badge("taken", "good"), record.flows.length === 0 ? " No flow got it." : ""]),
    record.count > 1 ? h("p", { class: "quiet" }, `${number(record.count)} calls like this followed each other; the last at ${fullMoment(record.lastTime)}.`) : null,
    record.replayOf ? h("p", {}, "It is a replay of ", button("this call", () => open(record.replayOf), { class: "linkish" }), ".") : null,
    record.flows.length === 0 ? h("p", {}, h("a", { class: "button small", href: `${link(app, "flows", "new")}?webhook=${webhook.id}` }, "Add a flow"))
      : h("ul", { class: "fates" }, record.flows.map((one) => fate(app, webhook, record, one, flows))),
    steps.length === 0 ? null : h("section", {}, h("h3", {}, "How long it took"), h("dl", { class: "facts" }, steps.map(([name, ms]) => [h("dt", {}, name), h("dd", {}, duration(ms))]))),
  ];
}

function fate(app, webhook, record, one, flows) {
  const [text, look] = FATES[one.fate] ?? [one.fate, ""];
  const more = [one.attempts > 1 ? `${number(one.attempts)} attempts` : null, one.status === null || one.status === undefined ? null : `answered ${one.status}`, one.error].filter(Boolean).join(", ");
  return h("li", {},
    h("a", { href: `${link(app, "flows", one.flowId)}?webhook=${webhook.id}&call=${record.id}` }, flows.get(one.flowId) ?? "a flow that is gone"),
    one.nodeId ? h("span", { class: "quiet" }, ` · ${one.nodeId}`) : null, " ", badge(text, look), more ? h("span", { class: "quiet" }, ` ${more}`) : null,
    one.fate === "dead" ? [" ", h("a", { href: link(app, "flows", one.flowId, "dead") }, "dead letters")] : null);
}

function responsePane(record) {
  const { response } = record;
  if (!response) return h("p", { class: "quiet" }, record.status === null ? "It waits for its reply." : "There is no response of it.");
  return [h("p", {}, status(record), ` ${response.reason ?? ""}`), bodyView("Body", response.body), pairs("Headers", response.headers ?? [])];
}

