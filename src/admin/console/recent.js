// What a webhook did lately, by its records: calls a second, failures, latency, each one figure wherever it stands.

import { h } from "./dom.js";
import { sparkline } from "./sparkline.js";
import { duration, number } from "./ui.js";

/** Parts of the span whose calls make the rate of now: the last whole one, and the one that has begun. */
const NOW_PARTS = 2;

const sum = (values) => values.reduce((all, one) => all + (one ?? 0), 0);

/**
 * The figures of a webhook, of what `usage?recent=true` tells: `{perSecond, calls, failures, share, p99Ms}`. Where the rate
 * has a limit, the calls of its window are counted exactly; else the records tell.
 */
export function figures(usage) {
  const { recent } = usage;
  const perSecond = usage.calls !== null && usage.windowSeconds ? usage.calls / usage.windowSeconds
    : recent ? sum(recent.calls.slice(-NOW_PARTS)) / (recent.partSeconds * NOW_PARTS) : null;
  const calls = recent ? sum(recent.calls) : 0;
  const failures = recent ? sum(recent.failures) : 0;
  return { perSecond, calls, failures, share: calls > 0 ? failures / calls : null, p99Ms: recent?.p99Ms ?? null };
}

export function rateText(perSecond) {
  if (perSecond === null) return "–";
  return perSecond === 0 ? "0" : perSecond < 10 ? perSecond.toFixed(1) : number(Math.round(perSecond));
}

export function shareText(share) {
  if (share === null) return "–";
  return share === 0 ? "0 %" : share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`;
}

/** The calls of the last minutes as a line. */
export function callsLine(usage) {
  const { recent } = usage;
  if (!recent || sum(recent.calls) === 0) return null;
  return sparkline(recent.calls, `${number(sum(recent.calls))} calls in the last ${recent.calls.length * recent.partSeconds / 60} minutes`);
}

/** The figures and their lines, in a row: what stands above a webhook's calls. */
export function figureRow(usage) {
  const now = figures(usage);
  const { recent } = usage;
  const tile = (value, name, line) => h("div", { class: "figure" }, h("span", { class: "value" }, value), h("span", { class: "name" }, name), line);
  return h("div", { class: "figures" },
    tile(rateText(now.perSecond), "calls a second", callsLine(usage)),
    tile(shareText(now.share), "answered 400 or more", recent && now.failures > 0 ? sparkline(recent.failures, `${number(now.failures)} failures`, "bad") : null),
    tile(now.p99Ms === null ? "–" : duration(now.p99Ms), "p99", null));
}
