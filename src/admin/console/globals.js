// An application's globals: keys with JSON, usable in templates as {{globals.key}}, and what uses each.

import { ApiError, ask, paths } from "./api.js";
import { h, put } from "./dom.js";
import { valueControl } from "./global_value.js";
import { jsonError } from "./json_error.js";
import { link } from "./router.js";
import { drafts } from "./store.js";
import { button, empty, failure, heading, notice } from "./ui.js";

/** Webhooks and flows that are looked through for uses: a page of each. */
const LOOKED_THROUGH = 1_000;

export async function globalsPage(view) {
  const { app, main, signal } = view;
  if (!app) {
    put(main, heading("Globals"), empty("Globals belong to an application, and there is none yet.",
      h("a", { class: "button primary", href: "#/applications" }, "Add an application")));
    return;
  }
  const application = await ask(paths.application(app), { signal });
  const name = `globals.${app}`;
  const draft = drafts.read(name);
  // What else a global has (a description, say) is kept as it came.
  let rows = draft ?? application.globals.map((global) => ({ ...global }));
  let uses = null;
  const list = h("div", {});
  const said = h("p", { class: "error", role: "alert" });
  const save = h("button", { type: "submit", class: "primary" }, "Save");

  const draw = () => {
    if (rows.length === 0) {
      put(list, h("p", { class: "quiet" }, "No globals yet. A template anywhere in this application can read one as {{globals.key}}."));
      return;
    }
    put(list, rows.map((row, index) => rowOf(row, index)));
  };
  const rowOf = (row, index) => {
    const wrong = h("p", { class: "error", id: `global-error-${index}`, hidden: true });
    const key = h("input", { value: row.key, "aria-label": `Key ${index + 1}`, placeholder: "key", autocomplete: "off", spellcheck: "false", class: "mono" });
    const label = row.key || `key ${index + 1}`;
    const control = valueControl({ label, key: row.key, json: row.json, set: (json) => {
      row.json = json;
      drafts.keep(name, rows);
      check();
    } });
    const check = () => {
      const error = control.error();
      wrong.hidden = error === null;
      put(wrong, error);
      for (const one of control.value.querySelectorAll("input, textarea, select")) {
        one.setAttribute("aria-describedby", wrong.id);
        if (error) one.setAttribute("aria-invalid", "true");
        else one.removeAttribute("aria-invalid");
      }
      return error === null;
    };
    key.addEventListener("input", () => { row.key = key.value; drafts.keep(name, rows); });
    check();
    const remove = button("Remove", () => {
      rows.splice(index, 1);
      drafts.keep(name, rows);
      draw();
    }, { class: "small", "aria-label": `Remove ${row.key || `key ${index + 1}`}` });
    return h("div", { class: "global" }, h("div", { class: "global-row" }, key, control.type, control.value, remove), wrong, usedBy(row.key));
  };
  const usedBy = (key) => {
    if (uses === null || key === "") return null;
    const found = uses.filter((use) => mentions(use.text, key));
    return h("p", { class: "help" }, found.length === 0 ? "Nothing uses it." : ["Used by ", found.map((use, index) => [index > 0 ? ", " : null, h("a", { href: use.href }, use.name)])]);
  };
  const submit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    const twice = rows.find((row, index) => rows.some((other, at) => at < index && other.key === row.key));
    if (rows.some((row) => row.key.trim() === "")) return say("Each global needs a key.");
    if (twice) return say(`The key “${twice.key}” is there twice.`);
    if (rows.some((row) => jsonError(row.json) !== null)) return say("Mend the JSON first; it is marked.");
    save.disabled = true;
    try {
      const kept = await ask(paths.application(app), { method: "PATCH", body: { globals: rows } });
      rows = kept.globals.map((global) => ({ ...global }));
      drafts.forget(name);
      notice("Saved. Templates render with them from now on.");
      draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(error.message);
    } finally {
      save.disabled = false;
    }
  };
  const say = (text) => {
    put(said, text);
  };
  const add = button("Add a global", () => {
    rows.push({ key: "", json: "\"\"" });
    drafts.keep(name, rows);
    draw();
    list.lastElementChild.querySelector("input").focus();
  });
  const discard = draft === null ? null : h("p", { class: "help" }, "This is a draft that you did not save. ", button("Discard it", () => {
    drafts.forget(name);
    globalsPage(view);
  }, { class: "linkish" }));
  put(main, heading("Globals"),
    h("form", { class: "card", onsubmit: submit, novalidate: true },
      h("p", { class: "help spaced" }, "Templates of this application read them as {{globals.key}}; payloads carry them as globals."), discard, list, said,
      h("div", { class: "actions end" }, add, save)));
  draw();
  try {
    uses = await lookThrough(app, signal);
    // What is being typed is not drawn again; its uses come with the next drawing.
    if (!list.contains(document.activeElement)) draw();
  } catch (error) {
    if (!signal.aborted) list.after(failure(error));
  }
}

/** Every text of the application that may be a template, with where it stands. */
async function lookThrough(app, signal) {
  const query = { perPage: LOOKED_THROUGH };
  const [webhooks, flows] = await Promise.all([ask(paths.webhooks(app), { query, signal }), ask(paths.flows(app), { query, signal })]);
  return [
    ...webhooks.items.map((one) => ({
      name: one.name, href: link(app, "webhooks", one.id, "settings"),
      text: [one.verificationCode, one.basicAuthUsername, one.basicAuthPassword, JSON.stringify(one.signature?.secret ?? "")].join("\n"),
    })),
    ...flows.items.map((one) => ({ name: one.name, href: link(app, "flows", one.id), text: JSON.stringify(one.nodes) })),
  ];
}

/** Whether a template in a text reads a global, by `globals.key` or, in credentials, by the bare key. */
function mentions(text, key) {
  const quoted = key.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`globals\\.(${quoted}|\\[${quoted}\\])(?![\\w-])|\\{\\{\\{?\\s*${quoted}\\s*\\}`).test(text);
}
