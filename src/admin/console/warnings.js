// What of a webhook or a flow will not act as it reads, and the switch that most of these want.

import { ask, paths } from "./api.js";
import { h } from "./dom.js";
import { button, notice } from "./ui.js";

/** Webhooks of a flow that are offered to wait. */
const OFFERED = 10;

/** The warnings of a resource, with what can be done about them; null for none. */
export function warningList(resource, actions = []) {
  const warnings = resource.warnings ?? [];
  if (warnings.length === 0) return null;
  return h("section", { class: "card", id: "warnings", role: "note", "aria-label": "Warnings" },
    h("h2", {}, warnings.length === 1 ? "Warning" : "Warnings"),
    h("ul", {}, warnings.map((warning) => h("li", {}, warning))), actions);
}

/** A button that makes a webhook wait for its flows' replies. */
export function waitButton(app, webhook, done) {
  const made = button(`Turn on “Wait for reply from workflow” of ${webhook.name}`, async () => {
    made.disabled = true;
    try {
      await ask(paths.webhook(app, webhook.id), { method: "PATCH", body: { waitForReply: true } });
      notice(`Callers of “${webhook.name}” wait for a reply from now on.`);
      await done();
    } catch (error) {
      notice(error.message, "error");
      made.disabled = false;
    }
  }, { class: "small" });
  return made;
}

/** The same for each webhook of a flow whose callers do not wait for what it replies. */
export async function waitButtons(app, flow, signal, done) {
  if (!(flow.warnings ?? []).some((warning) => warning.includes("`waitForReply`"))) return [];
  const keys = [...new Set(flow.triggers.filter((trigger) => trigger.type === "webhook").map((trigger) => trigger.key))];
  const asked = keys.slice(0, OFFERED).map((key) => ask(paths.webhook(app, key), { signal }).catch(() => null));
  const webhooks = (await Promise.all(asked)).filter((webhook) => webhook && !webhook.isWebsocket && !webhook.waitForReply);
  return webhooks.map((webhook) => waitButton(app, webhook, done));
}
