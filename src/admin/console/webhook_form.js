// The form of a webhook: to add one with a name alone, or to edit one. What is typed is kept as a draft until it is saved.

import { ApiError, ask, paths, settings } from "./api.js";
import { append, h, put } from "./dom.js";
import { described } from "./schema.js";
import { drafts } from "./store.js";
import { button, field, notice, number, select } from "./ui.js";
import { accessControl } from "./webhook_access.js";
import { DEFAULTS, SECTIONS, SIGNATURE_SCHEMES, limitText } from "./webhook_fields.js";

/** What stands for a secret that is kept and not shown. */
const KEPT = "***";

/**
 * Shows the form. `webhook` is null for a new one, whose first values `preset` gives; `saved(webhook, body)` is called
 * with what the server made of the body.
 */
export async function webhookForm({ app, webhook, target, saved, cancel, preset = null }) {
  const about = await settings();
  const draftName = webhook ? `webhook.${webhook.id}` : `webhook.new.${app}`;
  const draft = drafts.read(draftName);
  const values = { ...structuredClone(DEFAULTS), ...structuredClone(webhook ?? preset ?? {}), ...draft };
  values.limits = { ...values.limits };
  const fields = new Map();
  const said = h("p", { class: "error", role: "alert" });

  const changed = () => {
    drafts.keep(draftName, writable(values, webhook));
    settle();
  };
  const settle = () => {
    for (const { spec, made } of fields.values()) {
      made.element.hidden = spec.when ? !spec.when(values) : false;
      if (spec.fixed) fix(spec, made, values);
    }
  };
  const sections = SECTIONS.map((section) => {
    const made = section.fields.filter((spec) => !(spec.creationOnly && webhook)).map((spec) => {
      const one = control(spec, values, about, changed);
      fields.set(spec.name, { spec, made: one });
      return one.element;
    });
    const note = section.note ? h("p", { class: "help" }, section.note) : null;
    const isOpen = section.open || Boolean(webhook ?? preset) || draft !== null;
    return h("details", { class: "card section", open: isOpen },
      h("summary", {}, section.title), note, section.title === "General" ? made : h("div", { class: "fields" }, made));
  });
  const save = h("button", { type: "submit", class: "primary" }, webhook ? "Save" : "Add Webhook");
  const submit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    for (const { made } of fields.values()) made.error(null);
    const wrong = check(fields);
    save.disabled = true;
    try {
      // All that is wrong is marked at once: what the page can tell, and templates that the server cannot read.
      wrong.push(...await brokenTemplates(fields, values));
      if (wrong.length > 0) return showAll(wrong);
      const body = writable(values, webhook);
      const path = webhook ? paths.webhook(app, webhook.id) : paths.webhooks(app);
      const kept = await ask(path, { method: webhook ? "PATCH" : "POST", body });
      drafts.forget(draftName);
      notice(webhook ? "Saved. It is served as it is shown." : `“${kept.name}” is there and can be called.`);
      saved(kept, body);
    } catch (error) {
      refused(error);
    } finally {
      save.disabled = false;
    }
  };
  const refused = (error) => {
    if (!(error instanceof ApiError)) throw error;
    const name = error.field;
    const key = name && [...fields.keys()].find((known) => name === known || name.startsWith(`${known}.`));
    if (!key) {
      put(said, error.message);
      return;
    }
    const member = name === key ? "It " : `Its ${name.slice(key.length + 1)} `;
    showAll([{ made: fields.get(key).made, message: error.message.replace(`\`${name}\` `, member) }]);
  };
  const showAll = (wrong) => {
    for (const { made, message } of wrong) {
      made.error(message);
      made.element.closest("details").open = true;
    }
    if (wrong.length > 1) put(said, `${wrong.length} fields are not right; they are marked.`);
    wrong[0].made.control.focus();
  };
  const discard = draft === null ? null : h("p", { class: "help" }, "This is a draft that you did not save. ",
    button("Discard it", () => {
      drafts.forget(draftName);
      webhookForm({ app, webhook, target, saved, cancel, preset });
    }, { class: "linkish" }));
  put(target, h("form", { class: "sections", onsubmit: submit, novalidate: true }, discard, sections, said,
    h("div", { class: "actions end" }, cancel ? button("Cancel", () => {
      drafts.forget(draftName);
      cancel();
    }) : null, save)));
  settle();
  if (!webhook) fields.get("name").made.control.focus();
}

/** The input for one field; it writes into `values` as one types. */
function control(spec, values, about, changed) {
  const [group, member] = spec.name.split(".");
  const holder = member ? values[group] : values;
  const key = member ?? group;
  const set = (value) => {
    holder[key] = value;
    changed();
  };
  switch (spec.kind) {
    case "check": {
      const input = h("input", { type: "checkbox", checked: holder[key] });
      input.addEventListener("change", () => set(input.checked));
      return field(spec.label, input, spec.help);
    }
    case "select": {
      const input = select(spec.options, holder[key]);
      input.addEventListener("change", () => set(input.value));
      return field(spec.label, input, spec.help);
    }
    case "number":
    case "limit": {
      const isLimit = spec.kind === "limit";
      const input = h("input", { inputmode: "numeric", autocomplete: "off", value: holder[key] ?? "",
        placeholder: isLimit ? limitText(spec.limit, about.limits[spec.limit]) : null });
      input.addEventListener("input", () => {
        const text = input.value.trim();
        if (text === "") set(isLimit ? null : "");
        else set(/^\d+$/.test(text) ? Number(text) : text);
      });
      return field(spec.label, input, spec.help);
    }
    case "area": {
      const input = h("textarea", { rows: 2, maxlength: spec.most, value: holder[key] });
      input.addEventListener("input", () => set(input.value));
      return field(spec.label, input, spec.help);
    }
    case "signature":
      return signature(spec, values, set);
    case "access":
      return accessControl(spec, () => holder[key], set);
    default: {
      const input = h("input", { type: spec.kind, maxlength: spec.most, required: spec.required, autocomplete: spec.kind === "password" ? "new-password" : "off", value: holder[key] });
      input.addEventListener("input", () => set(input.value));
      return field(spec.label, input, spec.help);
    }
  }
}

