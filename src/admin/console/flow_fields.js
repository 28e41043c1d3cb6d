// The forms of the nodes: a field for each member of a node's config, with what its template makes of a call beneath it.

import { h, put } from "./dom.js";
import { described } from "./schema.js";
import { button, field, select } from "./ui.js";

const asString = () => "string";
const asText = () => "text";

/**
 * For each type: its fields in order. `kind` is the control where the schema does not say, `preview` the way in which the
 * text is rendered, `more` what stands behind a fold.
 */
const FIELDS = {
  WebhookReplyNode: [
    { name: "bodyTemplateType", label: "Body is", labels: { string: "a template", path: "a payload path" } },
    { name: "bodyTemplate", label: "Body", kind: "area", preview: (config) => config.bodyTemplateType ?? "string" },
    { name: "responseCodeTemplate", label: "Response code", preview: asString, when: (config) => !config.isWebsocketMessage },
    { name: "headerInfo", label: "Headers", kind: "replyHeaders", when: (config) => !config.isWebsocketMessage },
    { name: "isWebsocketMessage", label: "Answers a WebSocket" },
    { name: "encodingTemplate", label: "Encoding", preview: asString, more: true },
    { name: "replyIdPath", label: "Path of the replyId", preview: () => "path", more: true },
  ],
  ConditionalNode: [{ name: "expression", label: "Expression", kind: "area", rows: 2, preview: () => "condition" }],
  HttpForwardNode: [
    { name: "url", label: "URL", preview: asText },
    { name: "method", label: "Method" },
    { name: "body", label: "Body", kind: "forwardBody", preview: (config) => (["payload", "raw", undefined].includes(config.body) ? null : "text") },
    { name: "headers", label: "Headers", kind: "headers" },
    { name: "secret", label: "Secret", kind: "password" },
    { name: "timeoutSeconds", label: "Time-out, in seconds", more: true },
    { name: "retry.attempts", label: "Attempts", more: true },
    { name: "retry.backoffSeconds", label: "First pause, in seconds", more: true },
    { name: "maxInFlight", label: "At a time", more: true },
    { name: "requestsPerSecond", label: "Requests a second", more: true },
    { name: "ordered", label: "In order", more: true },
    { name: "orderKey", label: "Key of the order", preview: asText, more: true, when: (config) => config.ordered },
  ],
  WorkerNode: [{ name: "ackTimeoutSeconds", label: "Time for an ack, in seconds" }, { name: "maxInFlight", label: "At a time" }],
  NatsNode: [
    { name: "subject", label: "Subject", preview: asText },
    { name: "stream", label: "Stream" },
    { name: "headers", label: "Headers", kind: "headers" },
  ],
  DebugNode: [{ name: "message", label: "Message", kind: "area", rows: 3, preview: asText }],
  AnnotationNode: [{ name: "text", label: "Text", kind: "area", rows: 3 }],
};

/**
 * The fields of a node. `set(name, value)` changes a member of its config (undefined takes it out); `preview` shows what
 * templates render. The answer has `element`, and `show(errors)` for errors by their paths below the node.
 */
export function nodeFields(node, set, preview) {
  const config = () => node().config ?? {};
  const { type } = node();
  // A note has fields of its own, which the server keeps and does not read.
  const specs = (FIELDS[type] ?? []).map((spec) => (type === "AnnotationNode" ? spec : described(`${type}Config`, spec)));
  const made = specs.map((spec) => ({ spec, ...control(spec, config, set, preview, () => settle()) }));
  const settle = () => {
    for (const one of made) one.element.hidden = one.spec.when ? !one.spec.when(config()) : false;
  };
  settle();
  const rest = made.filter((one) => one.spec.more);
  const fold = rest.length > 0 ? h("details", { class: "more" }, h("summary", {}, "More"), rest.map((one) => one.element)) : null;
  if (fold) fold.open = rest.some((one) => read(config(), one.spec.name) !== undefined);
  const element = h("div", {}, made.filter((one) => !one.spec.more).map((one) => one.element), fold);
  const show = (errors) => {
    for (const one of made) {
      const found = errors.find(({ path }) => path === `config.${one.spec.name}` || path.startsWith(`config.${one.spec.name}.`) || path.startsWith(`config.${one.spec.name}[`));
      one.error(found ? sentence(found) : null);
      if (found && one.spec.more) fold.open = true;
    }
  };
  return { element, show, focus: () => element.querySelector("input, textarea, select")?.focus() };
}

function sentence({ message }) {
  return /^must/.test(message) ? `It ${message}.` : message;
}

/** A member of a config, by a path of at most two names. */
export function read(config, name) {
  return name.split(".").reduce((value, key) => value?.[key], config);
}

/** Sets a member, or takes it out. An object that is left empty goes, too. */
export function write(config, name, value) {
  const [group, member] = name.split(".");
  if (member) {
    config[group] = { ...config[group] };
    if (value === undefined) delete config[group][member];
    else config[group][member] = value;
    if (Object.keys(config[group]).length === 0) delete config[group];
  } else if (value === undefined) delete config[group];
  else config[group] = value;
}

