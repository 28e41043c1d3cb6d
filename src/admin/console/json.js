// JSON as one types: what is wrong with it and where, told beneath the text; and JSON to be looked at.

import { h, put } from "./dom.js";
import { jsonError } from "./json_error.js";
import { button, field } from "./ui.js";

/** Characters of a value that are shown at once: a payload may be megabytes, and a page of that is no help. */
const SHOWN_CHARACTERS_MAX = 200_000;

/**
 * A text area for JSON. `value()` is the parsed value, or undefined while it is not valid; the text's error is shown
 * as one types, and a button leads to its place. Where `optional`, an empty text is fine and its value is null.
 */
export function jsonField(label, text, { help, optional = false, rows = 10, oninput = () => {} } = {}) {
  const area = h("textarea", { class: "mono", rows, spellcheck: "false", autocapitalize: "off" });
  area.value = text;
  const made = field(label, area, help);
  const where = h("div", { class: "where" });
  made.element.append(where);
  const check = () => {
    if (optional && area.value.trim() === "") {
      made.error(null);
      put(where);
      return true;
    }
    const error = jsonError(area.value);
    made.error(error ? `Line ${error.line}, column ${error.column}: ${error.message}` : null);
    put(where, error ? button("Go to the place", () => select(area, error.position), { class: "linkish" }) : null);
    return error === null;
  };
  area.addEventListener("input", () => {
    check();
    oninput();
  });
  keepIndent(area);
  return {
    ...made,
    check,
    value() {
      if (optional && area.value.trim() === "") return null;
      return check() ? JSON.parse(area.value) : undefined;
    },
    /** Shows a fault that the server found, at the value that its path names: `nodes[0].config.url`. */
    fault(path, message) {
      made.error(message);
      const position = path ? placeOf(area.value, path) : null;
      put(where, position === null ? null : button("Go to the place", () => select(area, position), { class: "linkish" }));
      if (position !== null) select(area, position);
    },
  };
}

/** Enter keeps the indent of the line; Tab stays what it is, the way to the next field. */
function keepIndent(area) {
  area.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey) return;
    const indent = /[ ]*$/.exec(/(^|\n)( *)[^\n]*$/.exec(area.value.slice(0, area.selectionStart))?.[2] ?? "")[0];
    if (indent === "") return;
    event.preventDefault();
    area.setRangeText(`\n${indent}`, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input"));
  });
}

function select(area, position) {
  area.focus();
  const end = area.value.indexOf("\n", position);
  area.setSelectionRange(position, end < 0 ? area.value.length : end);
  // A text area scrolls to its selection only as it is typed in: lines are counted instead.
  const line = area.value.slice(0, position).split("\n").length;
  area.scrollTop = Math.max(0, (line - 3) * 18);
}

/**
 * Where the value of a path (`nodes[0].config.url`) begins in a valid JSON text; of the longest part of the path that
 * is there. Null for a text that cannot be read.
 */
export function placeOf(text, path) {
  const keys = path.split(/[.[\]]+/).filter(Boolean).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  let at = skip(text, 0);
  let found = at;
  for (const key of keys) {
    const place = member(text, at, key);
    if (place === null) return found;
    found = place.start;
    at = place.value;
  }
  return found;
}

/** Where a member of the object, or an element of the array, that begins here stands: with its key, and its value. */
function member(text, at, key) {
  const open = text[at];
  if (open !== "{" && open !== "[") return null;
  let cursor = skip(text, at + 1);
  for (let index = 0; cursor < text.length && text[cursor] !== "}" && text[cursor] !== "]"; index += 1) {
    const start = cursor;
    let name = index;
    if (open === "{") {
      const end = endOf(text, cursor);
      name = JSON.parse(text.slice(cursor, end));
      cursor = skip(text, skip(text, end) + 1);
    }
    if (name === key) return { start, value: cursor };
    cursor = skip(text, endOf(text, cursor));
    if (text[cursor] === ",") cursor = skip(text, cursor + 1);
  }
  return null;
}

function skip(text, at) {
  while (at < text.length && " \t\r\n".includes(text[at])) at += 1;
  return at;
}

/** Behind the value that begins here. */
function endOf(text, at) {
  if (text[at] === "\"") {
    let end = at + 1;
    while (end < text.length && text[end] !== "\"") end += text[end] === "\\" ? 2 : 1;
    return end + 1;
  }
  if (text[at] !== "{" && text[at] !== "[") {
    let end = at;
    while (end < text.length && !",]} \t\r\n".includes(text[end])) end += 1;
    return Math.max(end, at + 1);
  }
  let depth = 0;
  let end = at;
  while (end < text.length) {
    const sign = text[end];
    if (sign === "\"") {
      end = endOf(text, end);
      continue;
    }
    if (sign === "{" || sign === "[") depth += 1;
    if (sign === "}" || sign === "]") depth -= 1;
    end += 1;
    if (depth === 0) break;
  }
  return end;
}

/** The text of the value at a path, as it stands in a valid JSON text; null where there is none. */
export function textAt(text, ...keys) {
  let at = skip(text, 0);
  for (const key of keys) {
    at = member(text, at, key)?.value ?? -1;
    if (at < 0) return null;
  }
  return text.slice(at, endOf(text, at));
}

/** The texts of an array's elements. */
export function elements(text) {
  const found = [];
  for (let index = 0; ; index += 1) {
    const place = member(text, skip(text, 0), index);
    if (place === null) return found;
    found.push(text.slice(place.value, endOf(text, place.value)));
  }
}

/** A valid JSON text, indented, its numbers and escapes as they came; cut where it is too long to look at. */
export function pretty(text) {
  let out = "";
  let indent = "";
  let at = skip(text, 0);
  while (at < text.length && out.length <= SHOWN_CHARACTERS_MAX) {
    const sign = text[at];
    const next = skip(text, at + 1);
    if (sign === "{" || sign === "[") {
      const isEmpty = text[next] === "}" || text[next] === "]";
      if (isEmpty) {
        out += sign + text[next];
        at = skip(text, next + 1);
        continue;
      }
      indent += "  ";
      out += `${sign}\n${indent}`;
      at = next;
    } else if (sign === "}" || sign === "]") {
      indent = indent.slice(2);
      out += `\n${indent}${sign}`;
      at = next;
    } else if (sign === ",") {
      out += `,\n${indent}`;
      at = next;
    } else if (sign === ":") {
      out += ": ";
      at = next;
    } else {
      const end = endOf(text, at);
      out += text.slice(at, end);
      at = skip(text, end);
    }
  }
  return at < text.length ? `${out}\n… and ${text.length - at} characters more` : out;
}
