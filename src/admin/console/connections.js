// The connections of a WebSocket webhook: a row for each, and its messages of both directions inside.

import { ask, isAborted, paths } from "./api.js";
import { snippets } from "./calls.js";
import { h, put } from "./dom.js";
import { followRecords, recordOf } from "./records_state.js";
import { setQuery } from "./router.js";
import { agoTime, clock } from "./time.js";
import { badge, bytes, button, code, empty, failure, field, notice, number } from "./ui.js";

const DRAW_MS = 200;
/** A list whose end is so near is kept at its end. */
const NEAR_END_PX = 40;
/** Characters of a message that are shown. */
const SHOWN_CHARACTERS_MAX = 10_000;

export async function connectionsPanel({ app, webhook, url, panel, signal, query }) {
  let chosen = query.get("connection");
  let turn = new AbortController();
  let isStale = false;
  const around = h("div", { class: "calls-box" });
  const detail = h("section", { class: "card call-detail", "aria-label": "The connection that is chosen" });
  const columns = h("div", { class: "calls-columns" }, around, detail);
  const state = h("span", { class: "badge", role: "status" }, "connecting…");
  const records = followRecords({
    app, webhook, signal, filters: () => ({}),
    told: {
      rows: () => later(),
      state: (text, look) => {
        put(state, text);
        state.className = `badge ${look}`;
      },
      error: (error) => put(around, failure(error, () => records.restart())),
    },
  });
  const later = () => {
    if (isStale) return;
    isStale = true;
    setTimeout(() => !signal.aborted && draw(), DRAW_MS);
  };
  const draw = () => {
    isStale = false;
    columns.classList.toggle("has-call", chosen !== null);
    const all = connections(records.rows);
    if (all.length === 0) {
      return put(around, h("section", { class: "card" }, h("h2", {}, "No connections yet"), h("p", { class: "quiet" }, "They appear here as they come. Connect like this, or on the Test tab:"),
        url === null ? null : snippets(webhook, url).slice(0, 1).map(([label, text]) => code(label, text))));
    }
    return put(around, h("ul", { class: "calls connections", "aria-label": "Connections" }, all.map(row)));
  };
  const row = (one) => h("li", { "data-id": one.id, class: nameOf(one) === chosen ? "chosen" : null }, h("span", {}),
    h("button", { type: "button", class: "call", "aria-pressed": String(nameOf(one) === chosen), onclick: () => choose(one) },
      h("span", { class: "method" }, "connect"), h("span", { class: "path" }, one.path || "/"),
      h("span", { class: "state" }, stateOf(one)), h("span", { class: "fate quiet" }, one.peer ?? ""),
      h("span", { class: "size quiet" }, one.connectionId === null ? "" : one.messages === 1 ? "1 message" : `${number(one.messages)} messages`),
      h("span", { class: "age quiet" }, agoTime(one.time))));
  const choose = (one) => {
    turn.abort();
    turn = new AbortController();
    chosen = nameOf(one);
    setQuery({ connection: one.connectionId ?? "" });
    draw();
    const close = () => {
      turn.abort();
      chosen = null;
      setQuery({});
      draw();
      put(detail, hint());
    };
    if (one.connectionId === null) put(detail, head(close, h("h2", {}, one.path || "/"), stateOf(one)), h("p", {}, one.refusal ?? ""));
    else talk({ app, webhook, one, target: detail, signal: AbortSignal.any([signal, turn.signal]), close });
  };
  const hint = () => empty("Choose a connection to see its messages.");
  put(panel, h("div", { class: "toolbar" }, state), columns);
  put(detail, hint());
  records.restart();
  // What the address names may be none of the first that are listed.
  if (chosen !== null) choose({ connectionId: chosen, path: null, refusal: null });
}

/** The name by which a row is known: a handshake that was refused is of no connection. */
const nameOf = (one) => one.connectionId ?? one.id;

function head(close, title, ...more) {
  return [h("p", { class: "back" }, button("← All connections", close, { class: "linkish" })),
    h("div", { class: "heading" }, title, h("div", { class: "actions" }, more))];
}

/**
 * The connections that records tell of, the newest first: `end` is the record of a close, `messages` how many are kept. The record
 * of a handshake may be gone where many messages followed it: the connection is seen by what is left.
 */
function connections(rows) {
  const known = new Map();
  for (const record of rows) {
    const name = nameOf(record);
    const one = known.get(name) ?? { end: null, messages: 0 };
    if (record.kind === "connect" || one.id === undefined) Object.assign(one, record);
    if (record.kind === "close") one.end = record;
    if (record.kind === "message") one.messages += 1;
    known.set(name, one);
  }
  return [...known.values()];
}

