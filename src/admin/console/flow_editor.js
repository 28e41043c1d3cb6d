// The page of a flow: its picture with the form beside it, its JSON, and the call that is run through it. The picture and
// the JSON are one document.

import { ApiError, ask, paths, settings } from "./api.js";
import { h, put } from "./dom.js";
import { flowCanvas, runText } from "./flow_canvas.js";
import { editable, flowDocument } from "./flow_document.js";
import { addNode, addTrigger, connect, disconnect, graphOf, nodeKey, remove, triggerKey, typeName, TYPES } from "./flow_graph.js";
import { flowPanel } from "./flow_panel.js";
import { livePreview } from "./flow_preview.js";
import { sampleChoice } from "./flow_sample.js";
import { triggerSearch } from "./flow_triggers.js";
import { jsonField } from "./json.js";
import { drafts } from "./store.js";
import { announce, button, field, notice } from "./ui.js";

/** Pause after a change before it is looked for errors. */
const CHECK_MS = 500;

/**
 * Shows the editor in `panel`. `flow` is the flow as the API has it, or what a new one begins with; `save(text)` sends the
 * document's text and answers when that is done. `tab` is `picture` or `json`.
 */
export async function flowEditor({ view, flow, name, tab, panel, save, saveText, isNew = false }) {
  const { app, application, signal } = view;
  const about = await settings();
  const types = (about.nodeTypes ?? Object.keys(TYPES)).filter((type) => type in TYPES);
  const known = await triggerWebhooks(app, flow, signal);
  const kept = drafts.read(name);
  let chosen = null;
  let edge = null;
  let trace = null;
  let errors = [];
  let checking;
  let drawn = null;

  const doc = flowDocument(kept ?? (isNew ? JSON.stringify(flow, null, 2) : editable(flow)), () => changed());
  const webhooks = () => [...new Set((doc.flow?.triggers ?? []).map((trigger) => trigger.key))].map((id) => known.get(id)).filter(Boolean);
  const sample = sampleChoice({ app, application, query: view.query, name: `sample.${name}`, webhooks, signal, changed: () => {
    preview.later();
    trace = null;
    redraw();
    later();
  } });
  const preview = livePreview(() => sample.text(), signal);
  const say = (text) => announce(text);

  const canvas = flowCanvas({
    types, names: (trigger) => known.get(trigger.key)?.name,
    on: {
      say,
      choose: (key, isToForm) => choose(key, isToForm),
      chooseEdge: (one) => { edge = one; chosen = null; redraw(); drawEdge(); },
      connect: (from, output, to) => {
        const isDone = doc.change((next) => connect(next, from, output, to));
        say(isDone ? "Connected." : "A node does not lead to itself, and none to a trigger.");
        choose(from);
      },
      add: (type, from, output) => {
        const key = doc.change((next) => addNode(next, type, from, output));
        say(`${typeName(type)} is added.`);
        choose(key, true);
      },
      remove: (key) => {
        doc.change((next) => remove(next, key));
        say("Removed. Ctrl+Z takes it back.");
        choose(null);
      },
    },
  });
  const form = flowPanel({ app, flowDocument: doc, types, preview, webhook: (id) => known.get(id), choose: (key, isToForm) => choose(key, isToForm) });

  const choose = (key, isToForm = false) => {
    chosen = key;
    edge = null;
    redraw();
    form.draw(key);
    preview.later();
    if (isToForm) form.focus();
  };
  const drawEdge = () => put(form.element, h("h2", {}, "A wire"),
    h("p", { class: "quiet" }, "It leads a call from one part to the next."),
    h("div", { class: "actions" }, button("Remove the wire", removeEdge, { class: "small danger" })));
  const removeEdge = () => {
    const { from } = edge;
    doc.change((next) => disconnect(next, edge));
    say("The wire is removed.");
    choose(from);
  };

  const area = jsonField("The flow as JSON", doc.text, {
    rows: Math.min(36, Math.max(16, doc.text.split("\n").length + 2)),
    help: "triggers name webhooks by their ids; a trigger's outputIds lead to nodes. Secrets that show as *** are kept. Ctrl+S saves.",
    oninput: () => doc.setText(area.control.value, "json"),
  });
  const said = h("p", { class: "error", role: "alert" });
  const wrong = h("div", { "aria-live": "polite" });
  const undo = button("Undo", () => { doc.undo(); choose(null); }, { class: "small", title: "Ctrl+Z" });
  const redo = button("Redo", () => { doc.redo(); choose(null); }, { class: "small", title: "Ctrl+Shift+Z" });
  const way = h("div", {});

  const changed = () => {
    drafts.keep(name, doc.text);
    trace = null;
    said.textContent = "";
    if (area.control.value !== doc.text) {
      area.control.value = doc.text;
      area.check();
    }
    form.ran(null);
    redraw();
    form.refresh();
    drawNames();
    later();
  };
  const redraw = () => {
    undo.disabled = !doc.canUndo;
    redo.disabled = !doc.canRedo;
    put(way, trace ? wayText(trace) : null);
    discard.hidden = drafts.read(name) === null;
    if (doc.flow === null) return;
    // A picture that would be the same is left alone: somebody may be dragging in it.
    const now = JSON.stringify([doc.text, chosen, edge, errors, trace && [...trace], [...known.keys()]]);
    if (now === drawn) return;
    drawn = now;
    const graph = graphOf(doc.flow);
    const places = new Map();
    for (const error of errors) {
      const index = /^nodes\[(\d+)\]/.exec(error.field)?.[1];
      const vertex = index === undefined ? null : graph.vertices.find((one) => one.node && one.index === Number(index));
      if (vertex && !places.has(vertex.key)) places.set(vertex.key, error.message);
    }
    canvas.draw({ flow: doc.flow, chosen, edge, trace, errors: places });
  };

  // What is wrong, and what a call does.
  const later = () => {
    clearTimeout(checking);
    checking = setTimeout(() => !signal.aborted && look(false).catch(() => {
      // The notice at the page's edge tells of a server that is away.
    }), CHECK_MS);
  };
  const look = async (isRun) => {
    const payload = sample.text();
    if (doc.flow === null || payload === null) return;
    const text = doc.text;
    const start = JSON.stringify({ applicationId: app, webhookId: sample.webhook() ?? webhooks()[0]?.id });
    const answer = await ask("/preview", { method: "POST", signal, body: `${start.slice(0, -1)},"flow":${text},"payload":${payload}}` });
    if (text !== doc.text) return;
    errors = answer.errors;
    form.errors(errors);
    if (isRun && errors.length === 0) {
      const first = sample.webhook();
      const index = Math.max(0, (doc.flow.triggers ?? []).findIndex((trigger) => trigger.key === first));
      trace = new Map([["trigger", triggerKey(index)], ...answer.nodes.map((node) => [nodeKey(node.id), node])]);
      form.ran(trace);
    }
    drawErrors();
    redraw();
  };
  const drawErrors = () => {
    const others = errors.filter(({ field: path }) => !/^nodes\[\d+\]\.config/.test(path));
    put(wrong, others.map((error) => h("p", { class: "error" }, `${error.field} ${error.message}.`)));
  };
  const wayText = (now) => {
    const runs = [...now].filter(([key]) => key !== "trigger");
    return h("section", { class: "card", "aria-label": "What the call did" }, h("h2", {}, "What the call did"),
      runs.length === 0 ? h("p", { class: "quiet" }, "It reached no node.")
        : h("ol", {}, runs.map(([key, run]) => h("li", {}, button(key.slice(2), () => choose(key), { class: "linkish" }), " ", h("span", { class: run.error ? "error" : "quiet" }, runText(run))))));
  };
  const run = button("Run the call", async () => {
    try {
      await look(true);
      say(errors.length > 0 ? "The flow has errors; they are marked." : "The picture shows which way the call went.");
    } catch (error) {
      if (!signal.aborted) notice(error.message, "error");
    }
  }, { class: "small" });

  const flowName = field("Name", h("input", { maxlength: 255, autocomplete: "off" }), null);
  const description = field("Description", h("input", { maxlength: 32767, autocomplete: "off" }), null);
  for (const [one, key] of [[flowName, "name"], [description, "description"]]) {
    one.control.addEventListener("input", () => doc.change((next) => { next[key] = one.control.value; }, key));
  }
  const drawNames = () => {
    for (const [one, key] of [[flowName, "name"], [description, "description"]]) {
      const value = String(doc.flow?.[key] ?? "");
      if (one.control.value !== value) one.control.value = value;
    }
  };
  const discard = h("p", { class: "help" }, "This is a draft that you did not save. ", button("Discard it", () => {
    drafts.forget(name);
    flowEditor({ view, flow, name, tab, panel, save, saveText, isNew });
  }, { class: "linkish" }));
  const triggers = triggerSearch({ app, signal, isKnown: (id) => (doc.flow?.triggers ?? []).some((trigger) => trigger.key === id), add: (webhook) => {
    known.set(webhook.id, webhook);
    const key = doc.change((next) => addTrigger(next, webhook.id));
    sample.load();
    choose(key);
  } });
  const submit = h("button", { type: "submit", class: "primary" }, saveText);
  const onsubmit = async (event) => {
    event.preventDefault();
    said.textContent = "";
    if (!area.check()) {
      put(said, "The JSON cannot be read; it says where.");
      return area.control.focus();
    }
    flowName.error(null);
    if (String(doc.flow?.name ?? "").trim() === "") {
      flowName.error("It needs a name.");
      return flowName.control.focus();
    }
    submit.disabled = true;
    try {
      await save(doc.text);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refused(error);
    } finally {
      submit.disabled = false;
    }
  };
  const refused = (error) => {
    if (error.status === 400) area.fault(error.field, error.message);
    put(said, error.message);
    const index = /^nodes\[(\d+)\]/.exec(error.field ?? "")?.[1];
    const node = index === undefined ? null : doc.flow?.nodes?.[Number(index)];
    if (node && tab !== "json") choose(nodeKey(node.id));
    if (error.field) {
      errors = [{ field: error.field, message: error.message.replace(`\`${error.field}\` `, "") }];
      form.errors(errors);
      redraw();
    }
  };

  const picture = h("div", {},
    h("div", { class: "flow-tools" }, undo, redo, triggers, h("span", { class: "grow" }), run),
    h("div", { class: "flow-columns" }, canvas.element, form.element, h("div", { class: "flow-below" }, way, h("section", { class: "card" }, h("h2", {}, "Tried with"), sample.element))));
  const body = h("form", { onsubmit, novalidate: true }, discard,
    h("div", { class: "card flow-head" }, flowName.element, description.element, h("div", { class: "actions" }, submit)), said, wrong,
    tab === "json" ? h("div", { class: "card" }, area.element) : picture);
  body.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches?.("input, textarea, select");
    const letter = event.key.toLowerCase();
    if (edge && (event.key === "Delete" || event.key === "Backspace") && !isTyping) removeEdge();
    else if (!(event.ctrlKey || event.metaKey)) return;
    else if (letter === "s") body.requestSubmit();
    else if (isTyping) return;
    else if (letter === "z" && !event.shiftKey) undo.click();
    else if (letter === "y" || letter === "z") redo.click();
    else return;
    event.preventDefault();
  });
  put(panel, body);
  drawNames();
  redraw();
  form.draw(isNew && (doc.flow?.triggers ?? []).length > 0 ? triggerKey(0) : null);
  area.check();
  await sample.load();
  later();
}

/** What is known of the webhooks of a flow's triggers. */
async function triggerWebhooks(app, flow, signal) {
  const ids = [...new Set((flow.triggers ?? []).filter((trigger) => trigger.type === "webhook").map((trigger) => trigger.key))];
  const asked = ids.slice(0, NAMED_MAX).map((id) => ask(paths.webhook(app, id), { signal }).catch(() => null));
  const found = (await Promise.all(asked)).filter(Boolean);
  return new Map(found.map((webhook) => [webhook.id, webhook]));
}

/** Webhooks whose names are asked for. */
const NAMED_MAX = 50;
