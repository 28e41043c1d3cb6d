// The overview: what the engine did in the last minutes, up to an hour, in all and on each core.

import { ApiError, ask, isAborted, settings } from "./api.js";
import { chart, latest } from "./chart.js";
import { h, put } from "./dom.js";
import { rankingsOf } from "./rankings.js";
import { every, setQuery } from "./router.js";
import { duration, heading, number, select, table } from "./ui.js";

const SPANS = [["300", "Last 5 minutes"], ["900", "Last 15 minutes"], ["3600", "Last hour"]];
const REFRESH_MS = 2_000;
/** How often the webhooks are ranked. */
const RANKINGS_MS = 10_000;

export async function overviewPage(view) {
  const { main, signal } = view;
  const about = await settings();
  let seconds = SPANS.some(([span]) => span === view.query.get("seconds")) ? view.query.get("seconds") : "300";
  const span = select(SPANS, seconds, { "aria-label": "Span", onchange: () => {
    seconds = span.value;
    setQuery({ seconds });
    load().catch(report);
  } });
  const tiles = h("div", { class: "tiles" });
  const said = h("p", { class: "error", role: "alert" });
  const cores = h("div", {});
  const rankings = h("div", { class: "columns" });
  const charts = {
    requests: chart({ title: "Requests a second", format: perSecond, tick: plainNumber, series: [{ name: "requests", colour: 1 }] }),
    status: chart({ title: "Responses a second, by status", format: perSecond, tick: plainNumber, kind: "stack", series: [
      { name: "2xx", colour: 1 }, { name: "3xx", colour: 4 }, { name: "4xx", colour: 2 }, { name: "5xx", colour: 3 }] }),
    latency: chart({ title: "Time to the response", format: duration, log: true, series: [
      { name: "p50", colour: 1 }, { name: "p99", colour: 2 }, { name: "p99.9", colour: 3 }] }),
    connections: chart({ title: "Open connections", format: whole, whole: true, series: [
      { name: "HTTP", colour: 1 }, { name: "WebSocket", colour: 2 }, { name: "workers", colour: 4 }] }),
    throttled: chart({ title: "Throttled calls a second", format: perSecond, tick: plainNumber, series: [
      { name: "rate", colour: 2 }, { name: "concurrency", colour: 3 }] }),
    waiting: chart({ title: "Requests that wait for a reply", format: whole, whole: true, series: [{ name: "waiting", colour: 4 }] }),
  };

  const load = async () => {
    const stats = await ask("/stats", { query: { seconds }, signal });
    said.textContent = "";
    const { times, total } = stats;
    const window = { seconds: Number(seconds), step: stats.stepSeconds };
    const rates = (counts) => counts.map((count, index) => count / stats.seconds[index]);
    charts.requests.draw(window, times, [rates(total.requests)]);
    charts.status.draw(window, times, ["2xx", "3xx", "4xx", "5xx"].map((name) => rates(total.status[name])));
    charts.latency.draw(window, times, [total.latencyMs.p50, total.latencyMs.p99, total.latencyMs.p999]);
    charts.connections.draw(window, times, [total.connections.http, total.connections.websocket, total.connections.worker]);
    charts.throttled.draw(window, times, [rates(total.throttled.rate), rates(total.throttled.concurrency)]);
    charts.waiting.draw(window, times, [total.waiting]);
    drawTiles(stats, rates);
    put(cores, h("h2", {}, "Cores"), coresTable(stats, rates));
  };
  const report = (error) => {
    if (!signal.aborted) put(said, error.message);
  };

  const drawTiles = (stats, rates) => {
    const { total } = stats;
    const sum = (column) => column.reduce((all, one) => all + one, 0);
    const refused = sum(total.status["5xx"]);
    const tile = (name, value) => h("div", { class: "tile" }, h("div", { class: "value" }, value), h("div", { class: "name" }, name));
    put(tiles,
      tile("requests a second", perSecond(last(rates(total.requests)))),
      tile("requests in this span", number(sum(total.requests))),
      tile("triggers in this span", number(sum(total.triggers))),
      tile("p99, latest", duration(latest(total.latencyMs.p99))),
      tile("5xx in this span", number(refused)),
      tile("throttled in this span", number(sum(total.throttled.rate) + sum(total.throttled.concurrency))));
  };

  put(main,
    heading("Overview", h("span", { class: "quiet" }, `Tidegate ${about.version}`), span),
    said, tiles, h("div", { class: "columns" }, Object.values(charts).map((one) => one.element)),
    rankings, h("section", { class: "card spaced" }, cores));
  await load();
  every(RANKINGS_MS, signal, async () => {
    try {
      put(rankings, await rankingsOf(view));
    } catch (error) {
      if (!(error instanceof ApiError) && !isAborted(error)) throw error;
    }
  });
  every(REFRESH_MS, signal, () => load().catch(report));
}

function coresTable(stats, rates) {
  const head = ["Core", "Requests/s", "2xx/s", "4xx/s", "5xx/s", "p50", "p99", "p99.9", "Connections", "Throttled/s"].map((text, index) =>
    h("th", { scope: "col", class: index > 0 ? "right" : null }, text));
  const cell = (text) => h("td", { class: "right nowrap" }, text);
  const now = (counts) => perSecond(last(rates(counts)));
  const rows = stats.cores.map((core, index) => h("tr", {},
    h("th", { scope: "row" }, String(index)),
    cell(now(core.requests)), cell(now(core.status["2xx"])), cell(now(core.status["4xx"])), cell(now(core.status["5xx"])),
    cell(duration(latest(core.latencyMs.p50))), cell(duration(latest(core.latencyMs.p99))), cell(duration(latest(core.latencyMs.p999))),
    cell(number(last(core.connections.http) + last(core.connections.websocket) + last(core.connections.worker))),
    cell(perSecond(last(rates(core.throttled.rate)) + last(rates(core.throttled.concurrency))))));
  return table("Cores", head, h("tbody", {}, rows), "cores");
}

function last(column) {
  return column.length > 0 ? column[column.length - 1] : 0;
}

function perSecond(value) {
  if (value === null) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : number(Math.round(value));
}

/** A round number with the digits that it has. */
function plainNumber(value) {
  return value < 10_000 ? String(value) : number(value);
}

function whole(value) {
  return value === null ? "–" : number(value);
}
