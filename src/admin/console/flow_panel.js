// What stands beside the picture: the form of the node or trigger that is chosen, where it leads, and what it made of the
// call that was run.

import { h, put } from "./dom.js";
import { nodeFields, write } from "./flow_fields.js";
import { addNode, connect, disconnect, find, graphOf, nodeKey, outputNames, outputs, remove, typeName, TYPES } from "./flow_graph.js";
import { link } from "./router.js";
import { button, code, field, select } from "./ui.js";

/** Headers that a run shows beside those of the node. */
const RUN_TITLES = { reply: "Reply", request: "Request", publication: "Message to NATS", worker: "Delivery", message: "Line of the log", condition: "Value", error: "Error" };

/**
 * Makes the panel. `document` is the flow's document, `types` the nodes that this build has, `webhook(id)` what is known of a
 * webhook, `choose(key)` chooses another part. The answer has `element`, `draw(key)`, `errors(list)` and `ran(trace)`.
 */
export function flowPanel({ app, flowDocument, types, webhook, preview, choose }) {
  const element = h("section", { class: "card flow-panel", "aria-label": "What is chosen" });
  let key = null;
  let form = null;
  let result = h("div", {});
  let wires = h("div", {});
  let trace = null;
  let errors = [];

  const flow = () => flowDocument.flow;
  const node = () => find(flow(), key) ?? {};
  const nameOf = (id) => {
    const one = (flow().nodes ?? []).find((other) => other.id === id);
    return one ? `${typeName(one.type)} · ${id}` : String(id);
  };

  const draw = (next) => {
    key = next;
    form = null;
    result = h("div", {});
    wires = h("div", {});
    const one = flow() && key ? find(flow(), key) : null;
    if (!one) put(element, intro());
    else if (key.startsWith("t:")) drawTrigger(one);
    else drawNode(one);
    drawWires();
    drawRun();
    showErrors();
  };

  const intro = () => [
    h("h2", {}, "The flow"),
    h("p", { class: "quiet" }, "Choose a part of the picture to see its form. The + behind a part adds what comes next; dragged to another node it connects the two."),
    h("p", { class: "help" }, "By keyboard: Tab and the arrow keys move, Enter opens, + adds behind, C connects, Delete removes, Ctrl+Z takes it back."),
  ];

  const drawTrigger = (trigger) => {
    const known = trigger.type === "webhook" ? webhook(trigger.key) : null;
    put(element,
      h("h2", {}, trigger.type === "webhook" ? "Trigger: a webhook" : `Trigger: ${trigger.type}`),
      trigger.type !== "webhook" ? h("p", { class: "quiet" }, "It is kept for other programs and starts nothing here.")
        : known ? h("p", {}, "Calls of ", h("a", { href: link(app, "webhooks", trigger.key) }, known.name), known.isWebsocket ? " (WebSocket)" : known.waitForReply ? ", whose callers wait for a reply." : ", whose callers do not wait for a reply.")
          : h("p", { class: "error" }, `There is no webhook ${trigger.key}. It starts nothing.`),
      result, wires, removal("Remove the trigger"));
  };

  const drawNode = (one) => {
    const id = field("Id", h("input", { value: one.id ?? "", autocomplete: "off", spellcheck: "false", class: "mono" }), null);
    id.control.addEventListener("change", () => rename(id));
    form = nodeFields(node, (name, value) => {
      flowDocument.change((next) => {
        const target = find(next, key);
        target.config = { ...target.config };
        write(target.config, name, value);
      }, `${key} ${name}`);
      preview.later();
    }, preview);
    put(element,
      h("h2", {}, typeName(one.type)), TYPES[one.type] ? h("p", { class: "help" }, TYPES[one.type].what) : h("p", { class: "error" }, `This build does not run ${one.type}.`),
      result, form.element, wires,
      h("details", { class: "more" }, h("summary", {}, "Id"), id.element), removal("Remove the node"));
  };

  const rename = (id) => {
    const from = key.slice(2);
    const to = id.control.value.trim();
    if (to === from) return;
    const isTaken = (flow().nodes ?? []).some((other) => other.id === to);
    if (to === "" || isTaken) return id.error(to === "" ? "It needs an id." : "Another node has it.");
    flowDocument.change((next) => {
      for (const one of [...(next.triggers ?? []), ...(next.nodes ?? [])]) {
        if (Array.isArray(one.outputIds)) one.outputIds = one.outputIds.map((ids) => (Array.isArray(ids) ? ids.map((other) => (other === from ? to : other)) : ids === from ? to : ids));
      }
      find(next, key).id = to;
    });
    choose(nodeKey(to));
  };

  const removal = (text) => h("div", { class: "actions end" }, button(text, () => {
    flowDocument.change((next) => remove(next, key));
    choose(null);
  }, { class: "small danger" }));

  /** Where it leads: the same as in the picture, for those who do not see or point. */
  const drawWires = () => {
    const one = flow() && key ? find(flow(), key) : null;
    if (!one) return;
    const isTrigger = key.startsWith("t:");
    const names = isTrigger ? [""] : outputNames(one.type);
    const { edges, isWired } = graphOf(flow());
    put(wires, names.map((name, output) => {
      const label = name ? `Where it is ${name}` : "Leads to";
      const ids = isWired ? outputs(one, names.length)[output] : edges.filter((edge) => edge.from === key).map((edge) => edge.to.slice(2));
      const others = (flow().nodes ?? []).filter((other) => other !== one && !ids.includes(other.id));
      const options = [["", "Add or connect…"], ...types.map((type) => [`+${type}`, `Add: ${typeName(type)}`]), ...others.map((other) => [other.id, `Connect: ${nameOf(other.id)}`])];
      const more = select(options, "", { "aria-label": `${label}: add or connect`, onchange: () => {
        const value = more.value;
        if (value.startsWith("+")) {
          const made = flowDocument.change((next) => addNode(next, value.slice(1), key, output));
          return choose(made, true);
        }
        flowDocument.change((next) => connect(next, key, output, nodeKey(value)));
        return choose(key);
      } });
      return h("div", { class: "field" }, h("h3", {}, label),
        h("ul", { class: "chips" }, ids.map((id) => h("li", {}, button(nameOf(id), () => choose(nodeKey(id)), { class: "linkish" }), " ",
          button("×", () => {
            flowDocument.change((next) => disconnect(next, { from: key, output, to: nodeKey(id) }));
            choose(key);
          }, { class: "plain", "aria-label": `Disconnect ${nameOf(id)}` })))),
        more);
    }));
  };

  const drawRun = () => {
    const run = trace?.get(key);
    if (!run || typeof run === "string") {
      put(result, trace !== null && key?.startsWith("n:") ? h("p", { class: "help" }, "The call that was run did not get here.") : null);
      return;
    }
    const kind = Object.keys(RUN_TITLES).find((name) => run[name] !== undefined);
    put(result, h("section", { class: "ran-box" },
      h("h3", {}, `Of the call that was run: ${kind ? RUN_TITLES[kind].toLowerCase() : "nothing, it passes it on"}`), runDetails(run),
      run.afterDelivery ? h("p", { class: "help" }, "It runs once the delivery before it is done.") : null));
  };

  const showErrors = () => {
    if (!form || !key) return;
    const index = (flow()?.nodes ?? []).indexOf(node());
    const start = `nodes[${index}].`;
    form.show(errors.filter((error) => error.field.startsWith(start)).map(({ field: path, message }) => ({ path: path.slice(start.length), message })));
  };

  return {
    element, draw,
    refresh: () => drawWires(),
    errors(list) {
      errors = list;
      showErrors();
    },
    ran(next) {
      trace = next;
      drawRun();
    },
    focus: () => (form ? form.focus() : element.querySelector("select, a, button")?.focus()),
  };
}

