// The list of webhooks: searched, narrowed, ordered, with what each of them does now, and several changed at once.

import { ask, paths, settings, urlOf } from "./api.js";
import { h, put } from "./dom.js";
import { callsLine, figures, rateText, shareText } from "./recent.js";
import { every, link, setQuery } from "./router.js";
import { agoTime } from "./time.js";
import { announce, badge, button, copyButton, dialog, duration, empty, heading, notice, number, pager, select, table } from "./ui.js";
import { confirmDelete } from "./webhook_delete.js";
import { KEPT_MAX, pageOf, STATES, TYPES, typeOf } from "./webhooks_state.js";

/** How often the rates are looked at. */
const RATE_MS = 2_000;
/** Pause after a key before the search is made. */
const SEARCH_MS = 250;

const SORTS = [
  ["name asc", "Name, A to Z"], ["name desc", "Name, Z to A"],
  ["creationDate desc", "Newest first"], ["creationDate asc", "Oldest first"],
  ["lastUpdated desc", "Changed last"],
];
const SHOWN_TYPES = { http: "HTTP", waits: "HTTP, waits", socket: "WebSocket" };

export async function webhooksPage(view) {
  const { app, main, signal } = view;
  if (!app) {
    put(main, heading("Webhooks"), empty("A webhook belongs to an application, and there is none yet.",
      h("a", { class: "button primary", href: "#/applications" }, "Add an application")));
    return;
  }
  const about = await settings();
  const given = (name, otherwise = "") => view.query.get(name) ?? otherwise;
  const state = { page: Number.parseInt(given("page", "0"), 10) || 0, search: given("search"), sort: given("sort", "name asc"), type: given("type"), state: given("state") };
  const body = h("div", {});
  const search = h("input", { type: "search", id: "search", placeholder: "Search name, id, URL, token", value: state.search, "aria-label": "Search by name, id, URL or the beginning of a token" });
  const choice = (name, options, label) => {
    const made = select(options, state[name], { "aria-label": label, onchange: () => move({ [name]: made.value, page: 0 }) });
    return made;
  };
  const type = choice("type", TYPES, "Type");
  const enabled = choice("state", STATES, "State");
  const several = h("div", { class: "actions several", hidden: true });
  let marked = new Set();
  let shown = [];
  let kept = null;
  let asked = 0;

  const load = async () => {
    const turn = ++asked;
    setQuery({ ...state, page: state.page || "", sort: state.sort === "name asc" ? "" : state.sort });
    const list = await pageOf({ app, about, state, signal, kept });
    // An answer that a later question overtook is nobody's any more.
    if (turn !== asked) return;
    ({ kept } = list);
    if (list.items.length === 0 && state.page > 0 && list.totalCount > 0) {
      state.page = Math.max(0, Math.ceil(list.totalCount / list.perPage) - 1);
      return load();
    }
    shown = list.items;
    marked = new Set([...marked].filter((id) => shown.some((one) => one.id === id)));
    draw(list);
    announce(list.totalCount === 1 ? "1 webhook" : `${number(list.totalCount)} webhooks`);
    await rates();
  };

  const move = (change) => {
    Object.assign(state, change);
    load().catch(report);
  };
  /** Asks anew: something was changed. */
  const again = () => {
    kept = null;
    return load();
  };
  const report = (error) => {
    if (!signal.aborted) put(body, h("p", { class: "error", role: "alert" }, error.message), button("Try again", () => move({})));
  };
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => move({ search: search.value, page: 0 }), SEARCH_MS);
  });

  const draw = (list) => {
    // What the server alone knows of more than that is in its order, and by its name.
    for (const one of [type, enabled]) one.hidden = !list.isKept;
    search.placeholder = list.isKept ? "Search name, id, URL, token" : "Search by name";
    drawSeveral();
    if (list.totalCount === 0) {
      const isNarrowed = state.search || state.type || state.state;
      put(body, isNarrowed
        ? empty("No webhook fits.", button("Show all", () => {
          search.value = "";
          type.value = "";
          enabled.value = "";
          move({ search: "", type: "", state: "", page: 0 });
          search.focus();
        }))
        : empty("No webhooks yet. A webhook is an address that devices and services call; flows say what happens then.",
          h("a", { class: "button primary", href: link(app, "webhooks", "new") }, "Add Webhook")));
      return;
    }
    const all = h("input", { type: "checkbox", "aria-label": "Mark all of this page", checked: shown.every((one) => marked.has(one.id)), onchange: () => {
      marked = all.checked ? new Set(shown.map((one) => one.id)) : new Set();
      for (const box of body.querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
      drawSeveral();
    } });
    const head = ["Name", "Type", "State", "URL", "Calls a second", "Failed", "p99", "Last call"].map((text, index) =>
      h("th", { scope: "col", class: index > 3 && index < 7 ? "right" : null, title: index === 5 ? "Answered 400 or more in the last five minutes" : null }, text));
    head.unshift(h("th", { scope: "col" }, all));
    head.push(h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")));
    put(body,
      list.isKept ? null : h("p", { class: "help" }, `There are more than ${number(KEPT_MAX)}: the search is by name.`),
      table("Webhooks", head, h("tbody", {}, list.items.map((webhook) => row(webhook)))),
      pager(list, (page) => move({ page })));
    body.querySelector(".scroll").classList.add("cards");
  };

  const row = (webhook) => {
    const url = urlOf(webhook, about);
    const mark = h("input", { type: "checkbox", "aria-label": `Mark ${webhook.name}`, checked: marked.has(webhook.id), onchange: () => {
      if (mark.checked) marked.add(webhook.id);
      else marked.delete(webhook.id);
      drawSeveral();
    } });
    return h("tr", { "data-id": webhook.id },
      h("td", {}, mark),
      h("th", { scope: "row" }, h("a", { href: link(app, "webhooks", webhook.id) }, webhook.name),
        webhook.description ? h("div", { class: "quiet clip" }, webhook.description) : null),
      h("td", { "data-label": "Type" }, SHOWN_TYPES[typeOf(webhook)]),
      h("td", { "data-label": "State" }, webhook.enabled ? badge("enabled", "good") : badge("disabled", "off")),
      h("td", { "data-label": "URL" }, url === null
        ? h("span", { class: "quiet", title: "The ingress listens on a Unix socket; set ingress.public_url." }, "no URL")
        : h("div", { class: "url" }, h("code", { title: url }, shortened(url)), copyButton(() => url, `URL of ${webhook.name}`))),
      h("td", { class: "right rate nowrap", "data-label": "Calls a second" }, "–"),
      h("td", { class: "right failed", "data-label": "Failed" }, "–"),
      h("td", { class: "right p99 nowrap", "data-label": "p99" }, "–"),
      h("td", { class: "last quiet", "data-label": "Last call" }, "–"),
      h("td", { class: "right nowrap" },
        button(webhook.enabled ? "Disable" : "Enable", () => toggle(webhook), { class: "small", "aria-label": `${webhook.enabled ? "Disable" : "Enable"} ${webhook.name}` }),
        " ",
        button("Delete", () => remove(webhook), { class: "small danger", "aria-label": `Delete ${webhook.name}` })));
  };

  const toggle = async (webhook) => {
    try {
      await ask(paths.webhook(app, webhook.id), { method: "PATCH", body: { enabled: !webhook.enabled } });
      await again();
      body.querySelector(`tr[data-id="${webhook.id}"] td:last-child button`)?.focus();
    } catch (error) {
      report(error);
    }
  };
  const remove = async (webhook) => {
    if (await confirmDelete(app, webhook)) again().catch(report);
  };

  /** What can be done with those that are marked. */
  const drawSeveral = () => {
    several.hidden = marked.size === 0;
    const chosen = shown.filter((one) => marked.has(one.id));
    put(several, h("span", { class: "quiet", role: "status" }, `${number(marked.size)} marked`),
      button("Enable them", () => each(chosen, "enabled", (one) => change(one, true)), { class: "small" }),
      button("Disable them", () => each(chosen, "disabled", (one) => change(one, false)), { class: "small" }),
      button("Delete them…", () => removeSeveral(chosen), { class: "small danger" }));
  };
  const change = (one, isEnabled) => ask(paths.webhook(app, one.id), { method: "PATCH", body: { enabled: isEnabled } });
  const each = async (chosen, done, act) => {
    let count = 0;
    try {
      for (const one of chosen) {
        await act(one);
        count += 1;
      }
      notice(`${number(count)} ${count === 1 ? "webhook is" : "webhooks are"} ${done}.`);
    } catch (error) {
      notice(`${number(count)} are ${done}, then: ${error.message}`, "error");
    }
    marked = new Set();
    await again().catch(report);
  };
  const removeSeveral = async (chosen) => {
    const withFlows = h("input", { type: "checkbox", id: "several-flows" });
    const isSure = await dialog(`Delete ${number(chosen.length)} ${chosen.length === 1 ? "webhook" : "webhooks"}?`, (close) => [
      h("p", {}, "Their URLs stop working at once and cannot be had again."),
      h("ul", {}, chosen.slice(0, 10).map((one) => h("li", {}, one.name)), chosen.length > 10 ? h("li", { class: "quiet" }, `and ${number(chosen.length - 10)} more`) : null),
      h("div", { class: "field check" }, withFlows, h("label", { for: "several-flows" }, "Also delete their flows")),
      h("div", { class: "actions end" }, button("Cancel", () => close(false), { autofocus: true }), button("Delete", () => close(true), { class: "danger" })),
    ]);
    if (!isSure) return;
    const query = { includeWorkflows: withFlows.checked ? "true" : "" };
    await each(chosen, "deleted", (one) => ask(paths.webhook(app, one.id), { method: "DELETE", query }));
  };

  /** Fills the columns that change by themselves. */
  const rates = async () => {
    if (shown.length === 0) return;
    const ids = shown.map((webhook) => webhook.id).join(",");
    const usage = await ask(paths.usage(app), { query: { ids, recent: "true" }, signal });
    for (const item of usage.items) {
      const line = body.querySelector(`tr[data-id="${item.webhookId}"]`);
      if (!line) continue;
      const now = figures(item);
      put(line.querySelector(".rate"), rateText(now.perSecond), callsLine(item));
      line.querySelector(".failed").textContent = shareText(now.share);
      line.querySelector(".p99").textContent = now.p99Ms === null ? "–" : duration(now.p99Ms);
      put(line.querySelector(".last"), agoTime(item.lastCall));
    }
  };

  put(main,
    heading("Webhooks", h("a", { class: "button primary", href: link(app, "webhooks", "new") }, "Add Webhook")),
    h("div", { class: "toolbar" }, search, type, enabled, choice("sort", SORTS, "Order")), several, body);
  await load();
  every(RATE_MS, signal, () => rates().catch(() => {
    // The notice at the page's edge says that the server is away; the next turn asks again.
  }));
}

/** Enough of a URL to tell it from others. */
function shortened(url) {
  const token = url.slice(url.lastIndexOf("/") + 1);
  return `…/${token.slice(0, 10)}…`;
}
