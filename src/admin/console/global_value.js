// The value of a global as its type has it: a text without quotes, a number, yes or no, or any JSON.

import { h, put } from "./dom.js";
import { jsonError } from "./json_error.js";
import { button, select } from "./ui.js";

const TYPES = [["text", "Text"], ["number", "Number"], ["boolean", "True or false"], ["json", "JSON"]];
const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
/** Keys whose values are not shown until somebody asks. */
const SECRET = /secret|token|passw|credential|api.?key|private/i;

/** The type of a value, by its JSON. */
export function typeOf(json) {
  if (NUMBER.test(json.trim())) return "number";
  if (jsonError(json) !== null) return "json";
  const value = JSON.parse(json);
  return typeof value === "string" ? "text" : typeof value === "boolean" ? "boolean" : "json";
}

/**
 * The control of a value, with the choice of its type before it. `label` names it; `set(json)` is told of each change. The
 * answer has `type`, `value` (the elements) and `error()`, what is wrong with it, or null.
 */
export function valueControl({ label, key, json, set }) {
  let text = json;
  let type = typeOf(json);
  let isMasked = SECRET.test(key);
  const value = h("div", { class: "global-value" });
  const kinds = select(TYPES, type, { "aria-label": `Type of ${label}`, onchange: () => {
    const before = type;
    type = kinds.value;
    if (type === "text") change(JSON.stringify(before === "text" ? JSON.parse(text) : text));
    else if (type === "number") change(NUMBER.test(plain()) ? plain() : "0");
    else if (type === "boolean") change(text === "true" ? "true" : "false");
    draw();
  } });
  const plain = () => (jsonError(text) === null && typeof JSON.parse(text) === "string" ? JSON.parse(text) : text);
  const change = (next) => {
    text = next;
    set(next);
  };
  const draw = () => {
    const name = `Value of ${label}`;
    if (type === "boolean") {
      return put(value, select([["true", "true"], ["false", "false"]], text, { "aria-label": name, onchange: (event) => change(event.target.value) }));
    }
    if (type === "json" && !isMasked) {
      const area = h("textarea", { class: "mono", rows: Math.min(8, Math.max(1, text.split("\n").length)), "aria-label": name, spellcheck: "false" });
      area.value = text;
      area.addEventListener("input", () => change(area.value));
      return put(value, area);
    }
    const input = h("input", { type: isMasked ? "password" : "text", inputmode: type === "number" ? "decimal" : null, value: type === "text" ? plain() : text, "aria-label": name, autocomplete: isMasked ? "new-password" : "off", spellcheck: "false", class: "mono" });
    input.addEventListener("input", () => change(type === "text" ? JSON.stringify(input.value) : input.value.trim()));
    const mask = type === "number" || !SECRET.test(key) ? null : button(isMasked ? "Show" : "Hide", () => {
      isMasked = !isMasked;
      draw();
    }, { class: "small", "aria-label": `${isMasked ? "Show" : "Hide"} the value of ${label}` });
    return put(value, input, mask);
  };
  draw();
  return {
    type: kinds, value,
    error() {
      if (type === "number" && !NUMBER.test(text)) return "It must be a number, such as 12.5.";
      const error = jsonError(text);
      return error ? `Line ${error.line}, column ${error.column}: ${error.message}.` : null;
    },
  };
}
