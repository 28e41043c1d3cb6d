// Deleting a webhook: what goes with it is shown before it goes.

import { ask, flowsOf, paths } from "./api.js";
import { h, put } from "./dom.js";
import { button, dialog, notice, number } from "./ui.js";

/** Asks, deletes, and answers whether it is gone. */
export function confirmDelete(app, webhook) {
  return dialog(`Delete “${webhook.name}”?`, (close) => {
    const withFlows = h("input", { type: "checkbox", id: "with-flows" });
    const list = h("div", {}, h("p", { class: "quiet" }, "Looking for its flows…"));
    const said = h("p", { class: "error", role: "alert" });
    const confirm = button("Delete Webhook", async () => {
      confirm.disabled = true;
      try {
        const query = { includeWorkflows: withFlows.checked ? "true" : "" };
        await ask(paths.webhook(app, webhook.id), { method: "DELETE", query });
        notice(`“${webhook.name}” is deleted${withFlows.checked ? ", and its flows with it" : ""}.`);
        close(true);
      } catch (error) {
        put(said, error.message);
        confirm.disabled = false;
      }
    }, { class: "danger" });
    describe(app, webhook, list, withFlows).catch((error) => put(list, h("p", { class: "error" }, error.message)));
    return [
      h("p", {}, "Its URL stops working at once and cannot be had again."),
      list, said,
      h("div", { class: "actions end" }, button("Cancel", () => close(false), { autofocus: true }), confirm),
    ];
  });
}

async function describe(app, webhook, list, withFlows) {
  const flows = await flowsOf(app, webhook.id, 20);
  if (flows.totalCount === 0) {
    put(list, h("p", { class: "quiet" }, "No flow has a trigger on it."));
    return;
  }
  const others = (flow) => flow.triggers.filter((trigger) => trigger.key !== webhook.id).length;
  const more = flows.totalCount - flows.items.length;
  put(list,
    h("p", {}, flows.totalCount === 1 ? "It triggers one flow:" : `It triggers ${number(flows.totalCount)} flows:`),
    h("ul", {}, flows.items.map((flow) => h("li", {}, flow.name,
      others(flow) > 0 ? h("span", { class: "quiet" }, ` (also triggered by ${others(flow)} other)`) : null)),
      more > 0 ? h("li", { class: "quiet" }, `and ${number(more)} more`) : null),
    h("div", { class: "field check" }, withFlows,
      h("div", {}, h("label", { for: "with-flows" }, "Also delete its flows"),
        h("p", { class: "help" }, "Unchecked, they stay and are triggered by their other webhooks only."))));
}
