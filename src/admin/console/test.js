// The Test tab of an HTTP webhook: a real request through the ingress, and what came of it.

import { askText, paths, presets } from "./api.js";
import { append, h, put } from "./dom.js";
import { elements, pretty, textAt } from "./json.js";
import { jsonError } from "./json_error.js";
import { presetOf } from "./presets.js";
import { drafts } from "./store.js";
import { announce, button, code, duration, failure, field, select } from "./ui.js";

const METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"].map((method) => [method, method]);
const EMPTY = { path: "", method: "POST", headers: [], body: "{\n  \"value\": 30\n}", isJson: true, sign: false };

/** The draft of a webhook's test, which the live view fills to send a request again. */
export const testDraft = (webhook) => `test.${webhook.id}`;

export async function testPanel({ app, webhook, panel, signal }) {
  const name = testDraft(webhook);
  const preset = presetOf(await presets(), webhook);
  const asks = webhook.signature !== null || webhook.auth !== null || webhook.basicAuthUsername !== "" || webhook.basicAuthPassword !== "";
  const canSign = asks && (webhook.signature === null || preset?.canSign !== false);
  const values = { ...EMPTY, headers: [], sign: canSign, ...drafts.read(name) };
  values.sign &&= canSign;
  const keep = () => drafts.keep(name, values);

  const path = field("Path and query", h("input", { value: values.path, placeholder: "/transition/up?location=52", autocomplete: "off", spellcheck: "false", class: "mono" }),
    "What follows the token. Empty, or begins with / or ?.");
  path.control.addEventListener("input", () => { values.path = path.control.value; keep(); });
  const method = field("Method", select(METHODS, values.method));
  method.control.addEventListener("change", () => { values.method = method.control.value; keep(); });

  const rows = h("div", {});
  const drawHeaders = () => put(rows, values.headers.map((header, index) => headerRow(header, index)));
  const headerRow = (header, index) => {
    const part = (at, label) => {
      const input = h("input", { value: header[at], "aria-label": `${label} of header ${index + 1}`, placeholder: label, autocomplete: "off", spellcheck: "false" });
      input.addEventListener("input", () => { header[at] = input.value; keep(); });
      return input;
    };
    const remove = button("Remove", () => { values.headers.splice(index, 1); keep(); drawHeaders(); }, { class: "small", "aria-label": `Remove header ${index + 1}` });
    return h("div", { class: "pair" }, part(0, "Name"), part(1, "Value"), remove);
  };
  const add = button("Add a header", () => {
    values.headers.push(["", ""]);
    drawHeaders();
    rows.lastElementChild.querySelector("input").focus();
  }, { class: "small" });
  drawHeaders();

  const jsonBox = field("Body is JSON", h("input", { type: "checkbox", checked: values.isJson }), "Checked as you type. Otherwise it is sent as the text that it is.");
  const body = field("Body", h("textarea", { class: "mono", rows: 9, spellcheck: "false" }), null);
  body.control.value = values.body;
  const check = () => {
    const wrong = values.isJson && values.body.trim() !== "" ? jsonError(values.body) : null;
    body.error(wrong ? `Line ${wrong.line}, column ${wrong.column}: ${wrong.message}` : null);
    return wrong === null;
  };
  body.control.addEventListener("input", () => { values.body = body.control.value; keep(); check(); });
  jsonBox.control.addEventListener("change", () => { values.isJson = jsonBox.control.checked; keep(); check(); });
  check();

  const sign = canSign ? field("Sign it as its sender does", h("input", { type: "checkbox", checked: values.sign }),
    "The server adds the credentials and the signature that this webhook asks for. Off: it is sent as it is, and refused.") : null;
  sign?.control.addEventListener("change", () => { values.sign = sign.control.checked; keep(); });
  const sample = preset === null ? null : button(`Fill in a sample of ${preset.name}`, () => {
    const isJson = typeof preset.sample.body !== "string";
    Object.assign(values, {
      method: "POST", headers: Object.entries(preset.sample.headers), isJson,
      body: isJson ? JSON.stringify(preset.sample.body, null, 2) : preset.sample.body,
    });
    keep();
    method.control.value = values.method;
    body.control.value = values.body;
    jsonBox.control.checked = values.isJson;
    drawHeaders();
    check();
  }, { class: "small" });

  const send = h("button", { type: "submit", class: "primary" }, "Send Test Request");
  const result = h("section", { class: "card" }, h("h2", {}, "Response"),
    h("p", { class: "quiet" }, webhook.waitForReply ? "Nothing sent yet. This webhook waits for a flow's reply." : "Nothing sent yet."));
  const submit = async (event) => {
    event.preventDefault();
    if (!check()) return body.control.focus();
    send.disabled = true;
    send.textContent = "Sending…";
    try {
      const answer = await askText(paths.test(app, webhook.id), { method: "POST", body: request(values), signal });
      put(result, response(answer));
      announce(`Answered ${answer.json.statusCode} in ${duration(answer.json.durationMs)}`);
    } catch (error) {
      if (!signal.aborted) put(result, h("h2", {}, "Response"), failure(error));
    } finally {
      send.disabled = false;
      send.textContent = "Send Test Request";
    }
  };
  put(panel, h("div", { class: "columns" },
    h("form", { class: "card", onsubmit: submit, novalidate: true },
      h("h2", {}, "Request"), sample ? h("p", {}, sample) : null,
      h("div", { class: "row" }, narrow(method.element), path.element),
      h("fieldset", { class: "field" }, h("legend", { class: "minor" }, "Headers"), rows, h("div", {}, add)),
      body.element, jsonBox.element, sign?.element,
      h("p", { class: "help" }, "It goes through the ingress and counts against the limits, as any request does. Ctrl+Enter sends it."),
      h("div", { class: "actions end" }, send)),
    result));
  panel.querySelector("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send.form.requestSubmit();
    }
  });
}

function narrow(element) {
  element.classList.add("narrow");
  return element;
}

/** The body of the API's test request. JSON goes as the text that was typed, so that numbers keep their digits. */
function request(values) {
  const headers = Object.fromEntries(values.headers.filter(([name]) => name.trim() !== "").map(([name, value]) => [name.trim(), value]));
  const start = JSON.stringify({ path: values.path, method: values.method, headers, sign: values.sign });
  if (values.body.trim() === "" || values.method === "GET") return start;
  return `${start.slice(0, -1)},"body":${values.isJson ? values.body : JSON.stringify(values.body)}}`;
}

function response({ json, text }) {
  const payloads = elements(textAt(text, "triggers"));
  const body = typeof json.body === "string" ? json.body : pretty(textAt(text, "body"));
  const result = h("div", {});
  append(result, [
    h("h2", {}, "Response"),
    h("p", {}, h("span", { class: `status s${Math.floor(json.statusCode / 100)}`, id: "test-status" }, String(json.statusCode)),
      h("span", { class: "quiet" }, ` in ${duration(json.durationMs)}`)),
    json.body === null ? h("p", { class: "quiet" }, "No body.") : code("Body", body),
    code("Headers", Object.entries(json.headers).map(([name, value]) => `${name}: ${value}`).join("\n")),
    h("h3", {}, payloads.length === 0 ? "No flow got it." : "What the flows got"),
    payloads.map((payload, index) => code(json.triggers[index].flowName ?? "Payload", pretty(payload))),
  ]);
  return result;
}
