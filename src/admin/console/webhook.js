// One webhook: its tabs, and what stands above them.

import { ask, flowsOf, paths, presets, settings, urlOf } from "./api.js";
import { snippets } from "./calls.js";
import { h, put, s } from "./dom.js";
import { typeName } from "./flow_graph.js";
import { connectionsPanel } from "./connections.js";
import { fieldsOf, presetCard, presetChoice, stepsCard } from "./presets.js";
import { recordsPanel } from "./records.js";
import { every, go, link } from "./router.js";
import { socketPanel } from "./socket.js";
import { drafts } from "./store.js";
import { testPanel } from "./test.js";
import { fullMoment } from "./time.js";
import { badge, bytes, button, code, copyButton, failure, heading, moment, notice, number, tabs } from "./ui.js";
import { waitButton, warningList } from "./warnings.js";
import { confirmDelete } from "./webhook_delete.js";
import { codeOf } from "./webhook_fields.js";
import { webhookForm } from "./webhook_form.js";
import { tokenButton } from "./webhook_token.js";

const USAGE_MS = 2_000;

export async function webhookPage(view) {
  const [id, tab = "calls"] = view.parts;
  if (id === "new") return newPage(view);
  const { app, main } = view;
  const [webhook, about] = await Promise.all([ask(paths.webhook(app, id), { signal: view.signal }), settings()]);
  const url = urlOf(webhook, about);
  const panel = h("div", {});
  const toggle = button(webhook.enabled ? "Disable" : "Enable", async () => {
    toggle.disabled = true;
    try {
      await ask(paths.webhook(app, id), { method: "PATCH", body: { enabled: !webhook.enabled } });
      await webhookPage(view);
    } catch (error) {
      notice(error.message, "error");
      toggle.disabled = false;
    }
  });
  const remove = button("Delete Webhook", async () => {
    if (await confirmDelete(app, webhook)) go(link(app, "webhooks"));
  }, { class: "danger" });
  const tabLink = (name) => link(app, "webhooks", id, name);
  put(main,
    h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: link(app, "webhooks") }, "Webhooks"), " /"),
    heading(webhook.name, webhook.enabled ? badge("enabled", "good") : badge("disabled", "off"),
      badge(webhook.isWebsocket ? "WebSocket" : webhook.waitForReply ? "HTTP, waits for a reply" : "HTTP"), toggle, remove),
    url === null
      ? h("p", { class: "address" }, `The ingress listens on ${about.ingressListen}, which has no URL. The setting ingress.public_url says how callers reach it.`)
      : h("div", { class: "address" }, h("code", { id: "url" }, url), copyButton(() => url, "URL"), tokenButton(app, webhook, () => webhookPage(view))),
    warningList(webhook, webhook.warnings.some((warning) => warning.includes("`waitForReply`"))
      ? waitButton(app, webhook, () => webhookPage(view)) : []),
    tabs("Webhook", [
      ["calls", webhook.isWebsocket ? "Connections" : "Calls", tabLink("calls")], ["call", "Call it", tabLink("call")],
      ["test", "Test", tabLink("test")], ["settings", "Settings", tabLink("settings")]], tab),
    panel);
  const context = { ...view, webhook, about, url, panel };
  switch (tab) {
    case "test": return webhook.isWebsocket ? socketPanel(context) : testPanel(context);
    case "call": return callPanel(context);
    case "settings": return webhookForm({ app, webhook, target: panel, saved: () => webhookPage(view) });
    default: return webhook.isWebsocket ? connectionsPanel(context) : recordsPanel(context);
  }
}

async function newPage(view) {
  const { app, main } = view;
  const [senders, about] = await Promise.all([presets(), settings()]);
  const panel = h("div", {});
  const explained = h("div", {});
  const draw = (preset) => {
    put(explained, preset ? presetCard(preset) : null);
    return webhookForm({
      app, webhook: null, target: panel, preset: preset && fieldsOf(preset),
      saved: (webhook, body) => {
        if (!preset) return go(link(app, "webhooks", webhook.id));
        put(main, heading(webhook.name, h("a", { class: "button", href: link(app, "webhooks", webhook.id) }, "Open the webhook")),
          stepsCard(preset, body, urlOf(webhook, about)));
        return main.querySelector("h1").focus();
      },
      cancel: () => go(link(app, "webhooks")),
    });
  };
  const choice = presetChoice(senders, (preset) => {
    // Another sender's fields are no draft of this one's.
    drafts.forget(`webhook.new.${app}`);
    return draw(preset);
  });
  put(main,
    h("nav", { class: "crumbs", "aria-label": "Breadcrumb" }, h("a", { href: link(app, "webhooks") }, "Webhooks"), " /"),
    heading("Add Webhook"), choice, explained, panel);
  await draw(null);
}

