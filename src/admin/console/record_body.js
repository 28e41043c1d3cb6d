// A body as it was sent: pretty where it is JSON, as text, or as bytes.

import { h, put } from "./dom.js";
import { pretty } from "./json.js";
import { jsonError } from "./json_error.js";
import { button, bytes, copyButton } from "./ui.js";

/** Bytes of a dump: more is no help. */
const DUMP_BYTES_MAX = 4_096;
const DUMP_ROW = 16;
/** Characters that are shown of a text. */
const SHOWN_CHARACTERS_MAX = 200_000;

/** The bytes of a body of a record. */
function bytesOf(body) {
  if (body === null || body === undefined) return new Uint8Array();
  if (body.base64 === null || body.base64 === undefined) return new TextEncoder().encode(body.text ?? "");
  return Uint8Array.from(atob(body.base64), (one) => one.charCodeAt(0));
}

/** A body in the way that is chosen. `label` names it, for people and screen readers. */
export function bodyView(label, body) {
  if (!body || body.bytes === 0) return h("p", { class: "quiet" }, `${label}: none.`);
  const isJson = typeof body.text === "string" && jsonError(body.text) === null;
  const ways = [isJson ? "Pretty" : null, typeof body.text === "string" ? "Raw" : null, "Hex"].filter(Boolean);
  const text = h("code", {});
  const bar = h("div", { class: "actions ways", role: "group", "aria-label": `${label} as` });
  const show = (way) => {
    put(text, way === "Pretty" ? pretty(body.text) : way === "Raw" ? body.text.slice(0, SHOWN_CHARACTERS_MAX) : dump(bytesOf(body)));
    put(bar, ways.map((one) => button(one, () => show(one), { class: "small way", "aria-pressed": String(one === way) })), copyButton(() => text.textContent, label));
  };
  show(ways[0]);
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", {}, `${label}, ${bytes(body.bytes)}${body.isWhole === false ? ", of which the beginning is kept" : ""}`), bar),
    h("pre", { tabindex: "0", "aria-label": label }, text));
}

/** Offsets, bytes in hex, and what of them is ASCII. */
function dump(all) {
  const rows = [];
  for (let at = 0; at < Math.min(all.length, DUMP_BYTES_MAX); at += DUMP_ROW) {
    const row = [...all.slice(at, at + DUMP_ROW)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(DUMP_ROW * 3 - 1);
    const plain = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${hex}  ${plain}`);
  }
  if (all.length > DUMP_BYTES_MAX) rows.push(`… and ${all.length - DUMP_BYTES_MAX} bytes more`);
  return rows.join("\n");
}
