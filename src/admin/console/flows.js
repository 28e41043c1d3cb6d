// Flows: the list, and one flow with its picture, its JSON and its dead letters.

import { ask, askText, paths } from "./api.js";
import { h, put } from "./dom.js";
import { flowEditor } from "./flow_editor.js";
import { typeName } from "./flow_graph.js";
import { pretty, textAt } from "./json.js";
import { go, link, setQuery } from "./router.js";
import { drafts } from "./store.js";
import { announce, badge, button, code, dialog, empty, failure, heading, moment, NAMES, notice, number, pager, silentNodes, table, tabs } from "./ui.js";
import { offerToWait, waitButtons, warningList } from "./warnings.js";

const PER_PAGE = 50;
const LETTERS_PER_PAGE = 20;
const SEARCH_MS = 250;
/** Why a delivery was given up. */
const REASONS = {
  attempts: "every attempt failed", retention: "it failed until its retention ended", gone: "the target answered 410",
  loop: "its requests go in a circle", request: "its request cannot be made",
};

export async function flowsPage(view) {
  const { app, main, signal } = view;
  if (!app) {
    put(main, heading("Flows"), empty("A flow belongs to an application, and there is none yet.",
      h("a", { class: "button primary", href: "#/applications" }, "Add an application")));
    return;
  }
  const state = { page: Number.parseInt(view.query.get("page") ?? "0", 10) || 0, search: view.query.get("search") ?? "" };
  const body = h("div", {});
  const search = h("input", { type: "search", placeholder: "Search by name", "aria-label": "Search by name", value: state.search });
  let asked = 0;
  const load = async () => {
    const turn = ++asked;
    setQuery({ page: state.page || "", search: state.search });
    const filter = state.search.trim() === "" ? "" : `*${state.search.trim().replace(/[\\*?]/g, "\\$&")}*`;
    const list = await ask(paths.flows(app), { query: { page: state.page, perPage: PER_PAGE, filterField: filter && "name", filter }, signal });
    if (turn !== asked) return;
    draw(list);
    announce(list.totalCount === 1 ? "1 flow" : `${list.totalCount} flows`);
  };
  const report = (error) => {
    if (!signal.aborted) put(body, failure(error, () => load().catch(report)));
  };
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      Object.assign(state, { search: search.value, page: 0 });
      load().catch(report);
    }, SEARCH_MS);
  });
  const draw = (list) => {
    if (list.totalCount === 0) {
      put(body, empty(state.search ? `No flow's name contains “${state.search}”.`
        : "No flows yet. A flow says what happens when a webhook is called: reply from a template, forward, hand to a worker.",
        state.search ? null : h("a", { class: "button primary", href: link(app, "flows", "new") }, "Add Flow")));
      return;
    }
    const head = ["Name", "State", "Triggers", "Nodes", "Changed", ""].map((text) => h("th", { scope: "col" }, text || h("span", { class: "hidden" }, "Actions")));
    put(body, table("Flows", head, h("tbody", {}, list.items.toSorted((one, other) => NAMES.compare(one.name, other.name)).map(row)), "cards"),
      pager(list, (page) => {
        state.page = page;
        load().catch(report);
      }));
  };
  const row = (flow) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: link(app, "flows", flow.id) }, flow.name),
      flow.description ? h("div", { class: "quiet clip" }, flow.description) : null),
    h("td", { "data-label": "State" }, flow.enabled ? badge("enabled", "good") : badge("disabled", "off")),
    h("td", { class: "nowrap", "data-label": "Triggers" }, flow.triggers.length === 0 ? h("span", { class: "quiet" }, "none") : flow.triggers.length === 1 ? "1 trigger" : `${flow.triggers.length} triggers`),
    h("td", { "data-label": "Nodes" }, kinds(flow)),
    h("td", { class: "nowrap", "data-label": "Changed" }, moment(flow.lastUpdated)),
    h("td", { class: "right nowrap" }, button("Delete", async () => {
      if (await confirmDelete(app, flow)) load().catch(report);
    }, { class: "small danger", "aria-label": `Delete ${flow.name}` })));
  put(main,
    heading("Flows", h("a", { class: "button primary", href: link(app, "flows", "new") }, "Add Flow")),
    h("div", { class: "toolbar" }, search), body);
  await load();
}

