// The forms of the nodes: a field for each member of a node's config, with what its template makes of a call beneath it.

import { h, put } from "./dom.js";
import { button, field, select } from "./ui.js";

const METHODS = ["POST", "PUT", "PATCH", "DELETE", "GET"].map((method) => [method, method]);

/**
 * For each type: its fields in order. `kind` is the control, `preview` the way in which the text is rendered, `more`
 * what stands behind a fold.
 */
const FIELDS = {
  WebhookReplyNode: [
    { name: "bodyTemplateType", label: "Body is", kind: "select", options: [["string", "a template"], ["path", "a payload path"]], fallback: "string", help: "An object at a path is sent as JSON." },
    { name: "bodyTemplate", label: "Body", kind: "area", preview: (config) => config.bodyTemplateType ?? "string", help: "{{x}} is escaped for HTML, {{{x}}} is not, {{jsonEncode x}} is JSON." },
    { name: "responseCodeTemplate", label: "Response code", kind: "text", preview: () => "string", when: (config) => !config.isWebsocketMessage, help: "A template, such as 201. Empty: the webhook's own." },
    { name: "headerInfo", label: "Headers", kind: "replyHeaders", when: (config) => !config.isWebsocketMessage },
    { name: "isWebsocketMessage", label: "Answers a WebSocket", kind: "check", help: "Sends a message to the connection instead of a response." },
    { name: "encodingTemplate", label: "Encoding", kind: "text", preview: () => "string", more: true, help: "How the text becomes bytes: utf8, base64, hex, binary. Empty: utf8." },
    { name: "replyIdPath", label: "Path of the replyId", kind: "text", preview: () => "path", more: true, help: "Whom it answers. Empty: data.replyId, the caller." },
  ],
  ConditionalNode: [
    { name: "expression", label: "Expression", kind: "area", rows: 2, preview: () => "condition", help: "Payload paths in {{ }}, == === != < > && || ! and arithmetic, as in JavaScript." },
  ],
  HttpForwardNode: [
    { name: "url", label: "URL", kind: "text", preview: () => "text", help: "A template; the host stands in the text. A 2xx is done, anything else is tried again." },
    { name: "method", label: "Method", kind: "select", options: METHODS, fallback: "POST" },
    { name: "body", label: "Body", kind: "forwardBody", preview: (config) => (["payload", "raw", undefined].includes(config.body) ? null : "text") },
    { name: "headers", label: "Headers", kind: "headers" },
    { name: "secret", label: "Secret", kind: "password", help: "Signs each request as Standard Webhooks says. *** is one that is kept and not shown." },
    { name: "timeoutSeconds", label: "Time-out, in seconds", kind: "number", more: true, help: "Of one attempt; 30 by default." },
    { name: "retry.attempts", label: "Attempts", kind: "number", more: true, help: "In all. Empty: until the retention ends." },
    { name: "retry.backoffSeconds", label: "First pause, in seconds", kind: "number", more: true, help: "Doubled each time, up to 300. 1 by default." },
    { name: "maxInFlight", label: "At a time", kind: "number", more: true, help: "Requests under way; 100 by default." },
    { name: "requestsPerSecond", label: "Requests a second", kind: "number", more: true, help: "Empty: no limit." },
    { name: "ordered", label: "In order", kind: "check", more: true, help: "One at a time for each key." },
    { name: "orderKey", label: "Key of the order", kind: "text", preview: () => "text", more: true, when: (config) => config.ordered, help: "A template. Empty: one order for all." },
  ],
  WorkerNode: [
    { name: "ackTimeoutSeconds", label: "Time for an ack, in seconds", kind: "number", help: "Then another worker gets it; 30 by default." },
    { name: "maxInFlight", label: "At a time", kind: "number", help: "That one worker holds; 1,000 by default." },
  ],
  NatsNode: [
    { name: "subject", label: "Subject", kind: "text", preview: () => "text", help: "A template; tidegate.<applicationId>.<webhookId> by default." },
    { name: "stream", label: "Stream", kind: "text", help: "Of JetStream. Empty: whichever takes the subject." },
    { name: "headers", label: "Headers", kind: "headers" },
  ],
  DebugNode: [
    { name: "message", label: "Message", kind: "area", rows: 3, preview: () => "text", help: "A template. It is in the log where that shows debug." },
  ],
  AnnotationNode: [{ name: "text", label: "Text", kind: "area", rows: 3 }],
};

/**
 * The fields of a node. `set(name, value)` changes a member of its config (undefined takes it out); `preview` shows what
 * templates render. The answer has `element`, and `show(errors)` for errors by their paths below the node.
 */
export function nodeFields(node, set, preview) {
  const config = () => node().config ?? {};
  const specs = FIELDS[node().type] ?? [];
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