/** How to call it, what it triggers, and how much of its limits is used. */
async function callPanel(context) {
  const { app, webhook, url, panel, signal } = context;
  const flows = h("div", {}, h("p", { class: "quiet" }, "Looking…"));
  const usage = h("div", { "aria-live": "off" }, h("p", { class: "quiet" }, "Looking…"));
  put(panel, h("div", { class: "columns" },
    h("section", { class: "card" }, h("h2", {}, "How to call it"), url === null
      ? h("p", {}, "There is no URL to call; see above.")
      : snippets(webhook, url).map(([label, text]) => code(label, text))),
    h("div", {},
      h("section", { class: "card" }, h("h2", {}, "What it triggers"), flows),
      h("section", { class: "card" }, h("h2", {}, "Limits"), usage),
      h("section", { class: "card" }, h("h2", {}, "Facts"), facts(webhook)))));
  const drawFlows = async () => {
    try {
      const list = await flowsOf(app, webhook.id);
      put(flows, flowList(app, webhook, list));
    } catch (error) {
      put(flows, failure(error, drawFlows));
    }
  };
  const drawUsage = async () => {
    const list = await ask(paths.usage(app), { query: { ids: webhook.id }, signal });
    if (list.items.length > 0) put(usage, meters(list.items[0]));
  };
  await Promise.all([drawFlows(), drawUsage()]);
  every(USAGE_MS, signal, () => drawUsage().catch(() => {
    // The notice at the page's edge says that the server is away; the next turn asks again.
  }));
}

function flowList(app, webhook, list) {
  const add = h("a", { class: "button small", href: `${link(app, "flows", "new")}?webhook=${webhook.id}` }, "Add a flow");
  if (list.totalCount === 0) {
    const answer = webhook.isWebsocket ? "Messages are taken and nothing happens." : webhook.waitForReply
      ? "Callers wait for a reply that nobody sends, and get a 504."
      : `Callers get a ${codeOf(webhook)}, and nothing happens.`;
    return [h("p", { class: "quiet" }, `No flow has a trigger on it. ${answer}`), add];
  }
  return [
    h("ul", {}, list.items.map((flow) => h("li", {},
      h("a", { href: link(app, "flows", flow.id) }, flow.name), flow.enabled ? null : [" ", badge("disabled", "off")],
      h("span", { class: "quiet" }, ` ${flow.nodes.map((node) => typeName(node.type)).join(", ") || "no nodes"}`)))),
    list.totalCount > list.items.length ? h("p", { class: "quiet" }, `and ${number(list.totalCount - list.items.length)} more`) : null,
    add,
  ];
}

function facts(webhook) {
  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  return h("dl", { class: "facts" },
    fact("Id", h("code", {}, webhook.id)),
    webhook.description ? fact("Description", webhook.description) : null,
    webhook.isWebsocket ? null : fact("Response", webhook.waitForReply ? `a flow's reply, else ${codeOf(webhook)}` : String(codeOf(webhook))),
    fact("Basic authentication", webhook.basicAuthUsername || webhook.basicAuthPassword ? "required" : "none"),
    fact("Verification", webhook.verificationType),
    fact("Signature", webhook.signature?.scheme ?? "none"),
    fact("Credential", webhook.auth?.type ?? "none"),
    webhook.previousTokens.map((old) => fact("Earlier URL", `goes on until ${fullMoment(old.endsAt)}`)),
    fact("Made", fullMoment(webhook.creationDate)),
    fact("Changed", fullMoment(webhook.lastUpdated)));
}

function meters(usage) {
  const windowText = usage.windowSeconds === null ? "" : ` in ${number(usage.windowSeconds)} s`;
  return [
    usage.callsMax === null
      ? plain("Calls", "no limit, not counted")
      : meter(`Calls${windowText}`, usage.calls, usage.callsMax),
    usage.concurrentMax === null
      ? plain("At a time", `${number(usage.concurrent)}, no limit`)
      : meter("At a time", usage.concurrent, usage.concurrentMax),
    plain("Payload", `at most ${bytes(usage.payloadBytesMax)}`),
    plain("Wait for a reply", `at most ${number(usage.replyTimeoutSeconds)} s`),
    plain("Last call", moment(usage.lastCall)),
  ];
}

function plain(label, text) {
  return h("div", { class: "meter" }, h("div", { class: "label" }, h("span", {}, label), h("span", { class: "quiet" }, text)));
}

/** How full a limit is; the colour turns before it is reached. */
function meter(label, used, most) {
  const share = most === 0 ? 1 : Math.min(1, used / most);
  const colour = share < 0.7 ? 1 : share < 1 ? 2 : 3;
  return h("div", { class: "meter" },
    h("div", { class: "label" }, h("span", {}, label), h("span", {}, `${number(used)} of ${number(most)} used`)),
    s("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: `stack c${colour}`, width: share * 100, height: 8 })));
}
