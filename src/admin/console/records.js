// The calls of a webhook: a list that follows them as they come, narrowed as one likes, and beside it the one that is chosen.

import { ask, flowsOf, paths } from "./api.js";
import { snippets } from "./calls.js";
import { h, put } from "./dom.js";
import { recordDetail, status } from "./record_detail.js";
import { followRecords, replayProgress, replaySeveral, ROWS_MAX, SPANS } from "./records_state.js";
import { figureRow } from "./recent.js";
import { every, setQuery } from "./router.js";
import { agoTime } from "./time.js";
import { announce, badge, button, bytes, code, dialog, duration, empty, notice, number, select, silentNodes } from "./ui.js";

/** How often what came is drawn: a flood of calls must not be a flood of drawing. */
const DRAW_MS = 200;
/** Pause after a key before the search is made. */
const SEARCH_MS = 300;
/** How often the progress of a replay is asked for. */
const PROGRESS_MS = 500;
/** How often the figures are looked at. */
const FIGURES_MS = 2_000;
/** Flows whose names are known. */
const FLOWS_NAMED = 1_000;

const STATUSES = [["", "Any status"], ["2xx", "2xx"], ["3xx", "3xx"], ["4xx", "4xx"], ["5xx", "5xx"], ["4xx,5xx", "4xx and 5xx"]];
const METHODS = [["", "Any method"], ...["POST", "GET", "PUT", "PATCH", "DELETE"].map((method) => [method, method])];

