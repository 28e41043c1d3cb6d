// The search for a webhook that is to trigger a flow: by name, since there may be very many.

import { ask, isAborted, paths } from "./api.js";
import { h, put } from "./dom.js";
import { button } from "./ui.js";

/** Webhooks that the search offers, and the pause after a key before it is made. */
const OFFERED = 20;
const SEARCH_MS = 250;

/** A button that opens the search; `add(webhook)` is called with the one that is chosen. */
export function triggerSearch({ app, signal, isKnown, add }) {
  const search = h("input", { type: "search", autocomplete: "off", placeholder: "Search webhooks by name", "aria-label": "Search webhooks by name" });
  const found = h("ul", { class: "chips", "aria-live": "polite" });
  const box = h("div", { class: "trigger-search", hidden: true }, search, found);
  const opener = button("Add trigger", () => {
    box.hidden = !box.hidden;
    opener.setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) {
      search.focus();
      look();
    }
  }, { class: "small", "aria-expanded": "false" });
  const close = () => {
    box.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    opener.focus();
  };
  const look = async () => {
    const part = search.value.trim().replace(/[\\*?]/g, "\\$&");
    try {
      const list = await ask(paths.webhooks(app), { query: { perPage: OFFERED, filterField: "name", filter: `*${part}*` }, signal });
      const fresh = list.items.filter((one) => !isKnown(one.id));
      put(found, fresh.length === 0 ? h("li", { class: "quiet" }, "No webhook of this name.") : fresh.map((one) => h("li", {}, button(`+ ${one.name}`, () => {
        close();
        add(one);
      }, { class: "small" }))));
    } catch (error) {
      if (!isAborted(error)) put(found, h("li", { class: "error" }, error.message));
    }
  };
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, SEARCH_MS);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === search) {
      event.preventDefault();
      found.querySelector("button")?.click();
    }
    if (event.key === "Escape") close();
  });
  return h("div", { class: "trigger-add" }, opener, box);
}
