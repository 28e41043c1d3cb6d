// Flows: the list, and one flow with its JSON and its dead letters.

import { ApiError, ask, askText, paths } from "./api.js";
import { h, put } from "./dom.js";
import { newFlowForm } from "./flow_form.js";
import { jsonField, pretty, textAt } from "./json.js";
import { go, link, setQuery } from "./router.js";
import { drafts } from "./store.js";
import { announce, badge, button, code, dialog, empty, failure, heading, moment, notice, number, pager, table, tabs } from "./ui.js";
import { waitButtons, warningList } from "./warnings.js";

const PER_PAGE = 50;
const LETTERS_PER_PAGE = 20;
const SEARCH_MS = 250;

/** What of a flow may be changed; the rest is the server's. */
const READ_ONLY = ["id", "flowId", "applicationId", "creationDate", "lastUpdated", "warnings"];

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
    put(body, table("Flows", head, h("tbody", {}, list.items.map(row))),
      pager(list, (page) => {
        state.page = page;
        load().catch(report);
      }));
  };
  const row = (flow) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: link(app, "flows", flow.id) }, flow.name),
      flow.description ? h("div", { class: "quiet clip" }, flow.description) : null),
    h("td", {}, flow.enabled ? badge("enabled", "good") : badge("disabled", "off")),
    h("td", {}, flow.triggers.length === 0 ? h("span", { class: "quiet" }, "none") : flow.triggers.length === 1 ? "1 trigger" : `${flow.triggers.length} triggers`),
    h("td", {}, kinds(flow)),
    h("td", { class: "nowrap" }, moment(flow.lastUpdated)),
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
  return [...counts].map(([type, count]) => (count > 1 ? `${type} ×${count}` : type)).join(", ") || h("span", { class: "quiet" }, "none");
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
  const { app, main } = view;
  const crumbs = h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: link(app, "flows") }, "Flows"), " /");
  const panel = h("div", {});
  if (id === "new") {
    put(main, crumbs, heading("Add Flow"), panel);
    return newFlowForm({ ...view, panel });
  }
  const flow = await ask(paths.flow(app, id), { signal: view.signal });
  const toggle = button(flow.enabled ? "Disable" : "Enable", async () => {
    try {
      await ask(paths.flow(app, id), { method: "PATCH", body: { enabled: !flow.enabled } });
      await flowPage(view);
    } catch (error) {
      notice(error.message, "error");
    }
  });
  const remove = button("Delete", async () => {
    if (await confirmDelete(app, flow)) go(link(app, "flows"));
  }, { class: "danger" });
  put(main, crumbs,
    heading(flow.name, flow.enabled ? badge("enabled", "good") : badge("disabled", "off"), toggle, remove),
    warningList(flow, await waitButtons(app, flow, view.signal, () => flowPage(view))),
    tabs("Flow", [["edit", "Edit", link(app, "flows", id, "edit")], ["dead", "Dead letters", link(app, "flows", id, "dead")]], tab),
    panel);
  if (tab === "dead") return deadLetters(view, flow, panel);
  edit(view, flow, panel);
}

/** The whole flow as JSON. What the server finds wrong is shown at the place that it names. */
function edit(view, flow, panel) {
  const { app } = view;
  const name = `flow.${flow.id}`;
  const kept = Object.fromEntries(Object.entries(flow).filter(([key]) => !READ_ONLY.includes(key)));
  const draft = drafts.read(name);
  const text = draft ?? JSON.stringify(kept, null, 2);
  const area = jsonField("The flow as JSON", text, {
    rows: Math.min(36, Math.max(16, text.split("\n").length + 2)),
    help: "triggers name webhooks by their ids; a trigger's outputIds lead to nodes. Secrets that show as *** are kept. Ctrl+S saves.",
    oninput: () => drafts.keep(name, area.control.value),
  });
  const said = h("p", { class: "error", role: "alert" });
  const save = h("button", { type: "submit", class: "primary" }, "Save");
  const submit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    if (!area.check()) return area.control.focus();
    save.disabled = true;
    try {
      // The text itself is sent, so that numbers keep their digits.
      await ask(paths.flow(app, flow.id), { method: "PATCH", body: area.control.value });
      drafts.forget(name);
      notice("Saved. It is served as it is shown.");
      await flowPage(view);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 400) area.fault(error.field, error.message);
      else put(said, error.message);
    } finally {
      save.disabled = false;
    }
  };
  const discard = draft === null ? null : h("p", { class: "help" }, "This is a draft that you did not save. ",
    button("Discard it", () => {
      drafts.forget(name);
      edit(view, flow, panel);
    }, { class: "linkish" }));
  const form = h("form", { class: "card", onsubmit: submit, novalidate: true }, discard, area.element, said, h("div", { class: "actions end" }, save));
  form.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "s" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  put(panel, form);
  area.check();
}

/** Deliveries that the flow's nodes gave up. */
async function deadLetters(view, flow, panel, page = 0, search = "") {
  const { app, signal } = view;
  const path = paths.deadLetters(app, flow.id);
  const show = (nextPage, text) =>
    deadLetters(view, flow, panel, nextPage, text).catch((error) => put(panel, failure(error, () => show(nextPage, text))));
  const query = new URLSearchParams({ page, perPage: LETTERS_PER_PAGE });
  if (search) query.set("search", search);
  const list = await ask(`${path}?${query}`, { signal });
  const act = (id, done, method = "DELETE", suffix = "") => async () => {
    try {
      await ask(`${path}/${encodeURIComponent(id)}${suffix}`, { method });
      notice(done);
    } catch (error) {
      notice(error.message, "error");
    }
    show(0, search);
  };
  if (list.totalCount === 0 && !search) {
    put(panel, empty("No dead letters: everything was delivered, or is being tried."));
    return;
  }
  const field = h("input", { type: "search", value: search, "aria-label": "Text in a letter or its payload", placeholder: "Search" });
  put(panel,
    h("form", { class: "toolbar", onsubmit: (event) => { event.preventDefault(); show(0, field.value); } }, field, button("Search", null, { type: "submit" }),
      button("Deliver all again", act("all", "They are being delivered again.", "POST", `/replay${search ? `?${new URLSearchParams({ search })}` : ""}`)),
      button("Drop all", act("all", "All are dropped."), { class: "danger" })),
    list.replay?.isRunning
      ? h("p", { class: "help", role: "status" }, `${number(list.replay.replayed)} of ${number(list.replay.total)} are on their way again. `,
        button("Refresh", () => show(page, search), { class: "linkish" }))
      : null,
    list.items.length === 0 ? empty("No dead letter holds this text.") : null,
    list.items.map((letter) => deadLetter(path, letter, act)),
    pager(list, (next) => show(next, search)));
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
    h("div", { class: "heading" }, h("h2", {}, `${moment(letter.time)} – ${letter.reason}`),
      h("div", { class: "actions" },
        button("Payload", payload, { class: "small" }),
        button("Deliver again", act(letter.id, "It is being delivered again.", "POST", "/replay"), { class: "small" }),
        button("Drop", act(letter.id, "Dropped."), { class: "small danger" }))),
    h("p", { class: "help" }, `Node ${letter.nodeId}, ${letter.attempts} attempts${status}. ${letter.lastError ?? ""}`),
    letter.lastAnswer ? code("Last answer", letter.lastAnswer) : null,
    whole);
}
