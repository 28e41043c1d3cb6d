// The list of webhooks. It asks for one page of them at a time, so that 100,000 are no more work than ten.

import { ask, paths, settings, urlOf } from "./api.js";
import { h, put } from "./dom.js";
import { every, link, setQuery } from "./router.js";
import { announce, badge, button, copyButton, empty, heading, moment, number, pager, select, table } from "./ui.js";
import { confirmDelete } from "./webhook_delete.js";

/** Rows of a page. */
const PER_PAGE = 50;
/** How often the rates are looked at. */
const RATE_MS = 2_000;
/** Pause after a key before the search is made. */
const SEARCH_MS = 250;

const SORTS = [
  ["name asc", "Name, A to Z"], ["name desc", "Name, Z to A"],
  ["creationDate desc", "Newest first"], ["creationDate asc", "Oldest first"],
  ["lastUpdated desc", "Changed last"],
];

export async function webhooksPage(view) {
  const { app, main, signal } = view;
  if (!app) {
    put(main, heading("Webhooks"), empty("A webhook belongs to an application, and there is none yet.",
      h("a", { class: "button primary", href: "#/applications" }, "Add an application")));
    return;
  }
  const about = await settings();
  const state = {
    page: Number.parseInt(view.query.get("page") ?? "0", 10) || 0,
    search: view.query.get("search") ?? "",
    sort: view.query.get("sort") ?? "name asc",
  };
  const body = h("div", {});
  const search = h("input", { type: "search", id: "search", placeholder: "Search by name", value: state.search, "aria-label": "Search by name" });
  const order = select(SORTS, state.sort, { "aria-label": "Order" });
  let shown = [];
  let asked = 0;

  const load = async () => {
    const turn = ++asked;
    setQuery({ page: state.page || "", search: state.search, sort: state.sort === "name asc" ? "" : state.sort });
    const [sortField, sortDirection] = state.sort.split(" ");
    const filter = state.search.trim() === "" ? "" : `*${quoted(state.search.trim())}*`;
    const query = { page: state.page, perPage: PER_PAGE, sortField, sortDirection, filterField: filter && "name", filter };
    const list = await ask(paths.webhooks(app), { query, signal });
    // An answer that a later question overtook is nobody's any more.
    if (turn !== asked) return;
    if (list.items.length === 0 && state.page > 0) {
      state.page = Math.max(0, Math.ceil(list.totalCount / PER_PAGE) - 1);
      return load();
    }
    shown = list.items;
    draw(list);
    announce(list.totalCount === 1 ? "1 webhook" : `${number(list.totalCount)} webhooks`);
    await rates();
  };

  const move = (change) => {
    Object.assign(state, change);
    load().catch(report);
  };
  const report = (error) => {
    if (!signal.aborted) put(body, h("p", { class: "error", role: "alert" }, error.message), button("Try again", () => move({})));
  };
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => move({ search: search.value, page: 0 }), SEARCH_MS);
  });
  order.addEventListener("change", () => move({ sort: order.value, page: 0 }));

  const draw = (list) => {
    if (list.totalCount === 0) {
      put(body, state.search
        ? empty(`No webhook's name contains “${state.search}”.`, button("Clear the search", () => { search.value = ""; move({ search: "", page: 0 }); search.focus(); }))
        : empty("No webhooks yet. A webhook is an address that devices and services call; flows say what happens then.",
          h("a", { class: "button primary", href: link(app, "webhooks", "new") }, "Add Webhook")));
      return;
    }
    const head = ["Name", "Type", "State", "URL", "Calls a second", "Last call"].map((text, index) =>
      h("th", { scope: "col", class: index === 4 ? "right" : null }, text));
    head.push(h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")));
    put(body,
      table("Webhooks", head, h("tbody", {}, list.items.map((webhook) => row(webhook)))),
      pager(list, (page) => move({ page })));
  };

  const row = (webhook) => {
    const url = urlOf(webhook, about);
    return h("tr", { "data-id": webhook.id },
      h("th", { scope: "row" }, h("a", { href: link(app, "webhooks", webhook.id) }, webhook.name),
        webhook.description ? h("div", { class: "quiet clip" }, webhook.description) : null),
      h("td", {}, webhook.isWebsocket ? "WebSocket" : webhook.waitForReply ? "HTTP, waits" : "HTTP"),
      h("td", {}, webhook.enabled ? badge("enabled", "good") : badge("disabled", "off")),
      h("td", {}, url === null
        ? h("span", { class: "quiet", title: "The ingress listens on a Unix socket; set ingress.public_url." }, "no URL")
        : h("div", { class: "url" }, h("code", { title: url }, shortened(url)), copyButton(() => url, `URL of ${webhook.name}`))),
      h("td", { class: "right rate" }, "–"),
      h("td", { class: "last quiet" }, "–"),
      h("td", { class: "right nowrap" },
        button(webhook.enabled ? "Disable" : "Enable", () => toggle(webhook), { class: "small", "aria-label": `${webhook.enabled ? "Disable" : "Enable"} ${webhook.name}` }),
        " ",
        button("Delete", () => remove(webhook), { class: "small danger", "aria-label": `Delete ${webhook.name}` })));
  };

  const toggle = async (webhook) => {
    try {
      await ask(paths.webhook(app, webhook.id), { method: "PATCH", body: { enabled: !webhook.enabled } });
      await load();
      body.querySelector(`tr[data-id="${webhook.id}"] button:not(.url button)`)?.focus();
    } catch (error) {
      report(error);
    }
  };
  const remove = async (webhook) => {
    if (await confirmDelete(app, webhook)) move({});
  };

  /** Fills the columns that change by themselves. */
  const rates = async () => {
    if (shown.length === 0) return;
    const ids = shown.map((webhook) => webhook.id).join(",");
    const usage = await ask(paths.usage(app), { query: { ids }, signal });
    for (const item of usage.items) {
      const line = body.querySelector(`tr[data-id="${item.webhookId}"]`);
      if (!line) continue;
      line.querySelector(".rate").textContent = rate(item);
      line.querySelector(".last").textContent = moment(item.lastCall);
    }
  };

  put(main,
    heading("Webhooks", h("a", { class: "button primary", href: link(app, "webhooks", "new") }, "Add Webhook")),
    h("div", { class: "toolbar" }, search, order), body);
  await load();
  every(RATE_MS, signal, () => rates().catch(() => {
    // The notice at the page's edge says that the server is away; the next turn asks again.
  }));
}

/** Calls a second over the window that the limit looks at. */
export function rate(usage) {
  if (usage.calls === null) return "–";
  const perSecond = usage.calls / usage.windowSeconds;
  return perSecond === 0 ? "0" : perSecond < 10 ? perSecond.toFixed(1) : number(Math.round(perSecond));
}

/** A search is for text: the signs of a glob mean themselves. */
function quoted(text) {
  return text.replace(/[\\*?]/g, "\\$&");
}

/** Enough of a URL to tell it from others. */
function shortened(url) {
  const token = url.slice(url.lastIndexOf("/") + 1);
  return `…/${token.slice(0, 10)}…`;
}