/** The types of a flow's nodes, each with how often it is there. */
function kinds(flow) {
  const counts = new Map();
  for (const node of flow.nodes) counts.set(node.type, (counts.get(node.type) ?? 0) + 1);
  return [...counts].map(([type, count]) => (count > 1 ? `${typeName(type)} ×${count}` : typeName(type))).join(", ") || h("span", { class: "quiet" }, "none");
}

function confirmDelete(app, flow) {
  return dialog(`Delete “${flow.name}”?`, (close) => {
    const said = h("p", { class: "error", role: "alert" });
    const confirm = button("Delete", async () => {
      try {
        await ask(paths.flow(app, flow.id), { method: "DELETE" });
        notice(`“${flow.name}” is deleted.`);
        close(true);
      } catch (error) {
        put(said, error.message);
      }
    }, { class: "danger" });
    return [h("p", {}, "Its webhooks stay; what calls them triggers their other flows only."), said,
      h("div", { class: "actions end" }, button("Cancel", () => close(false), { autofocus: true }), confirm)];
  });
}

export async function flowPage(view) {
  const [id, tab = "edit"] = view.parts;
  if (id === "new") return newFlowPage(view);
  const { app, main } = view;
  const panel = h("div", {});
  const flow = await ask(paths.flow(app, id), { signal: view.signal });
  const toggle = button(flow.enabled ? "Disable" : "Enable", async () => {
    try {
      await ask(paths.flow(app, id), { method: "PATCH", body: { enabled: !flow.enabled } });
      await flowPage(view);
    } catch (error) {
      notice(error.message, "error");
    }
  });
  const erase = button("Delete", async () => {
    if (await confirmDelete(app, flow)) go(link(app, "flows"));
  }, { class: "danger" });
  const name = `flow.${flow.id}`;
  put(main, crumbs(app),
    heading(flow.name, flow.enabled ? badge("enabled", "good") : badge("disabled", "off"), toggle, erase),
    warningList(flow, await waitButtons(app, flow, view.signal, () => flowPage(view))),
    tabs("Flow", [["edit", "Picture", link(app, "flows", id, "edit")], ["json", "JSON", link(app, "flows", id, "json")], ["dead", "Dead letters", link(app, "flows", id, "dead")]], tab),
    panel);
  if (tab === "dead") return deadLetters(view, flow, panel);
  return flowEditor({
    view, flow, name, tab: tab === "json" ? "json" : "picture", panel, saveText: "Save",
    // The text itself is sent, so that numbers keep their digits.
    save: async (text) => {
      const saved = await ask(paths.flow(app, flow.id), { method: "PATCH", body: text });
      drafts.forget(name);
      notice("Saved. It is served as it is shown.");
      await offerToWait(app, saved, view.signal);
      await flowPage(view);
    },
  });
}

function crumbs(app) {
  return h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: link(app, "flows") }, "Flows"), " /");
}

/** A new flow: a document of its own until it is added. `?webhook=…` is what triggers it. */
async function newFlowPage(view) {
  const { app, main, query, signal } = view;
  const panel = h("div", {});
  const given = query.get("webhook");
  const webhook = given ? await ask(paths.webhook(app, given), { signal }) : null;
  const name = `flow.new.${app}${given ? `.${given}` : ""}`;
  const flow = {
    name: webhook ? webhook.name : "", description: "", enabled: true,
    triggers: webhook ? [{ type: "webhook", key: webhook.id, outputIds: [[]] }] : [], nodes: [],
  };
  put(main, crumbs(app), heading("Add Flow", h("a", { class: "button", href: link(app, "flows"), onclick: () => drafts.forget(name) }, "Cancel")), panel);
  await flowEditor({
    view, flow, name, tab: "picture", panel, saveText: "Add Flow", isNew: true,
    save: async (text) => {
      const saved = await ask(paths.flows(app), { method: "POST", body: text });
      drafts.forget(name);
      notice(`“${saved.name}” is there${saved.triggers.length > 0 ? " and is triggered from now on" : ""}.`);
      await offerToWait(app, saved, signal);
      go(link(app, "flows", saved.id));
    },
  });
}

