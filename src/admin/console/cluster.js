// The cluster: its nodes, what each has behind it, keeps and holds, and who took over what another one left.

import { ApiError, ask, isAborted } from "./api.js";
import { h, put } from "./dom.js";
import { every } from "./router.js";
import { agoTime, momentTime } from "./time.js";
import { badge, bytes, duration, heading, number, table } from "./ui.js";

const REFRESH_MS = 2_000;
/** Each state of a node: how it looks. */
const STATES = { serving: "good", draining: "warn", left: "", dead: "bad" };
/** What a server of NATS does with what it acks: in words, and how that looks. */
const SYNCS = {
  always: ["synced before it is acked", "good"], later: ["acked before it is synced", "bad"], outdated: ["its version can lose what it has acked", "bad"],
  nothing: ["holds nothing", ""], unknown: ["does not tell", "warn"],
};

export async function clusterPage(view) {
  const { main, signal } = view;
  const box = h("div", {});
  const said = h("p", { class: "error", role: "alert" });
  const load = async () => {
    const cluster = await ask("/cluster", { query: { all: "true" }, signal });
    put(said);
    put(box, shown(cluster));
  };
  put(main, heading("Cluster"), said, box);
  await load();
  every(REFRESH_MS, signal, () => load().catch((error) => {
    if (isAborted(error)) return;
    if (!(error instanceof ApiError)) throw error;
    put(said, error.message);
  }));
}

function shown(cluster) {
  const names = new Map(cluster.nodes.map((node) => [node.id, node.name]));
  const name = (id) => `${names.get(id) ?? ""} ${id}`.trim();
  const ended = cluster.nodes.filter((node) => !isThere(node));
  return [
    h("p", { class: "help spaced" }, `“${cluster.name}”, as the node ${cluster.node} sees it.`),
    cluster.model.failure === null ? null : h("p", { class: "error" }, cluster.model.failure),
    table("Nodes", headOf(["Node", "State", "Ready", "Model", "Journal", "Limits", "Taken over"]), h("tbody", {}, cluster.nodes.filter(isThere).map(nodeRow)), "cards"),
    ended.length === 0 ? null : [
      h("h2", { class: "spaced" }, "Nodes that have ended"),
      table("Nodes that have ended", headOf(["Node", "State", "Since", "Taken over by"]), h("tbody", {}, ended.map((node) => h("tr", {},
        nodeHead(node),
        h("td", { "data-label": "State" }, badge(node.state, STATES[node.state])),
        h("td", { class: "nowrap", "data-label": "Since" }, momentTime(node.since)),
        h("td", { "data-label": "Taken over by" }, node.adoptedBy === null ? "nobody yet" : name(node.adoptedBy))))), "cards"),
    ],
    h("h2", { class: "spaced" }, "NATS"),
    cluster.monitor === null
      ? h("p", { class: "help" }, "It is not known whether NATS syncs what it acks: the setting cluster.monitor would say where it tells.")
      : table("Servers of NATS", headOf(["Server", "What it promises"]), h("tbody", {}, cluster.monitor.map((server) => h("tr", {},
        h("th", { scope: "row" }, server.url),
        h("td", { "data-label": "What it promises" }, badge(...(SYNCS[server.syncs] ?? [server.syncs, "warn"])))))), "cards"),
  ];
}

const isThere = (node) => node.state === "serving" || node.state === "draining";

const headOf = (texts) => texts.map((text) => h("th", { scope: "col" }, text));

const nodeHead = (node) => h("th", { scope: "row" }, node.name || "a node", h("div", { class: "quiet" }, `${node.id}${node.self ? ", this node" : ""}`));

/** A node that is there, with what it told of itself. */
function nodeRow(node) {
  const cell = (label, ...content) => h("td", { "data-label": label }, content);
  const state = cell("State", badge(node.state, STATES[node.state]), h("div", { class: "quiet" }, `${node.version}, since `, agoTime(node.since)));
  const own = node.status;
  if (own === null) return h("tr", {}, nodeHead(node), state, cell("Ready", badge("does not answer", "bad")), ["Model", "Journal", "Limits", "Taken over"].map((label) => cell(label, "–")));
  const { model, journal, rates, adoptions } = own;
  const wait = rates.waitSeconds.p99 * 1000;
  return h("tr", {}, nodeHead(node), state,
    cell("Ready", own.ready ? badge("ready", "good") : badge(own.connected ? "not ready" : "cut off from NATS", "bad")),
    cell("Model", model.behind > 0 ? badge(`${number(model.behind)} changes behind`, "warn") : "up to date"),
    cell("Journal", journal.isWritable ? `${number(journal.openTriggers)} open, ${bytes(journal.openBytes)}` : badge("takes nothing", "bad"),
      journal.oldest === null ? null : h("div", { class: "quiet" }, "the oldest ", agoTime(journal.oldest))),
    cell("Limits", `${number(rates.tokens)} tokens of ${number(rates.webhooks)} webhooks`, wait > 0 ? h("div", { class: "quiet" }, `waits for one, p99 ${duration(wait)}`) : null),
    cell("Taken over", `${number(adoptions.triggers)} triggers`, adoptions.unreadable > 0 ? [" ", badge(`${number(adoptions.unreadable)} unreadable`, "bad")] : null));
}
