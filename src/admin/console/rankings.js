// The webhooks of an application that are called most, and those whose calls fail most, in the last minutes.

import { ask, paths } from "./api.js";
import { h } from "./dom.js";
import { callsLine, figures, rateText, shareText } from "./recent.js";
import { link } from "./router.js";
import { number, table } from "./ui.js";

/** Webhooks that are looked at, and those that are shown. */
const LOOKED_AT = 1_000;
const SHOWN = 5;

/** The two cards; none where there is no application. */
export async function rankingsOf({ app, application, signal }) {
  if (!app) return [];
  const list = await ask(paths.webhooks(app), { query: { perPage: LOOKED_AT }, signal });
  if (list.items.length === 0) return [];
  const usage = await ask(paths.usage(app), { query: { ids: list.items.map((one) => one.id).join(","), recent: "true" }, signal });
  const names = new Map(list.items.map((one) => [one.id, one.name]));
  const all = usage.items.map((one) => ({ ...figures(one), id: one.webhookId, name: names.get(one.webhookId), line: callsLine(one) }));
  const busiest = all.filter((one) => one.calls > 0).sort((one, other) => other.calls - one.calls).slice(0, SHOWN);
  const failing = all.filter((one) => one.failures > 0).sort((one, other) => other.failures - one.failures).slice(0, SHOWN);
  const of = application ? ` of ${application.name}` : "";
  return [
    card(app, `Busiest webhooks${of}`, busiest, "No calls in the last five minutes.", ["Calls", "Calls a second"], (one) => [number(one.calls), [rateText(one.perSecond), one.line]]),
    card(app, `Most failing webhooks${of}`, failing, "No call failed in the last five minutes.", ["Failed", "Share"], (one) => [number(one.failures), shareText(one.share)]),
  ];
}

function card(app, title, rows, otherwise, columns, cells) {
  const head = ["Webhook", ...columns].map((text, index) => h("th", { scope: "col", class: index > 0 ? "right" : null }, text));
  return h("section", { class: "card" }, h("h2", {}, title), rows.length === 0 ? h("p", { class: "quiet" }, otherwise)
    : table(title, head, h("tbody", {}, rows.map((one) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: link(app, "webhooks", one.id) }, one.name)), cells(one).map((cell) => h("td", { class: "right nowrap rate" }, cell))))), "ranking"));
}