/** Deliveries that the flow's nodes gave up. */
async function deadLetters(view, flow, panel, before = null, search = "") {
  const { app, signal } = view;
  const path = paths.deadLetters(app, flow.id);
  const show = (place, text) =>
    deadLetters(view, flow, panel, place, text).catch((error) => put(panel, failure(error, () => show(place, text))));
  const query = new URLSearchParams({ perPage: LETTERS_PER_PAGE });
  if (before !== null) query.set("before", before);
  if (search) query.set("search", search);
  const list = await ask(`${path}?${query}`, { signal });
  const act = (id, done, method = "DELETE", suffix = "") => async () => {
    try {
      await ask(`${path}/${encodeURIComponent(id)}${suffix}`, { method });
      notice(done);
    } catch (error) {
      notice(error.message, "error");
    }
    show(null, search);
  };
  const silent = silentNodes(list.unreachable).map((text) => h("p", { class: "help", role: "status" }, text));
  if (list.totalCount === 0 && !search) {
    put(panel, silent, empty("No dead letters: everything was delivered, or is being tried."));
    return;
  }
  const field = h("input", { type: "search", value: search, "aria-label": "Text in a letter or its payload", placeholder: "Search" });
  put(panel,
    h("form", { class: "toolbar", onsubmit: (event) => { event.preventDefault(); show(null, field.value); } }, field, button("Search", null, { type: "submit" }),
      button("Deliver all again", act("all", "They are being delivered again.", "POST", `/replay${search ? `?${new URLSearchParams({ search })}` : ""}`)),
      button("Drop all", act("all", "All are dropped."), { class: "danger" })),
    list.replay?.isRunning
      ? h("p", { class: "help", role: "status" }, `${number(list.replay.replayed)} of ${number(list.replay.total)} are on their way again. `,
        button("Refresh", () => show(before, search), { class: "linkish" }))
      : null,
    silent,
    list.items.length === 0 ? empty(nothing(list, before, search)) : null,
    list.items.map((letter) => deadLetter(path, letter, act)),
    h("nav", { class: "pager", "aria-label": "Pages" },
      button("«", () => show(null, search), { class: "small", "aria-label": "Newest", disabled: before === null }),
      h("span", {}, search ? "" : `${number(list.totalCount)} in all`),
      button(search ? "Search on" : "›", () => show(list.next, search), { class: "small", "aria-label": search ? "Search older ones" : "Older", disabled: list.next === null })));
}

/** Why a list of dead letters shows none. One request searches a part of a great many. */
function nothing(list, before, search) {
  if (list.next !== null) return "None of the newest holds this text: search on for older ones.";
  if (!search) return "There are no older ones.";
  return before === null ? "No dead letter holds this text." : "No older one holds this text.";
}

function deadLetter(path, letter, act) {
  const whole = h("div", {});
  const payload = async () => {
    try {
      put(whole, code("Payload", pretty(textAt((await askText(`${path}/${encodeURIComponent(letter.id)}`)).text, "payload"))));
    } catch (error) {
      notice(error.message, "error");
    }
  };
  const status = letter.lastStatus === null ? "" : `, last status ${letter.lastStatus}`;
  return h("section", { class: "card" },
    h("div", { class: "heading" }, h("h2", {}, `${moment(letter.time)}: ${REASONS[letter.reason] ?? letter.reason}`),
      h("div", { class: "actions" },
        button("Payload", payload, { class: "small" }),
        button("Deliver again", act(letter.id, "It is being delivered again.", "POST", "/replay"), { class: "small" }),
        button("Drop", act(letter.id, "Dropped."), { class: "small danger" }))),
    h("p", { class: "help" }, `Node ${letter.nodeId}, ${letter.attempts === 1 ? "1 attempt" : `${number(letter.attempts)} attempts`}${status}. ${letter.lastError ?? ""}`),
    letter.lastAnswer ? code("Last answer", letter.lastAnswer) : null,
    whole);
}
