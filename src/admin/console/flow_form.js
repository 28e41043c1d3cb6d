// The form of a new flow: which webhooks trigger it, and a node that replies from templates, previewed as one types.

import { ApiError, ask, paths } from "./api.js";
import { h, put } from "./dom.js";
import { jsonField } from "./json.js";
import { go, link } from "./router.js";
import { drafts } from "./store.js";
import { button, code, field, notice, select } from "./ui.js";

/** Pause after a key before a preview is asked for. */
const PREVIEW_MS = 300;
/** Webhooks that the search offers. */
const OFFERED = 20;

const KINDS = [
  ["WebhookReplyNode", "Reply from templates"], ["HttpForwardNode", "Forward over HTTP"],
  ["WorkerNode", "Hand to an attached worker"], ["NatsNode", "Publish to NATS"], ["", "Nothing yet"],
];

const SAMPLE = {
  time: "2026-02-19T17:26:00.123Z",
  data: {
    method: "post", path: "/transition/up", headers: { "content-type": "application/json" }, query: { location: "52" },
    body: { value: 30, name: "pump" }, replyId: "…",
  },
  applicationName: "…", triggerType: "webhook", flowName: "…", globals: {},
};

export async function newFlowForm(view) {
  const { app, panel, query, application } = view;
  const name = `flow.new.${app}`;
  const globals = {};
  for (const global of application?.globals ?? []) globals[global.key] = JSON.parse(global.json);
  const values = {
    name: "", description: "", webhooks: [], kind: "WebhookReplyNode", isSocket: false,
    code: "", body: "{\"received\": {{jsonEncode data.body}}}", bodyType: "string", headers: [["Content-Type", "application/json"]], encoding: "",
    url: "", method: "POST", forwardBody: "", timeoutSeconds: "", secret: "", subject: "", stream: "",
    sample: JSON.stringify({ ...SAMPLE, globals }, null, 2),
    ...drafts.read(name),
  };
  const given = query.get("webhook");
  if (given && !values.webhooks.some((one) => one.id === given)) {
    const webhook = await ask(paths.webhook(app, given));
    values.webhooks.push({ id: webhook.id, name: webhook.name, waitForReply: webhook.waitForReply, isWebsocket: webhook.isWebsocket });
    if (webhook.isWebsocket) values.isSocket = true;
  }
  const preview = previewer(values);
  const changed = () => {
    drafts.keep(name, values);
    preview.later();
  };
  const bind = (made, key, event = "input") => {
    made.control.addEventListener(event, () => {
      values[key] = made.control.type === "checkbox" ? made.control.checked : made.control.value;
      changed();
    });
    return made;
  };
  const text = (key, label, help, properties = {}) => bind(field(label, h("input", { value: values[key], autocomplete: "off", ...properties }), help), key);

  const flowName = text("name", "Name", "Only people read it.", { maxlength: 255, required: true });
  const description = text("description", "Description", null, { maxlength: 32767 });
  const kind = field("What happens", select(KINDS, values.kind), "More nodes, and wires between them, can be written as JSON once the flow is there.");
  const node = h("div", {});
  const drawNode = () => put(node, nodeFields(values, { bind, text, changed }));
  kind.control.addEventListener("change", () => {
    values.kind = kind.control.value;
    changed();
    drawNode();
    preview.box.hidden = values.kind !== "WebhookReplyNode";
  });
  const said = h("p", { class: "error", role: "alert" });
  const save = h("button", { type: "submit", class: "primary" }, "Add Flow");
  const submit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    flowName.error(null);
    if (values.name.trim() === "") {
      flowName.error("It needs a name.");
      return flowName.control.focus();
    }
    save.disabled = true;
    try {
      const flow = await ask(paths.flows(app), { method: "POST", body: flowOf(values) });
      drafts.forget(name);
      notice(`“${flow.name}” is there${flow.triggers.length > 0 ? " and is triggered from now on" : ""}.`);
      go(link(app, "flows", flow.id));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      put(said, error.message);
    } finally {
      save.disabled = false;
    }
  };
  const cancel = button("Cancel", () => {
    drafts.forget(name);
    go(link(app, "flows"));
  });
  put(panel, h("div", { class: "columns" },
    h("form", { class: "card", onsubmit: submit, novalidate: true },
      flowName.element, description.element, triggerField(app, values, changed), kind.element, node, said,
      h("div", { class: "actions end" }, cancel, save)),
    preview.box));
  drawNode();
  preview.box.hidden = values.kind !== "WebhookReplyNode";
  preview.later();
  flowName.control.focus();
}

