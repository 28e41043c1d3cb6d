// The webhooks of an application as the list wants them. As many as one answer holds are kept here, so that they are
// searched by anything, ordered as people order names, and narrowed at once; of more the server gives one page at a time.

import { ask, paths, urlOf } from "./api.js";
import { NAMES } from "./ui.js";

/** Rows of a page. */
export const PER_PAGE = 50;
/** Most webhooks that are kept here: one answer of the server. */
export const KEPT_MAX = 1_000;

export const TYPES = [["", "Any type"], ["http", "HTTP"], ["waits", "HTTP, waits"], ["socket", "WebSocket"]];
export const STATES = [["", "Any state"], ["enabled", "Enabled"], ["disabled", "Disabled"]];

export function typeOf(webhook) {
  return webhook.isWebsocket ? "socket" : webhook.waitForReply ? "waits" : "http";
}

/** Compares two webhooks by a field and a direction, as `name asc`. */
function comparison(sort) {
  const [field, direction] = sort.split(" ");
  const turn = direction === "desc" ? -1 : 1;
  return (one, other) => turn * (field === "name" ? NAMES.compare(one.name, other.name) : one[field] < other[field] ? -1 : one[field] > other[field] ? 1 : 0);
}

/** Whether a webhook has the text: in its name or description, or as the beginning of its id or its token; or is at the URL. */
export function fits(webhook, about, search) {
  const text = search.trim().toLowerCase();
  if (text === "") return true;
  const url = urlOf(webhook, about);
  const token = /\/webhooks\/([^/?#]+)/.exec(text)?.[1];
  if (token !== undefined) return webhook.token.toLowerCase().startsWith(token.replace(/…$/, ""));
  return webhook.name.toLowerCase().includes(text) || webhook.description.toLowerCase().includes(text)
    || webhook.id.startsWith(text) || webhook.token.toLowerCase().startsWith(text) || (url ?? "").toLowerCase() === text;
}

/**
 * A page of the list: `{items, page, perPage, totalCount, isKept}`. `state` has `page`, `search`, `sort`, `type`, `state`.
 * `kept` is what an earlier call answered as `kept`, where the webhooks themselves need not be asked for again.
 */
export async function pageOf({ app, about, state, signal, kept = null }) {
  const all = kept ?? await ask(paths.webhooks(app), { query: { perPage: KEPT_MAX }, signal });
  if (all.totalCount <= KEPT_MAX) {
    const found = all.items.filter((one) => fits(one, about, state.search) && (state.type === "" || typeOf(one) === state.type)
      && (state.state === "" || one.enabled === (state.state === "enabled")));
    // One that was made elsewhere since is not among those that are kept.
    if (found.length === 0 && kept !== null) return pageOf({ app, about, state, signal });
    found.sort(comparison(state.sort));
    const page = Math.min(state.page, Math.max(0, Math.ceil(found.length / PER_PAGE) - 1));
    return { items: found.slice(page * PER_PAGE, (page + 1) * PER_PAGE), page, perPage: PER_PAGE, totalCount: found.length, isKept: true, kept: all };
  }
  const [sortField, sortDirection] = state.sort.split(" ");
  const filter = state.search.trim() === "" ? "" : `*${state.search.trim().replace(/[\\*?]/g, "\\$&")}*`;
  const list = await ask(paths.webhooks(app), { query: { page: state.page, perPage: PER_PAGE, sortField, sortDirection, filterField: filter && "name", filter }, signal });
  return { ...list, isKept: false, kept: { totalCount: all.totalCount, items: [] } };
}
