// What of a webhook or a flow will not act as it reads, and the switch that most of these want.

import { ask, paths } from "./api.js";
import { h } from "./dom.js";
import { button, dialog, notice } from "./ui.js";

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

/** The webhooks of a flow whose callers do not wait for what it replies. */
async function notWaiting(app, flow, signal) {
  if (!(flow.warnings ?? []).some((warning) => warning.includes("`waitForReply`"))) return [];
  const keys = [...new Set(flow.triggers.filter((trigger) => trigger.type === "webhook").map((trigger) => trigger.key))];
  const asked = keys.slice(0, OFFERED).map((key) => ask(paths.webhook(app, key), { signal }).catch(() => null));
  return (await Promise.all(asked)).filter((webhook) => webhook && !webhook.isWebsocket && !webhook.waitForReply);
}

/** A button for each of them. */
export async function waitButtons(app, flow, signal, done) {
  return (await notWaiting(app, flow, signal)).map((webhook) => waitButton(app, webhook, done));
}

/** Asks, after a flow that replies was saved, whether the callers of its webhooks are to wait for that. */
export async function offerToWait(app, flow, signal) {
  const webhooks = await notWaiting(app, flow, signal);
  if (webhooks.length === 0) return;
  const names = webhooks.map((webhook) => `“${webhook.name}”`).join(", ");
  const isWanted = await dialog("Nobody waits for this reply", (close) => [
    h("p", {}, `The flow replies, and callers of ${names} are answered at once, without it. They can be made to wait for it.`),
    h("div", { class: "actions end" }, button("Leave it", () => close(false)), button("Make callers wait", () => close(true), { class: "primary", autofocus: true })),
  ]);
  if (!isWanted) return;
  try {
    for (const webhook of webhooks) await ask(paths.webhook(app, webhook.id), { method: "PATCH", body: { waitForReply: true } });
    notice(`Callers of ${names} wait for a reply from now on.`);
  } catch (error) {
    notice(error.message, "error");
  }
}