export async function recordsPanel({ app, webhook, url, panel, signal, query }) {
  const filters = { search: query.get("search") ?? "", status: query.get("status") ?? "", method: query.get("method") ?? "", seconds: query.get("seconds") ?? "" };
  let chosen = query.get("call");
  let marked = new Set();
  let flows = new Map();
  let isStale = false;
  let isLoaded = false;

  const list = h("ul", { class: "calls", "aria-label": "Calls" });
  const around = h("div", { class: "calls-box" });
  const detail = h("section", { class: "card call-detail", "aria-label": "The call that is chosen" });
  const columns = h("div", { class: "calls-columns" }, around, detail);
  const state = h("span", { class: "badge", role: "status" }, "connecting…");
  const notes = h("span", { class: "quiet", role: "status" });
  const search = h("input", { type: "search", placeholder: "Search path, headers, body, id", "aria-label": "Search in path, headers, body and request id", value: filters.search });
  const choice = (name, options, label) => {
    const made = select(options, filters[name], { "aria-label": label, onchange: () => narrow({ [name]: made.value }) });
    return made;
  };
  const pause = button("Pause", () => {
    records.pause(!records.isPaused);
    pause.textContent = records.isPaused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(records.isPaused));
  }, { "aria-pressed": "false" });
  const again = button("Replay…", () => replayDialog(), {});

  const records = followRecords({
    app, webhook, signal, filters: () => filters,
    told: {
      rows: () => { isLoaded = true; later(); },
      state: (text, look) => {
        put(state, text);
        state.className = `badge ${look}`;
      },
      error: (error) => put(around, h("p", { class: "error", role: "alert" }, error.message), button("Try again", () => records.restart())),
    },
  });

  const narrow = (change) => {
    Object.assign(filters, change);
    address();
    isLoaded = false;
    marked = new Set();
    records.restart();
    draw();
  };
  const address = () => setQuery({ ...filters, call: chosen ?? "" });
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => narrow({ search: search.value }), SEARCH_MS);
  });

  const later = () => {
    if (isStale) return;
    isStale = true;
    setTimeout(() => !signal.aborted && draw(), DRAW_MS);
  };
  const isNarrowed = () => Object.values(filters).some((value) => value !== "");
  const draw = () => {
    isStale = false;
    const told = [`${number(Math.max(records.totalCount, records.rows.length))} calls`];
    if (records.held > 0) told.push(`${number(records.held)} more came meanwhile`);
    if (records.skipped > 0) told.push(`${number(records.skipped)} were too many to keep`);
    told.push(...silentNodes(records.unreachable));
    notes.textContent = isLoaded ? told.join("; ") : "";
    again.disabled = records.rows.length === 0;
    put(again, marked.size > 0 ? `Replay ${number(marked.size)}…` : "Replay…");
    columns.classList.toggle("has-call", chosen !== null);
    if (!isLoaded) return put(around, h("p", { class: "quiet" }, "Looking…"));
    if (records.rows.length === 0) return put(around, isNarrowed() ? empty("No call fits.", button("Show all", () => clear())) : nothing());
    const focused = list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    put(list, records.rows.map(row));
    if (focused) list.querySelector(`li[data-id="${focused}"] .call`)?.focus({ preventScroll: true });
    if (list.parentNode !== around) put(around, list, older);
    older.hidden = records.rows.length >= ROWS_MAX || records.totalCount <= records.rows.length;
    return undefined;
  };
  const clear = () => {
    for (const one of panel.querySelectorAll(".toolbar select")) one.value = "";
    search.value = "";
    narrow({ search: "", status: "", method: "", seconds: "" });
  };
  const nothing = () => h("section", { class: "card" },
    h("h2", {}, "No calls yet"), h("p", { class: "quiet" }, "They appear here as they come. Call it like this:"),
    url === null ? null : snippets(webhook, url).slice(0, 1).map(([label, text]) => code(label, text)));
  const older = button("Show older calls", async () => {
    try {
      if (!(await records.older())) announce("There are no older calls.");
    } catch (error) {
      notice(error.message, "error");
    }
  }, { class: "older" });

  const row = (record) => {
    const mark = h("input", { type: "checkbox", checked: marked.has(record.id), "aria-label": `Mark ${record.method} ${record.path}`, onchange: () => {
      if (mark.checked) marked.add(record.id);
      else marked.delete(record.id);
      put(again, marked.size > 0 ? `Replay ${number(marked.size)}…` : "Replay…");
    } });
    const worst = worstFate(record);
    return h("li", { "data-id": record.id, class: record.id === chosen ? "chosen" : null },
      record.kind === "request" ? mark : h("span", {}),
      h("button", { type: "button", class: "call", "aria-pressed": String(record.id === chosen), onclick: () => choose(record.id) },
        h("span", { class: "method" }, record.kind === "request" ? record.method : record.kind),
        h("span", { class: "path" }, record.path || "/", record.replayOf ? h("span", { class: "quiet" }, " (replay)") : null),
        h("span", { class: "state" }, status(record), record.count > 1 ? h("span", { class: "quiet" }, ` ×${number(record.count)}`) : null),
        h("span", { class: "fate" }, worst ? badge(...worst) : record.refusal ? badge("refused", "warn") : h("span", { class: "quiet" }, record.flows.length === 0 ? "no flow" : record.flows.filter((one) => !one.nodeId).length === 1 ? "1 flow" : `${record.flows.filter((one) => !one.nodeId).length} flows`)),
        h("span", { class: "size quiet" }, `${bytes(record.bytes)}, ${duration(record.durationMs)}`),
        h("span", { class: "age quiet" }, agoTime(record.time))));
  };

  let turn = new AbortController();
  const pane = { now: "request" };
  const choose = (id) => {
    turn.abort();
    turn = new AbortController();
    chosen = id;
    address();
    draw();
    // A call that is chosen before another one has come is the one that stays.
    return recordDetail({ app, webhook, url, id, target: detail, flows, pane, signal: AbortSignal.any([signal, turn.signal]), open: choose, close: () => {
      const before = chosen;
      chosen = null;
      address();
      draw();
      put(detail, hint());
      list.querySelector(`li[data-id="${before}"] .call`)?.focus();
    } });
  };
  const hint = () => h("p", { class: "quiet" }, "Choose a call to see what was sent, what was made of it, and what was answered.");

  const replayDialog = async () => {
    const ids = [...marked];
    const many = ids.length > 0 ? ids.length : records.totalCount;
    const isSure = await dialog(`Replay ${number(many)} ${many === 1 ? "call" : "calls"}?`, (close) => [
      h("p", {}, ids.length > 0 ? "Those that are marked are sent again, byte for byte." : isNarrowed() ? "All that the filters find are sent again, byte for byte." : "All of them are sent again, byte for byte.", " Their flows run again."),
      h("p", { class: "help" }, "The oldest first, a hundred a second, at most 10,000."),
      h("div", { class: "actions end" }, button("Cancel", () => close(false), { autofocus: true }), button("Replay", () => close(true), { class: "primary" })),
    ]);
    if (!isSure) return;
    try {
      await replaySeveral(app, webhook.id, ids.length > 0 ? ids : null, { search: filters.search, status: filters.status, method: filters.method, since: filters.seconds ? String(Date.now() - Number(filters.seconds) * 1000) : "" });
      marked = new Set();
      await watch();
    } catch (error) {
      notice(error.message, "error");
    }
  };
  const progress = h("div", { class: "progress", hidden: true });
  const watch = async () => {
    for (;;) {
      const now = await replayProgress(app, webhook.id, signal);
      if (!now) return;
      progress.hidden = false;
      put(progress, h("progress", { max: now.total, value: now.replayed, "aria-label": "Calls that were sent again" }), ` ${number(now.replayed)} of ${number(now.total)} sent again${now.failed > 0 ? `, ${number(now.failed)} failed` : ""}`);
      if (!now.isRunning) {
        announce(progress.textContent);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS));
    }
  };

  const figures = h("div", {});
  every(FIGURES_MS, signal, async () => {
    try {
      const { items } = await ask(paths.usage(app), { query: { ids: webhook.id, recent: "true" }, signal });
      if (items.length > 0) put(figures, figureRow(items[0]));
    } catch {
      // The notice at the page's edge says that the server is away; the next turn asks again.
    }
  });
  put(panel, figures,
    h("div", { class: "toolbar" }, search, choice("status", STATUSES, "Status"), choice("method", METHODS, "Method"), choice("seconds", SPANS, "Time"), pause, again, state, notes),
    progress, columns);
  put(detail, hint());
  draw();
  records.restart();
  const found = await flowsOf(app, webhook.id, FLOWS_NAMED).catch(() => ({ items: [] }));
  flows = new Map(found.items.map((flow) => [flow.id, flow.name]));
  if (chosen) await choose(chosen);
}

/** The fate of a call that a person should look at. */
function worstFate(record) {
  const has = (fate) => record.flows.some((one) => one.fate === fate);
  if (has("dead")) return ["dead letter", "bad"];
  if (has("failed")) return ["failed", "bad"];
  if (has("retried")) return ["tried again", "warn"];
  if (has("waiting")) return ["waiting", "warn"];
  return null;
}
