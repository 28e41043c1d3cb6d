// The live view: a webhook's last requests, and each further one as it comes.

import { askText, isAborted, paths, stream } from "./api.js";
import { h, put } from "./dom.js";
import { elements, pretty, textAt } from "./json.js";
import { go, link } from "./router.js";
import { drafts } from "./store.js";
import { events } from "./stream.js";
import { testDraft } from "./test.js";
import { fullMoment } from "./time.js";
import { announce, badge, button, bytes, code, duration, moment, number, select, table } from "./ui.js";

/** Requests that are kept and shown: the oldest go. */
const ROWS_MAX = 200;
/** How often what came is drawn: a flood of requests must not be a flood of drawing. */
const DRAW_MS = 200;
const RETRY_MS = 2_000;
const CLASSES = [["", "All statuses"], ["2", "2xx"], ["3", "3xx"], ["4", "4xx"], ["5", "5xx"], ["refused", "Refused"]];
/** Headers of a payload that a test request may not carry: the ingress sets them. */
const OWN_HEADERS = ["connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade", "x-forwarded-for", "content-encoding"];

export async function livePanel({ app, webhook, panel, signal }) {
  let rows = [];
  let held = [];
  // What the list told, as far as the stream has not told it again.
  let listed = [];
  let skipped = 0;
  let isPaused = false;
  let chosen = null;
  let isStale = false;

  const state = h("span", { class: "badge", role: "status" }, "connecting…");
  const left = h("span", { class: "quiet", role: "status" });
  const list = h("div", {});
  const detail = h("section", { class: "card" }, h("p", { class: "quiet" }, "Choose a request to see its payload."));
  const search = h("input", { type: "search", placeholder: "Filter by method, path or refusal", "aria-label": "Filter by method, path or refusal" });
  const kind = select(CLASSES, "", { "aria-label": "Status" });
  const pause = button("Pause", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) {
      add(held);
      held = [];
    }
    draw();
  }, { "aria-pressed": "false" });
  const clear = button("Clear", () => { rows = []; held = []; skipped = 0; chosen = null; draw(); });
  search.addEventListener("input", () => draw());
  kind.addEventListener("change", () => draw());

  const add = (more) => {
    rows = [...more.toReversed(), ...rows].slice(0, ROWS_MAX);
  };
  const fits = (request) => {
    const text = search.value.trim().toLowerCase();
    const said = `${request.method} ${request.path} ${request.refusal ?? ""}`.toLowerCase();
    if (text !== "" && !said.includes(text)) return false;
    if (kind.value === "refused") return request.refusal !== null;
    return kind.value === "" || Math.floor(request.status / 100) === Number(kind.value);
  };
  const draw = () => {
    isStale = false;
    const fitting = rows.filter(fits);
    const notes = [];
    if (isPaused && held.length > 0) notes.push(`${number(held.length)} more came meanwhile`);
    if (skipped > 0) notes.push(`${number(skipped)} were too many to show`);
    left.textContent = notes.join("; ");
    const focused = document.activeElement?.closest?.("tr")?.dataset.key;
    if (fitting.length === 0) {
      put(list, h("div", { class: "empty" }, h("p", {}, rows.length === 0
        ? "No requests yet. Call the webhook, or send one from the Test tab."
        : "No request fits the filter.")));
      return;
    }
    const head = ["Time", "Method", "Path", "Status", "Took", "Body"].map((text, index) => h("th", { scope: "col", class: index > 3 ? "right" : null }, text));
    put(list, table("Requests", head, h("tbody", {}, fitting.map(row))));
    if (focused) list.querySelector(`tr[data-key="${focused}"] button`)?.focus({ preventScroll: true });
  };
  const row = (request) => h("tr", { "data-key": request.key, class: request === chosen ? "chosen" : null },
    h("td", { class: "nowrap" }, moment(request.time)),
    h("td", {}, request.method),
    h("td", {}, button(request.path || "/", () => choose(request), { class: "linkish mono", "aria-label": `${request.method} ${request.path || "/"}, ${request.status}: show it` })),
    h("td", { class: "nowrap" }, h("span", { class: `status s${Math.floor(request.status / 100)}` }, String(request.status)), request.refusal ? [" ", badge(request.refusal, "warn")] : null),
    h("td", { class: "right nowrap" }, duration(request.durationMs)),
    h("td", { class: "right nowrap" }, bytes(request.bytes)));
  const choose = (request) => {
    chosen = request;
    draw();
    announce(`The payload of ${request.method} ${request.path || "/"} is shown behind the list.`);
    put(detail,
      h("div", { class: "heading" }, h("h2", {}, `${request.method} ${request.path || "/"}`),
        webhook.isWebsocket ? null : button("Send again", () => again(request), { class: "small" })),
      h("p", { class: "quiet" }, `${fullMoment(request.time)} · ${request.status} in ${duration(request.durationMs)}`,
        request.refusal ? ` · ${request.refusal}` : null),
      request.payload === null
        ? h("p", { class: "quiet" }, "There is no payload of it: no flow got one, nobody was looking at this webhook then, or it is over 64 KiB.")
        : code("Payload", pretty(request.text)));
  };
  const again = (request) => {
    const data = request.payload?.data ?? {};
    const headers = Object.entries(data.headers ?? {}).filter(([name]) => !OWN_HEADERS.includes(name));
    const isText = typeof data.body === "string";
    const body = data.body === null || data.body === undefined ? "" : isText ? data.body : pretty(textAt(request.text, "data", "body"));
    drafts.keep(testDraft(webhook), { path: request.path, method: request.method, headers, body, isJson: !isText });
    go(link(app, "webhooks", webhook.id, "test"));
  };

  // The payload's own text is kept: a parsed one may have lost digits.
  const read = (text) => ({ ...JSON.parse(text), text: textAt(text, "payload") });
  let counter = 0;
  const numbered = (request) => ({ ...request, key: String((counter += 1)) });
  const take = (request) => {
    // What came between the opening of the stream and the list is in both.
    if (takeEqual(listed, request)) return;
    if (isPaused) {
      held.push(numbered(request));
      if (held.length > ROWS_MAX) held.shift();
    } else add([numbered(request)]);
    later();
  };
  const later = () => {
    if (isStale) return;
    isStale = true;
    setTimeout(() => !signal.aborted && draw(), DRAW_MS);
  };
  const mark = (text, look) => {
    put(state, text);
    state.className = `badge ${look}`;
  };
  const follow = async () => {
    while (!signal.aborted) {
      try {
        const response = await stream(paths.requests(app, webhook.id), signal);
        // What came before the stream was open, or while it was lost, is in the list.
        const known = await askText(paths.requests(app, webhook.id), { signal });
        merge(elements(textAt(known.text, "items")).map(read));
        mark("live", "good");
        for await (const event of events(response.body)) {
          if (event.type === "skipped") skipped += Number(event.data);
          else take(read(event.data));
          later();
        }
        mark("ended, connecting again…", "warn");
      } catch (error) {
        if (isAborted(error) || signal.aborted) return;
        mark(error.status === 0 || !error.status ? "lost, connecting again…" : error.message, "bad");
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  const same = (one, other) => ["time", "method", "path", "status", "durationMs", "bytes"].every((name) => one[name] === other[name]);
  // Callers do the same again within a millisecond: each request stands for one of those that are equal.
  const takeEqual = (requests, request) => {
    const place = requests.findIndex((one) => same(one, request));
    if (place >= 0) requests.splice(place, 1);
    return place >= 0;
  };
  const merge = (items) => {
    const known = [...held, ...rows];
    const fresh = items.filter((item) => !takeEqual(known, item));
    listed = items;
    add(fresh.toReversed().map(numbered));
    rows.sort((one, other) => (one.time < other.time ? 1 : one.time > other.time ? -1 : 0));
    draw();
  };

  put(panel,
    h("div", { class: "toolbar" }, search, kind, pause, clear, state, left),
    h("div", { class: "columns live" }, list, detail));
  draw();
  follow();
}