/** The webhooks that trigger the flow: found by name, since there may be very many. */
function triggerField(app, values, changed) {
  const search = h("input", { type: "search", autocomplete: "off", placeholder: "Search webhooks by name" });
  const made = field("Triggered by", search, "The webhooks whose calls it gets. It may have none yet.");
  const chosen = h("ul", { class: "chips" });
  const found = h("ul", { class: "chips", "aria-live": "polite" });
  const draw = () => put(chosen, values.webhooks.map((one) => h("li", {}, one.name, " ",
    button("×", () => {
      values.webhooks = values.webhooks.filter((other) => other.id !== one.id);
      changed();
      draw();
      search.focus();
    }, { class: "plain", "aria-label": `Remove ${one.name}` }))));
  const look = async () => {
    const part = search.value.trim().replace(/[\\*?]/g, "\\$&");
    try {
      const list = await ask(paths.webhooks(app), { query: { perPage: OFFERED, filterField: "name", filter: `*${part}*` } });
      const fresh = list.items.filter((one) => !values.webhooks.some((other) => other.id === one.id));
      put(found, fresh.length === 0 ? h("li", { class: "quiet" }, "none") : fresh.map((one) => h("li", {}, button(`+ ${one.name}`, () => {
        values.webhooks.push({ id: one.id, name: one.name, waitForReply: one.waitForReply, isWebsocket: one.isWebsocket });
        changed();
        draw();
        put(found);
        search.value = "";
        search.focus();
      }, { class: "small" }))));
      made.error(null);
    } catch (error) {
      made.error(error.message);
    }
  };
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, PREVIEW_MS);
  });
  search.addEventListener("focus", look);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  made.element.append(found, chosen);
  draw();
  return made.element;
}

function nodeFields(values, { bind, text, changed }) {
  switch (values.kind) {
    case "WebhookReplyNode": {
      const rows = h("div", {});
      const drawHeaders = () => put(rows, values.headers.map((header, index) => {
        const part = (at, label) => {
          const input = h("input", { value: header[at], "aria-label": `${label} of header ${index + 1}`, placeholder: label });
          input.addEventListener("input", () => { header[at] = input.value; changed(); });
          return input;
        };
        return h("div", { class: "pair" }, part(0, "Name"), part(1, "Value"),
          button("Remove", () => { values.headers.splice(index, 1); changed(); drawHeaders(); }, { class: "small", "aria-label": `Remove header ${index + 1}` }));
      }));
      drawHeaders();
      const body = h("textarea", { class: "mono", rows: 6, spellcheck: "false" });
      body.value = values.body;
      return [
        bind(field("Answers a WebSocket", h("input", { type: "checkbox", checked: values.isSocket }), "Sends a message to the connection instead of a response."), "isSocket", "change").element,
        text("code", "Response code", "A template, such as 201 or {{data.body.code}}. Empty: the webhook's own.").element,
        bind(field("Body is", select([["string", "a template"], ["path", "a payload path"]], values.bodyType), "An object at a path is sent as JSON."), "bodyType", "change").element,
        bind(field("Body", body, "{{x}} is escaped for HTML, {{{x}}} is not, {{jsonEncode x}} is JSON."), "body").element,
        text("encoding", "Encoding", "How the text becomes bytes: utf8, base64, hex, binary, or a template of that. Empty: utf8.").element,
        h("fieldset", { class: "field" }, h("legend", { class: "minor" }, "Headers"), rows,
          h("div", {}, button("Add a header", () => { values.headers.push(["", ""]); drawHeaders(); rows.lastElementChild.querySelector("input").focus(); }, { class: "small" }))),
      ];
    }
    case "HttpForwardNode":
      return [
        text("url", "URL", "A template; the host stands in the text. A 2xx is done, anything else is tried again.", { inputmode: "url", placeholder: "https://…" }).element,
        bind(field("Method", select(["POST", "PUT", "PATCH", "DELETE", "GET"].map((method) => [method, method]), values.method)), "method", "change").element,
        text("forwardBody", "Body", "payload: the trigger as JSON; raw: the caller's body as it came; or a template. payload by default.").element,
        text("timeoutSeconds", "Time-out, in seconds", "30 by default.", { inputmode: "numeric" }).element,
        text("secret", "Secret", "Signs each request as Standard Webhooks says. None by default; never shown again.", { type: "password", autocomplete: "new-password" }).element,
      ];
    case "NatsNode":
      return [
        text("subject", "Subject", "A template; tidegate.<applicationId>.<webhookId> by default.").element,
        text("stream", "Stream", "Of JetStream; empty: whichever takes the subject.").element,
      ];
    case "WorkerNode":
      return [h("p", { class: "help" }, "Triggers go to the least busy program that is attached: ", h("code", {}, "tidegate worker <flow id>"), ".")];
    default:
      return [];
  }
}

