// The parts that pages are made of: fields, buttons, dialogs, notices.

import { append, h, put, uniqueId, visible } from "./dom.js";

/** How long a notice stays. Errors stay until they are dismissed. */
const NOTICE_MS = 5_000;
/** Notices at a time: the oldest make room. */
const NOTICES_MAX = 3;

/** Tells something that happened, at the page's edge, to eyes and screen readers. */
export function notice(text, kind = "ok") {
  const box = h("div", { class: `notice ${kind}` }, h("span", {}, text),
    h("button", { class: "plain", "aria-label": "Dismiss", onclick: () => box.remove() }, "×"));
  const notices = document.getElementById("notices");
  notices.append(box);
  while (notices.children.length > NOTICES_MAX) notices.firstElementChild.remove();
  if (kind === "ok") setTimeout(() => box.remove(), NOTICE_MS);
}

/** Tells screen readers, in a few words, what changed without a move of the focus. */
export function announce(text) {
  put(document.getElementById("announcer"), text);
}

/** A button. */
export function button(text, onclick, properties = {}) {
  return h("button", { type: "button", ...properties, onclick }, text);
}

/** A button that copies; says so in its own text and to screen readers. */
export function copyButton(value, what) {
  const label = `Copy ${what}`;
  const made = button("Copy", async () => {
    const copied = await copy(value());
    made.textContent = copied ? "Copied" : "Select and copy";
    notice(copied ? `The ${what} is on the clipboard.` : "The browser does not let this page copy. Select the text.", copied ? "ok" : "error");
    setTimeout(() => { made.textContent = "Copy"; }, 1_500);
  }, { class: "small", "aria-label": label, title: label });
  return made;
}

/** Puts a text on the clipboard; answers whether that was possible. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard outside of secure contexts: over plain HTTP to a name that is not localhost.
    const area = h("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * A labelled field. `control` is the input; `help` explains it; the answer has `element`, and `error(text)` that
 * shows what is wrong beneath it (or nothing).
 */
export function field(label, control, help) {
  const id = control.id || uniqueId("field");
  control.id = id;
  const helpId = `${id}-help`;
  const errorId = `${id}-error`;
  const said = h("p", { class: "error", id: errorId, hidden: true });
  if (help) control.setAttribute("aria-describedby", helpId);
  const isCheck = control.type === "checkbox";
  const text = h("label", { for: id }, label);
  const explained = help ? h("p", { class: "help", id: helpId }, help) : null;
  const element = isCheck
    ? h("div", { class: "field check" }, control, h("div", {}, text, explained, said))
    : h("div", { class: "field" }, text, control, explained, said);
  return {
    element,
    control,
    error(message) {
      said.hidden = !message;
      put(said, message ?? "");
      control.toggleAttribute("aria-invalid", Boolean(message));
      if (message) control.setAttribute("aria-invalid", "true");
      const describes = [help ? helpId : null, message ? errorId : null].filter(Boolean).join(" ");
      if (describes) control.setAttribute("aria-describedby", describes);
      else control.removeAttribute("aria-describedby");
    },
  };
}

/** A select from pairs of a value and a text. */
export function select(options, value, properties = {}) {
  const made = h("select", properties, options.map(([option, text]) => h("option", { value: option }, text)));
  made.value = value;
  return made;
}

/** An error with a button to try again. */
export function failure(error, again) {
  return h("div", { class: "failure", role: "alert" },
    h("p", {}, error.message), again ? button("Try again", again) : null);
}

/** An empty list, and what to do about it. */
export function empty(text, ...actions) {
  return h("div", { class: "empty" }, h("p", {}, text), actions);
}

/** A state as a small label: the word says it, the colour only helps. */
export function badge(text, kind = "") {
  return h("span", { class: `badge ${kind}` }, text);
}

/** Heading of a page with its buttons. */
export function heading(text, ...actions) {
  document.title = `${visible(text)} – Tidegate`;
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), h("div", { class: "actions" }, actions));
}

/**
 * Asks in a modal dialog. `build(close)` gives its content; the promise is what `close` was called with, or null
 * where it was dismissed. The focus goes back to where it was.
 */
export function dialog(title, build) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const titleId = uniqueId("dialog");
    const box = h("dialog", { "aria-labelledby": titleId });
    const close = (value) => {
      box.close();
      box.remove();
      before?.focus?.();
      resolve(value ?? null);
    };
    box.addEventListener("cancel", (event) => {
      event.preventDefault();
      close(null);
    });
    append(box, [h("h2", { id: titleId }, title), build(close)]);
    document.body.append(box);
    box.showModal();
  });
}

/** A row of links that are tabs of one page; the current one says so. */
export function tabs(label, entries, current) {
  return h("nav", { class: "tabs", "aria-label": label }, entries.map(([key, text, href]) =>
    h("a", { href, "aria-current": key === current ? "page" : null }, text)));
}

/** Pages of a list: where one is, and the way to its neighbours. */
export function pager({ page, perPage, totalCount }, go) {
  const last = Math.max(0, Math.ceil(totalCount / perPage) - 1);
  const from = totalCount === 0 ? 0 : page * perPage + 1;
  const to = Math.min(totalCount, (page + 1) * perPage);
  const step = (text, label, target, enabled) =>
    button(text, () => go(target), { class: "small", "aria-label": label, disabled: !enabled });
  return h("nav", { class: "pager", "aria-label": "Pages" },
    step("«", "First page", 0, page > 0),
    step("‹", "Previous page", page - 1, page > 0),
    h("span", {}, `${number(from)}–${number(to)} of ${number(totalCount)}`),
    step("›", "Next page", page + 1, page < last),
    step("»", "Last page", last, page < last));
}

/** A table in a box that scrolls by itself on narrow screens, and can be scrolled by keyboard. */
export function table(label, head, rows, look = "") {
  return h("div", { class: `scroll ${look}`.trim(), role: "region", "aria-label": label, tabindex: "0" },
    h("table", {}, h("thead", {}, h("tr", {}, head)), rows));
}

/** A text of code with a button that copies it. */
export function code(label, text) {
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, label), copyButton(() => text, label)),
    h("pre", { tabindex: "0", "aria-label": label }, h("code", {}, text)));
}

/** Texts about the nodes of a cluster that did not answer: what they keep is not in a list. */
export const silentNodes = (nodes) => nodes.map((node) => `node ${node} does not answer: what it keeps is not shown`);

/** Names in the order of people: case and accents after letters, 2 before 10. */
export const NAMES = new Intl.Collator(undefined, { numeric: true, sensitivity: "variant", caseFirst: "upper" });

const INTEGERS = new Intl.NumberFormat("en");

export function number(value) {
  return INTEGERS.format(value);
}

/** Bytes in the unit that fits. */
export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(count % 1024 === 0 ? 0 : 1)} KiB`;
  return `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

/** Milliseconds in the unit that fits. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 1000) return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
  return `${Number((ms / 1000).toFixed(1))} s`;
}

export { moment } from "./time.js";
export { put };
