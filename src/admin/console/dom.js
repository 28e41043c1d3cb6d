// Elements from calls. Text is only ever text: nothing here turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

/** Attributes that are read by people. */
const TEXT_ATTRIBUTES = ["alt", "aria-label", "placeholder", "title"];

/**
 * Control characters (C0 but for tabs and line ends, DEL, C1), characters of direction (Unicode's UAX #9, section 2),
 * separators of lines and paragraphs, and the byte order mark: the same as on the command line (base/visible.rs).
 */
const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\r(?!\n)/g;

/** A text with escapes in place of what cannot be seen, or would change the order in which the rest is shown. */
export function visible(text) {
  return String(text).replace(INVISIBLE, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Makes an element. `properties`: `class`, `on…` listeners, `hidden`/`disabled`/… as booleans, anything else as an
 * attribute; what is null or false is left out. Children are nodes, texts, or lists of them; null is left out.
 */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for a drawing. */
export function s(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" && "value" in element) element.value = value;
    else if (name === "checked") element.checked = value;
    else if (TEXT_ATTRIBUTES.includes(name)) element.setAttribute(name, visible(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Appends nodes and texts, lists of them flattened. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}

/** Replaces what is in an element. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

let counter = 0;

/** An id that no other element of the page has. */
export function uniqueId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}