/** The body of the POST. */
function flowOf(values) {
  const filled = (pairs) => Object.fromEntries(Object.entries(pairs).filter(([, value]) => value !== "" && value !== undefined));
  const number = (text) => (text === "" ? undefined : Number.isFinite(Number(text)) ? Number(text) : text);
  const configs = {
    WebhookReplyNode: () => filled({
      responseCodeTemplate: values.code, bodyTemplate: values.body, bodyTemplateType: values.bodyType,
      headerInfo: values.headers.filter(([key]) => key.trim() !== "").map(([keyTemplate, valueTemplate]) => ({ keyTemplate, valueTemplate })),
      isWebsocketMessage: values.isSocket, encodingTemplate: values.encoding,
    }),
    HttpForwardNode: () => filled({ url: values.url, method: values.method, body: values.forwardBody, timeoutSeconds: number(values.timeoutSeconds), secret: values.secret }),
    NatsNode: () => filled({ subject: values.subject, stream: values.stream }),
    WorkerNode: () => ({}),
  };
  const nodes = values.kind === "" ? [] : [{ id: "first", type: values.kind, config: configs[values.kind]() }];
  return {
    name: values.name.trim(),
    description: values.description,
    triggers: values.webhooks.map(({ id }) => (nodes.length > 0 ? { type: "webhook", key: id, outputIds: [["first"]] } : { type: "webhook", key: id })),
    nodes,
  };
}

/** What the templates make of a sample payload, asked of the server shortly after the last key. */
function previewer(values) {
  const shown = h("div", { "aria-live": "polite" });
  const sample = jsonField("Sample payload", values.sample, { rows: 14, help: "Change it to see what other calls would get.", oninput: () => {
    values.sample = sample.control.value;
    later();
  } });
  const box = h("section", { class: "card" }, h("h2", {}, "Preview"), shown, sample.element);
  let waiting;
  let asked = 0;
  const look = async () => {
    if (values.kind !== "WebhookReplyNode" || !sample.check()) return;
    const turn = ++asked;
    const headers = values.headers.filter(([key]) => key.trim() !== "");
    const templates = [{ template: values.code }, { template: values.body, type: values.bodyType }, ...headers.flat().map((template) => ({ template }))];
    try {
      const body = `{"payload":${values.sample},"templates":${JSON.stringify(templates)}}`;
      const { items } = await ask("/preview", { method: "POST", body });
      if (turn !== asked) return;
      draw(items);
    } catch (error) {
      if (turn === asked) put(shown, h("p", { class: "error" }, error.message));
    }
  };
  const draw = ([status, body, ...rest]) => {
    const wrong = (item, what) => (item.error ? h("p", { class: "error" }, `${what}: ${item.error}`) : null);
    const lines = [];
    for (let index = 0; index < rest.length; index += 2) lines.push(`${rest[index].text ?? "?"}: ${rest[index + 1].text ?? "?"}`);
    const digits = (status.text ?? "").trim();
    put(shown,
      wrong(status, "Response code"), wrong(body, "Body"), rest.map((item) => wrong(item, "Header")),
      values.isSocket ? null : h("p", {}, h("span", { class: "quiet" }, "Status "), digits === "" ? "the webhook's own" : digits),
      body.error ? null : body.text === null
        ? h("p", { class: "quiet" }, values.isSocket ? "The path leads to nothing: an empty message." : "The path leads to nothing: an empty body.")
        : code(values.isSocket ? "Message" : "Body", body.text),
      !values.isSocket && lines.length > 0 ? code("Headers", lines.join("\n")) : null);
  };
  const later = () => {
    clearTimeout(waiting);
    waiting = setTimeout(look, PREVIEW_MS);
  };
  return { box, later };
}
