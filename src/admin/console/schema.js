// What the server's tables say of the fields that forms show: ranges, words, defaults, and a sentence about each.

import schemas from "./fields.js";
import { number } from "./ui.js";

/** The schema of a field; `limits.windowSeconds` is a member of an object, `variant` the type of one of several. */
export function schemaOf(object, path, variant = null) {
  const schema = schemas[object];
  const own = schema.oneOf?.find((one) => one.properties.type.const === variant) ?? schema;
  const step = (holder, name) => (holder.oneOf?.find((one) => one.properties) ?? holder).properties[name];
  return path.split(".").reduce(step, own);
}

/** The sentence about a field, with its range and its default. */
export function helpOf(schema, labels = {}) {
  const { minimum, maximum, default: fallback } = schema;
  const parts = [schema.description];
  if (minimum !== undefined) parts.push(`${number(minimum)} to ${number(maximum)}.`);
  if (typeof fallback === "boolean") parts.push(fallback ? "On by default." : "Off by default.");
  else if (typeof fallback === "number") parts.push(`${number(fallback)} by default.`);
  else if (fallback) parts.push(`${labels[fallback] ?? fallback} by default.`);
  return parts.filter(Boolean).join(" ");
}

/** Completes the description of a form's field by what the schema says: kind, range, words and help. */
export function described(object, spec) {
  const schema = schemaOf(object, spec.name);
  const of = {
    help: helpOf(schema, spec.labels), least: schema.minimum, most: schema.maximum ?? schema.maxLength,
    fallback: schema.default, kind: schema.type === "boolean" ? "check" : "text",
  };
  if (schema.enum) Object.assign(of, { kind: "select", options: schema.enum.map((word) => [word, spec.labels?.[word] ?? word]) });
  if (schema.type === "integer" || schema.type === "number" || schema.type?.[0] === "number") of.kind = "number";
  return { ...of, ...spec };
}
