// What the templates of a form make of a call, shown beneath each of them shortly after the last key.

import { ask } from "./api.js";
import { h, put } from "./dom.js";

/** Pause after a key before the server is asked. */
const PREVIEW_MS = 300;
/** Characters of a rendering that stand beneath a field. */
const SHOWN_CHARACTERS = 2_000;

/** Makes a preview over the payload that `payload()` gives as text; null for none. */
export function livePreview(payload, signal) {
  let watched = [];
  let asked = 0;
  let waiting;
  const look = async () => {
    watched = watched.filter((one) => one.made.element.isConnected);
    const sample = payload();
    const live = watched.map((one) => ({ ...one, given: one.given() })).filter(({ given, made }) => given.type !== null && !made.element.hidden);
    for (const one of watched.filter((one) => !live.some(({ made }) => made === one.made))) put(one.shown);
    if (sample === null || live.length === 0) return;
    const turn = ++asked;
    try {
      const body = `{"payload":${sample},"templates":${JSON.stringify(live.map(({ given }) => given))}}`;
      const { items } = await ask("/preview", { method: "POST", body, signal });
      if (turn !== asked) return;
      live.forEach((one, index) => tell(one, items[index]));
    } catch (error) {
      // The notice at the page's edge tells of a server that is away; a payload that is none is told at its field.
      if (turn === asked) for (const one of live) put(one.shown, error.status === 400 ? h("span", { class: "error" }, error.message) : null);
    }
  };
  return {
    /** Shows beneath a field what its template makes of the call; `given()` is `{template, type}`, no type for none. */
    watch(made, given) {
      const shown = h("output", { class: "made", "aria-live": "off" });
      made.element.append(shown);
      watched.push({ made, given, shown });
      this.later();
    },
    later() {
      clearTimeout(waiting);
      waiting = setTimeout(() => !signal.aborted && look(), PREVIEW_MS);
    },
  };
}

/** What a template made. One that cannot be read is told at its field, by those who look at the whole flow. */
function tell({ given, shown }, item) {
  const isPlain = !given.template.includes("{{") && given.type !== "path" && given.type !== "condition";
  if (item.error || given.template === "" || isPlain) return put(shown);
  if (item.text === null) return put(shown, h("span", { class: "arrow", "aria-hidden": "true" }, "→ "), h("span", { class: "quiet" }, "the path leads to nothing"));
  const text = item.text.length > SHOWN_CHARACTERS ? `${item.text.slice(0, SHOWN_CHARACTERS)}…` : item.text;
  return put(shown, h("span", { class: "arrow", "aria-hidden": "true" }, "→ "), text === "" ? h("span", { class: "quiet" }, "nothing") : text);
}