/** Shows the value that another field prescribes, which cannot be typed then, and why. What is stored stays. */
function fix(spec, made, values) {
  const fixed = spec.fixed(values);
  if (!fixed && !made.control.disabled) return;
  made.control.disabled = Boolean(fixed);
  made.control.value = fixed ? fixed.value : values[spec.name];
  made.element.querySelector(".help").textContent = fixed ? fixed.why : spec.help;
}

/** The scheme, and what it needs: a secret or several, and for one's own HMAC where it stands and how it is written. */
function signature(spec, values, set) {
  const now = () => values.signature;
  const scheme = select(SIGNATURE_SCHEMES, now()?.scheme ?? "");
  const made = field(spec.label, scheme, spec.help);
  const more = h("div", {});
  const part = (name, label, labels) => {
    const { options, fallback, help } = described("Signature", { name, labels });
    const input = options ? select(options, now()[name] ?? fallback) : h("input", { value: now()[name] ?? "", autocomplete: "off" });
    input.addEventListener("input", () => set({ ...now(), [name]: input.value || undefined }));
    return field(label, input, help).element;
  };
  const draw = () => {
    put(more);
    if (!now()) return;
    const secret = h("textarea", { rows: 2, spellcheck: "false", class: "mono" });
    secret.value = [now().secret ?? ""].flat().join("\n");
    secret.addEventListener("input", () => {
      const lines = secret.value.split("\n").map((line) => line.trim()).filter(Boolean);
      set({ ...now(), secret: lines.length > 1 ? lines : lines[0] ?? "" });
    });
    append(more, [field("Secret", secret, `One a line: any may match, so that secrets can be changed without a gap. ${KEPT} stands for one that is kept and never shown.`).element]);
    if (now().scheme !== "hmac" && now().scheme !== "ed25519") return;
    append(more, [
      part("header", "Header"),
      now().scheme === "hmac" ? part("algorithm", "Algorithm", { sha1: "SHA-1", sha256: "SHA-256", sha512: "SHA-512" }) : null,
      part("encoding", "Written as"),
      part("prefix", "Prefix"),
      part("separator", "Separator"),
      part("timestampHeader", "Timestamp header"),
      part("signed", "What is signed"),
    ].filter(Boolean));
  };
  scheme.addEventListener("change", () => {
    set(scheme.value === "" ? null : { scheme: scheme.value, secret: now()?.secret ?? "" });
    draw();
  });
  made.element.append(more);
  draw();
  return made;
}

/** The fields that cannot be right, without asking the server. */
function check(fields) {
  const wrong = [];
  for (const { spec, made } of fields.values()) {
    const text = made.control.value;
    if (made.element.hidden || made.control.disabled) continue;
    if (spec.required && text.trim() === "") wrong.push({ made, message: "It needs a name; that is all it needs." });
    const isNumber = spec.kind === "number" || (spec.kind === "limit" && text.trim() !== "");
    if (!isNumber) continue;
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || value < spec.least || value > spec.most) {
      wrong.push({ made, message: `It must be a whole number from ${number(spec.least)} to ${number(spec.most)}.` });
    }
  }
  return wrong;
}

/** The fields whose templates cannot be read: the server reads all of them at once. */
async function brokenTemplates(fields, values) {
  const texts = [
    ["verificationCode", values.verificationCode], ["basicAuthUsername", values.basicAuthUsername], ["basicAuthPassword", values.basicAuthPassword],
    ["deduplicate", values.deduplicate?.key], ...[values.signature?.secret].flat().map((text) => ["signature", text]),
    ...[values.auth?.value ?? values.auth?.secret].flat().map((text) => ["auth", text]),
  ].filter(([name, text]) => typeof text === "string" && text.includes("{{") && !fields.get(name)?.made.element.hidden);
  if (texts.length === 0) return [];
  const templates = texts.map(([, template]) => ({ template, type: "text" }));
  const { items } = await ask("/preview", { method: "POST", body: { payload: {}, templates } });
  return items.flatMap((item, index) => (item.error ? [{ made: fields.get(texts[index][0]).made, message: `It must be a template: ${item.error}.` }] : []));
}

/** What of the values may be sent. A limit that is empty falls back to the server's. */
function writable(values, webhook) {
  const body = {};
  for (const name of Object.keys(DEFAULTS)) {
    if (name === "isWebsocket" && webhook) continue;
    body[name] = values[name];
  }
  body.limits = Object.fromEntries(Object.entries(values.limits).filter(([, value]) => value !== null && value !== undefined));
  return body;
}