/** What a node made, in full. */
function runDetails(run) {
  const headerLines = (headers) => headers.map(([name, value]) => `${name}: ${value}`).join("\n");
  if (run.error) return h("p", { class: "error" }, run.error);
  if (run.condition !== undefined) return h("p", {}, run.condition ? "true" : "false");
  if (run.message !== undefined) return code("Message", run.message);
  if (run.request) return [code("Request", `${run.request.method} ${run.request.url}\n${headerLines(run.request.headers)}`), run.request.body === "" ? null : code("Body", run.request.body)];
  if (run.publication) return [code("Message to NATS", `${run.publication.subject}\n${headerLines(run.publication.headers ?? [])}`), code("Body", run.publication.body)];
  if (run.reply) {
    const { reply } = run;
    return [
      reply.error ? h("p", { class: "error" }, reply.error) : null,
      reply.isSent === false ? h("p", { class: "error" }, "Nobody waits for it: the webhook answers at once.") : null,
      code(reply.isWebsocketMessage ? "Message" : "Reply", reply.isWebsocketMessage ? reply.body : `${reply.statusCode}\n${headerLines(reply.headers ?? [])}\n\n${reply.body}`),
    ];
  }
  return run.worker ? h("p", {}, "The whole payload goes to a worker.") : null;
}
