// Presets: webhooks of known senders. The table is the server's; here it fills the form, and says what to paste where.

import { h } from "./dom.js";
import { copyButton, field, select } from "./ui.js";

/** Random bytes of a secret that is made here. */
const SECRET_BYTES = 32;

/** The choice of a sender; `chosen(preset)` is called with a preset, or null for none. */
export function presetChoice(presets, chosen) {
  const options = [["", "Any sender"], ...presets.map((preset) => [preset.id, preset.name])];
  const input = select(options, "");
  input.addEventListener("change", () => chosen(presets.find((preset) => preset.id === input.value) ?? null));
  return h("div", { class: "card preset" },
    field("Who calls it", input, "A known sender fills in how its calls are verified, and says what to paste where.").element);
}

/** What a preset checks, and what is to be had before the webhook can be made. */
export function presetCard(preset) {
  const needed = preset.secrets.filter((secret) => secret.from === "sender");
  return h("section", { class: "card preset" },
    h("h2", {}, preset.name),
    h("p", {}, preset.checks, " ", h("a", { href: preset.documentation, rel: "noreferrer", target: "_blank" }, "The sender's documentation")),
    preset.limits ? h("p", { class: "help" }, preset.limits) : null,
    needed.length === 0 ? null : h("ul", {}, needed.map((secret) => h("li", {}, `${secret.label}: ${secret.where}`))));
}

/** The fields of a new webhook of this sender. Secrets that are ours to choose are made. */
export function fieldsOf(preset) {
  const fields = { name: preset.id, ...structuredClone(preset.webhook) };
  for (const secret of preset.secrets) {
    const [group, member] = secret.field.split(".");
    const value = secret.from === "you" ? made(secret.form) : "";
    if (member) fields[group] = { ...fields[group], [member]: value };
    else fields[group] = value;
  }
  return fields;
}

function made(form) {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  if (form === "base64") return `whsec_${btoa(String.fromCharCode(...bytes))}`;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What to do at the sender, once the webhook is there. `body` is what was saved, its secrets in clear. */
export function stepsCard(preset, body, url) {
  return h("section", { class: "card" },
    h("h2", {}, `At ${preset.name}`),
    h("p", {}, "The secrets are shown here this once. They can be replaced in the webhook's settings."),
    h("ol", {}, preset.steps.map((step) => {
      const value = valueOf(step.paste, body, url);
      if (value === null) return h("li", {}, step.text);
      return h("li", {}, `${step.text}: `, h("div", { class: "address" }, h("code", {}, value), copyButton(() => value, step.text)));
    })));
}

function valueOf(paste, body, url) {
  if (!paste) return null;
  if (paste === "url") return url ?? "";
  if (paste === "urlWithLogin") {
    const login = [body.basicAuthUsername, body.basicAuthPassword].map(encodeURIComponent).join(":");
    return (url ?? "").replace("://", `://${login}@`);
  }
  const [group, member] = paste.split(".");
  const value = member ? body[group]?.[member] : body[group];
  return [value ?? ""].flat()[0] ?? "";
}

/** The preset that a webhook looks like; null for none. */
export function presetOf(presets, webhook) {
  const fits = ({ webhook: fields }) => {
    if (fields.auth) return webhook.auth?.name === fields.auth.name;
    if (fields.signature) return webhook.signature?.scheme === fields.signature.scheme;
    if (fields.verificationType) return webhook.verificationType === fields.verificationType;
    return webhook.signature === null && webhook.basicAuthUsername === fields.basicAuthUsername;
  };
  return presets.find(fits) ?? null;
}