function stateOf(one) {
  if (one.refusal) return badge("refused", "bad");
  return one.end ? badge(`closed ${one.end.status ?? ""}`, "off") : badge("open", "good");
}

/** The messages of a connection, as they come. */
function talk({ app, webhook, one, target, signal, close }) {
  const list = h("ol", { class: "talk", "aria-label": "Messages", tabindex: "0" });
  const count = h("span", { class: "quiet", role: "status" });
  const texts = new Map();
  let isStale = false;
  const records = followRecords({
    app, webhook, signal, filters: () => ({ connection: one.connectionId }),
    told: {
      rows: () => {
        if (isStale) return;
        isStale = true;
        setTimeout(() => !signal.aborted && draw(), DRAW_MS);
      },
      state: () => {},
      error: (error) => put(list, h("li", { class: "error" }, error.message)),
    },
  });
  const title = h("h2", {}, one.path ?? "Connection");
  const { form, setOpen } = sendForm({ app, webhook, one });
  const draw = () => {
    isStale = false;
    const all = records.rows.toReversed();
    if (all.length > 0) title.textContent = all[0].path || "/";
    setOpen(all.length > 0 && !all.some((record) => record.kind === "close"));
    count.textContent = `${number(all.filter((record) => record.kind === "message").length)} messages`;
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - NEAR_END_PX;
    put(list, all.map(line));
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  };
  const line = (record) => {
    const isOut = record.direction === "out";
    const [kind, sign, name] = record.kind === "message" ? (isOut ? ["out", "→", "sent to the client"] : ["in", "←", "received"]) : ["about", "·", "connection"];
    const text = h("span", {});
    if (record.kind !== "message") text.textContent = record.kind === "connect" ? "connected" : `closed with ${record.status}${record.refusal ? `: ${record.refusal}` : ""}`;
    else fillText(record, text);
    return h("li", { class: kind }, h("span", { role: "img", "aria-label": name }, sign), h("span", { class: "quiet" }, clock(Date.parse(record.time))), text);
  };
  /** A message's text is in its record, which does not change: it is asked for once. */
  const fillText = (record, text) => {
    if (!texts.has(record.id)) texts.set(record.id, recordOf(app, webhook.id, record.id, signal).then(({ request }) => messageText(request?.body, record)));
    texts.get(record.id).then((value) => put(text, value), (error) => !isAborted(error) && put(text, h("span", { class: "error" }, error.message)));
  };
  put(target, head(close, title, count), list, form);
  records.restart();
}

/** Fields that send a message on a connection, or close it. They are there while it is open. */
function sendForm({ app, webhook, one }) {
  const give = async (control, body, said) => {
    control.disabled = true;
    try {
      const { accepted } = await ask(paths.connection(app, webhook.id, one.connectionId), { method: "POST", body });
      notice(accepted ? said : "The connection has ended meanwhile.", accepted ? "ok" : "error");
      return accepted;
    } catch (error) {
      notice(error.message, "error");
      return false;
    } finally {
      control.disabled = false;
    }
  };
  const message = field("Message", h("textarea", { class: "mono", rows: 3, spellcheck: "false" }), "Sent to the client as a text message. Ctrl+Enter sends it.");
  const send = h("button", { type: "submit", class: "primary" }, "Send");
  const code = field("Close code", h("input", { type: "number", min: 1000, max: 4999, value: "1000" }), "1000, or 3000 to 4999 for a meaning of your own.");
  const reason = field("Reason", h("input", { maxlength: 123, autocomplete: "off" }), "At most 123 bytes.");
  const end = button("Close the connection", () => give(end, { close: { code: Number(code.control.value), reason: reason.control.value } }, "The connection is being closed."), { class: "danger" });
  const form = h("form", { class: "talk-form", hidden: true, onsubmit: async (event) => {
    event.preventDefault();
    if (await give(send, { body: message.control.value }, "The message is sent.")) message.control.value = "";
  } }, message.element, h("div", { class: "actions end" }, send),
  h("details", {}, h("summary", {}, "Close it…"), h("div", { class: "fields" }, code.element, reason.element), h("div", { class: "actions end" }, end)));
  message.control.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return { form, setOpen: (isOpen) => { form.hidden = !isOpen; } };
}

function messageText(body, record) {
  if (!body) return `${bytes(record.bytes)}, which are not kept`;
  const text = body.text ?? `base64: ${body.base64}`;
  return text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
}