function control(spec, config, set, preview, settle) {
  const value = read(config(), spec.name);
  const change = (next) => {
    set(spec.name, next);
    settle();
  };
  switch (spec.kind) {
    case "check": {
      const made = field(spec.label, h("input", { type: "checkbox", checked: value === true }), spec.help);
      made.control.addEventListener("change", () => change(made.control.checked ? true : undefined));
      return made;
    }
    case "select": {
      const made = field(spec.label, select(spec.options, value ?? spec.fallback), spec.help);
      made.control.addEventListener("change", () => change(made.control.value));
      return made;
    }
    case "number": {
      const made = field(spec.label, h("input", { inputmode: "decimal", autocomplete: "off", value: value ?? "" }), spec.help);
      made.control.addEventListener("input", () => {
        const text = made.control.value.trim();
        change(text === "" ? undefined : Number.isFinite(Number(text)) ? Number(text) : text);
      });
      return made;
    }
    case "forwardBody": return forwardBody(spec, config, change, preview);
    case "headers": return headers(spec, config, change, preview, (config()[spec.name] ? Object.entries(config()[spec.name]) : []),
      (rows) => (rows.length > 0 ? Object.fromEntries(rows) : undefined), "text");
    case "replyHeaders": return headers(spec, config, change, preview, (config()[spec.name] ?? []).map((one) => [one.keyTemplate ?? "", one.valueTemplate ?? ""]),
      (rows) => (rows.length > 0 ? rows.map(([keyTemplate, valueTemplate]) => ({ keyTemplate, valueTemplate })) : undefined), "string");
    default: return text(spec, config, change, preview, value);
  }
}

function text(spec, config, change, preview, value) {
  const isArea = spec.kind === "area";
  const control = isArea
    ? h("textarea", { class: "mono", rows: spec.rows ?? 6, spellcheck: "false" })
    : h("input", { type: spec.kind === "password" ? "password" : "text", autocomplete: spec.kind === "password" ? "new-password" : "off", spellcheck: "false", class: spec.preview ? "mono" : null });
  const shown = spec.kind === "password" && Array.isArray(value) ? value.join(" ") : value ?? "";
  control.value = String(shown);
  const made = field(spec.label, control, spec.help);
  control.addEventListener("input", () => {
    const parts = control.value.split(/\s+/).filter(Boolean);
    const next = spec.kind === "password" && parts.length > 1 ? parts : control.value;
    change(control.value === "" ? undefined : next);
  });
  if (spec.preview) preview.watch(made, () => ({ template: control.value, type: spec.preview(config()) }));
  return made;
}

/** The body of a forward: the payload, the caller's, or a template. */
function forwardBody(spec, config, change, preview) {
  const kinds = [["payload", "the payload, as JSON"], ["raw", "the caller's body, as it came"], ["", "a template"]];
  const now = config().body ?? "payload";
  const kind = select(kinds, ["payload", "raw"].includes(now) ? now : "");
  const made = field(spec.label, kind, null);
  const more = h("div", {});
  const draw = () => {
    put(more);
    if (kind.value !== "") return;
    const current = config().body;
    const area = text({ ...spec, label: "Template of the body", kind: "area", rows: 5 }, config, change, preview, ["payload", "raw"].includes(current) ? "" : current);
    more.append(area.element);
  };
  kind.addEventListener("change", () => {
    change(kind.value === "payload" ? undefined : kind.value === "raw" ? "raw" : "{{jsonEncode data.body}}");
    draw();
  });
  made.element.append(more);
  draw();
  return made;
}

/** Pairs of a name and a template. */
function headers(spec, config, change, preview, rows, pack, type) {
  const list = h("div", {});
  const said = h("p", { class: "error", hidden: true });
  const changed = () => change(pack(rows.filter(([name, value]) => name !== "" || value !== "")));
  const draw = () => put(list, rows.map((row, index) => {
    const part = (at, label) => {
      const input = h("input", { value: row[at], "aria-label": `${label} of header ${index + 1}`, placeholder: label, autocomplete: "off", spellcheck: "false", class: "mono" });
      input.addEventListener("input", () => {
        row[at] = input.value;
        changed();
      });
      return input;
    };
    const value = part(1, "Value");
    const line = h("div", { class: "pair" }, part(0, "Name"), value, button("Remove", () => {
      rows.splice(index, 1);
      changed();
      draw();
    }, { class: "small", "aria-label": `Remove header ${index + 1}` }));
    const box = h("div", {}, line);
    preview.watch({ element: box, control: value, error: () => {} }, () => ({ template: row[1], type }));
    return box;
  }));
  draw();
  const element = h("fieldset", { class: "field" }, h("legend", { class: "minor" }, spec.label), list, said,
    h("div", {}, button("Add a header", () => {
      rows.push(["", ""]);
      draw();
      list.lastElementChild.querySelector("input").focus();
    }, { class: "small" })));
  const error = (message) => {
    said.hidden = !message;
    put(said, message ?? "");
  };
  return { element, control: element, error };
}
