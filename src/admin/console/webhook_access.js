// The controls of a webhook's access: each writes one option, which is null where it is off.

import { append, h, put } from "./dom.js";
import { helpOf, schemaOf } from "./schema.js";
import { field, select } from "./ui.js";

const split = (text) => text.split(/[\n,]/).map((part) => part.trim()).filter(Boolean);

/** One value as itself, several as a list. */
const oneOrMore = (text) => {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.length > 1 ? lines : lines[0] ?? "";
};

const AUTHS = [["", "None"], ["header", "A header"], ["query", "A parameter of the query"], ["jwt", "A JSON Web Token"]];
const JWT_KEYS = [["secret", "Shared secret"], ["key", "Public key (PEM)"], ["jwksUrl", "URL of a key set"]];
const ORIGINS = [["", "As the server's setting says"], ["any", "Any origin"], ["none", "No origin"], ["list", "These origins"]];
const SECRETS_HELP = "One a line: any is right, so that they can be changed without a gap. *** stands for one that is kept and never shown. May be templates: {{globals.key}}.";

const help = (path) => helpOf(schemaOf("WebhookPost", path));

/** Makes the control of an option. `value()` is what it is now, `set(value)` changes it. */
export function accessControl(spec, value, set) {
  switch (spec.access) {
    case "list": return list(spec, value, set);
    case "cors": return cors(spec, value, set);
    case "auth": return choice(spec, AUTHS, () => value()?.type ?? "", (type) => set(newAuth(type)), () => authFields(value, set));
    case "deduplicate":
      return choice(spec, [["", "Off"], ["on", "On"]], () => (value() ? "on" : ""),
        (on) => set(on ? { key: "", windowSeconds: schemaOf("WebhookPost", "deduplicate.windowSeconds").default } : null), () => [
          text("Key", value, set, "key", help("deduplicate.key")),
          whole("Window, in seconds", value, set, "windowSeconds", help("deduplicate.windowSeconds")),
        ]);
    default:
      return choice(spec, [["", "{\"success\":true}"], ["own", "Its own"]], () => (value() ? "own" : ""),
        (own) => set(own ? { contentType: "text/plain", body: "" } : null), () => [
          text("Content type", value, set, "contentType", help("responseBody.contentType")),
          area("Body", value, set, "body", help("responseBody.body"), (typed) => typed),
        ]);
  }
}

function newAuth(type) {
  if (type === "") return null;
  return type === "jwt" ? { type, secret: "" } : { type, name: "", value: "" };
}

function authFields(value, set) {
  const now = value();
  const jwt = (name) => helpOf(schemaOf("Auth", name, "jwt"));
  if (now.type !== "jwt") {
    return [
      text("Name", value, set, "name", now.type === "header" ? "Of the header, such as X-Api-Key." : "Of the parameter; it stays out of payloads."),
      area("Value", value, set, "value", SECRETS_HELP, oneOrMore),
    ];
  }
  const kind = JWT_KEYS.map(([key]) => key).find((key) => key in now) ?? "secret";
  const kinds = select(JWT_KEYS, kind);
  const key = h("div", {});
  const draw = () => {
    const shape = kinds.value === "secret" ? oneOrMore : (typed) => typed.trim();
    put(key, area(kinds.options[kinds.selectedIndex].text, value, set, kinds.value, kinds.value === "secret" ? SECRETS_HELP : jwt(kinds.value), shape));
  };
  kinds.addEventListener("change", () => {
    const next = { ...value(), algorithms: undefined };
    for (const [other] of JWT_KEYS) delete next[other];
    set({ ...next, [kinds.value]: "" });
    draw();
  });
  draw();
  const optional = (typed) => (typed.trim() === "" ? undefined : oneOrMore(typed));
  return [
    field("Tokens are verified with", kinds).element, key,
    area("Algorithms", value, set, "algorithms", jwt("algorithms"), (typed) => (split(typed).length > 0 ? split(typed) : undefined)),
    area("Issuer", value, set, "issuer", jwt("issuer"), optional),
    area("Audience", value, set, "audience", jwt("audience"), optional),
    whole("Leeway, in seconds", value, set, "leewaySeconds", jwt("leewaySeconds")),
  ];
}

function list(spec, value, set) {
  const input = h("textarea", { rows: 1, spellcheck: "false", class: "mono", value: (value() ?? []).join("\n") });
  input.addEventListener("input", () => set(split(input.value).length > 0 ? split(input.value) : null));
  return field(spec.label, input, spec.help);
}

function cors(spec, value, set) {
  const now = value();
  const kind = () => (value() === null ? "" : value() === true ? "any" : value() === false ? "none" : "list");
  let origins = Array.isArray(now) ? now : [];
  const change = (word) => set({ "": null, any: true, none: false, list: origins }[word]);
  return choice(spec, ORIGINS, kind, change, () => {
    if (kind() !== "list") return [];
    const input = h("textarea", { rows: 2, spellcheck: "false", class: "mono", value: origins.join("\n") });
    input.addEventListener("input", () => {
      origins = split(input.value);
      set(origins);
    });
    return [field("Origins", input, "One a line, such as https://example.org.").element];
  });
}

/** A select, and below it the fields of what is selected. */
function choice(spec, options, kind, change, fields) {
  const control = select(options, kind());
  const made = field(spec.label, control, spec.help);
  const more = h("div", {});
  const draw = () => {
    put(more);
    if (kind() !== "") append(more, fields());
  };
  control.addEventListener("change", () => {
    change(control.value);
    draw();
  });
  made.element.append(more);
  draw();
  return made;
}

function text(label, value, set, name, help) {
  const input = h("input", { value: value()[name] ?? "", autocomplete: "off" });
  input.addEventListener("input", () => set({ ...value(), [name]: input.value }));
  return field(label, input, help).element;
}

function area(label, value, set, name, help, shape) {
  const shown = [value()[name] ?? ""].flat().join("\n");
  const input = h("textarea", { rows: 2, spellcheck: "false", class: "mono", value: shown });
  input.addEventListener("input", () => set({ ...value(), [name]: shape(input.value) }));
  return field(label, input, help).element;
}

function whole(label, value, set, name, help) {
  const input = h("input", { inputmode: "numeric", autocomplete: "off", value: value()[name] ?? "" });
  input.addEventListener("input", () => {
    const typed = input.value.trim();
    set({ ...value(), [name]: typed === "" ? undefined : /^\d+$/.test(typed) ? Number(typed) : typed });
  });
  return field(label, input, help).element;
}
