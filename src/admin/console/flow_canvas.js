// The picture of a flow: an SVG of its graph that is worked by pointer and by keyboard. It changes nothing itself; what is
// wanted is told to `on`.

import { h, put, s, visible } from "./dom.js";
import { graphOf, outputNames, summary, typeName, TYPES } from "./flow_graph.js";
import { NODE, layout } from "./flow_layout.js";

/** Width of the page from which layers go to the right. */
const WIDE_PX = 760;
/** Characters that fit the lines of a node. */
const TITLE_CHARACTERS = 24;
const SUMMARY_CHARACTERS = 26;
/** How small the picture may be drawn so that it fits. */
const SCALE_MIN = 0.72;
/** Where the outputs of a node with two stand along its side. */
const TWO_OUTPUTS = [0.14, 0.86];
/** How far a pointer moves before a press becomes a drag. */
const DRAG_PX = 6;
/** Distance of an output's button from its node. */
const PORT = 14;
const PORT_RADIUS = 12;

/**
 * Makes the picture. `names` gives a trigger's name, `types` the types of nodes that this build has. `on` has `choose(key)`,
 * `chooseEdge(edge)`, `connect(from, output, to)`, `add(type, from, output)`, `remove(key)` and `say(text)`.
 */
export function flowCanvas({ names, types, on }) {
  const drawing = s("svg", { class: "graph", role: "group", "aria-label": "The flow as a picture" });
  const menu = h("div", { class: "graph-menu", hidden: true });
  const scroll = h("div", { class: "graph-scroll", role: "region", "aria-label": "Picture of the flow", tabindex: "0" }, drawing);
  const element = h("div", { class: "graph-box" }, scroll, menu);
  let shown = { flow: null, chosen: null, edge: null, trace: null, errors: new Map() };
  let laid = null;
  let graph = { vertices: [], edges: [] };
  let linking = null;
  let isWide = true;
  let scale = 1;
  let drawnFor = 0;

  const size = (key) => laid.places.get(key);
  const ports = (vertex) => (vertex.trigger ? [""] : outputNames(vertex.node.type));
  const portAt = (vertex, output) => {
    const place = size(vertex.key);
    const share = ports(vertex).length === 2 ? TWO_OUTPUTS[output] : 0.5;
    return isWide
      ? { x: place.x + NODE.width + PORT, y: place.y + NODE.height * share }
      : { x: place.x + NODE.width * share, y: place.y + NODE.height + PORT };
  };
  const entry = (key) => {
    const place = size(key);
    return isWide ? { x: place.x, y: place.y + NODE.height / 2 } : { x: place.x + NODE.width / 2, y: place.y };
  };

  const draw = (state) => {
    shown = { ...shown, ...state };
    isWide = element.clientWidth === 0 || element.clientWidth >= WIDE_PX;
    const focused = drawing.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    graph = graphOf(shown.flow);
    laid = layout(graph, isWide);
    drawnFor = scroll.clientWidth;
    scale = Math.min(1, Math.max(SCALE_MIN, (scroll.clientWidth || laid.width) / laid.width));
    for (const [name, value] of Object.entries({ width: Math.floor(laid.width * scale), height: Math.floor(laid.height * scale), viewBox: `0 0 ${laid.width} ${laid.height}` })) drawing.setAttribute(name, value);
    drawing.replaceChildren(arrow(), ...laid.wires.map(wire), ...graph.vertices.flatMap(vertexParts));
    if (focused) drawing.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };

  const wire = ({ edge, points, isBack }) => {
    const vertex = graph.vertices.find(({ key }) => key === edge.from);
    const path = curve([portAt(vertex, edge.output), ...points, entry(edge.to)], isWide, isBack, laid);
    const isChosen = shown.edge && sameEdge(shown.edge, edge);
    const way = shown.trace === null ? "" : tookWay(shown.trace, graph, edge) ? " taken" : " idle";
    const label = `Wire from ${nameOf(vertex)}${outputLabel(vertex, edge.output)} to ${nameOf(graph.vertices.find(({ key }) => key === edge.to))}`;
    const choose = () => on.chooseEdge(edge);
    return s("g", { class: `wire${isChosen ? " chosen" : ""}${way}${graph.isWired ? "" : " implied"}`, onclick: choose },
      s("title", {}, label), s("path", { class: "reach", d: path }), s("path", { class: "line", d: path, "marker-end": "url(#graph-arrow)" }));
  };

  const vertexParts = (vertex) => {
    const { key } = vertex;
    const place = size(key);
    const error = shown.errors.get(key);
    const run = shown.trace?.get(key);
    const isLed = vertex.trigger || graph.edges.some((edge) => edge.to === key);
    const state = [
      "vertex", vertex.trigger ? "trigger" : `kind-${vertex.node.type}`,
      key === shown.chosen ? "chosen" : "", error ? "wrong" : "", isLed ? "" : "loose",
      shown.trace === null ? "" : run || (vertex.trigger && shown.trace.get("trigger") === key) ? "ran" : "idle",
      linking && linking.from !== key && !vertex.trigger ? "target" : "",
    ].filter(Boolean).join(" ");
    const [title, text] = vertex.trigger ? triggerTexts(vertex.trigger) : [titleOf(vertex.node), summary(vertex.node)];
    const told = error ? `Wrong: ${error}` : run ? runText(run) : null;
    // The texts stand beside the button, which has a name of its own: they are cut where it is not.
    const body = s("g", {
      class: state, transform: `translate(${place.x} ${place.y})`, tabindex: "0", role: "button",
      "data-focus": key, "data-key": key, "aria-pressed": String(key === shown.chosen), "aria-label": labelOf(vertex, error, run),
      onclick: () => (linking ? land(key) : on.choose(key)),
      onkeydown: (event) => onKey(event, vertex),
    },
    s("rect", { class: "plate", width: NODE.width, height: NODE.height, rx: 8 }),
    s("rect", { class: "stripe", width: 6, height: NODE.height, rx: 3 }));
    const texts = s("g", { class: `texts${error ? " wrong" : ""}`, transform: `translate(${place.x} ${place.y})`, "aria-hidden": "true" },
      s("text", { class: "title", x: 16, y: 23 }, cut(title, TITLE_CHARACTERS)),
      s("text", { class: `summary${told ? " told" : ""}`, x: 16, y: 43 }, cut(told ?? text, SUMMARY_CHARACTERS)));
    return [body, texts, ...ports(vertex).flatMap((name, output) => port(vertex, output, name))];
  };

  const port = (vertex, output, name) => {
    const { x, y } = portAt(vertex, output);
    const label = `Add a node behind ${nameOf(vertex)}${outputLabel(vertex, output)}`;
    const made = s("g", { class: "port", transform: `translate(${x} ${y})`, tabindex: "0", role: "button", "aria-label": label, "data-focus": `${vertex.key}/${output}`, onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open(vertex, output);
    } }, s("circle", { r: PORT_RADIUS }), s("path", { d: "M-4 0H4M0 -4V4" }));
    const text = name === "" ? null : s("g", { class: "port-name", transform: `translate(${x} ${y})`, "aria-hidden": "true" }, s("text", isWide ? { x: 2, y: output === 0 ? -15 : 23, "text-anchor": "middle" } : { x: output === 0 ? -16 : 16, y: 4, "text-anchor": output === 0 ? "end" : "start" }, name));
    made.addEventListener("pointerdown", (event) => drag(event, vertex, output, { x, y }));
    return [made, text].filter(Boolean);
  };

  /** A press on an output: opens the menu where it is let go again, connects where it ends on a node. */
  const drag = (event, vertex, output, from) => {
    if (event.button !== 0) return;
    event.preventDefault();
    const line = s("path", { class: "drag" });
    const start = { x: event.clientX, y: event.clientY };
    let isDrag = false;
    const move = (now) => {
      if (!isDrag && Math.hypot(now.clientX - start.x, now.clientY - start.y) < DRAG_PX) return;
      isDrag = true;
      if (!line.isConnected) drawing.append(line);
      const box = drawing.getBoundingClientRect();
      line.setAttribute("d", `M${from.x} ${from.y}L${(now.clientX - box.left) / scale} ${(now.clientY - box.top) / scale}`);
    };
    const stop = (now) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      window.removeEventListener("pointercancel", stop);
      line.remove();
      if (now.type === "pointercancel") return;
      const below = document.elementFromPoint(now.clientX, now.clientY)?.closest?.("[data-key]");
      if (!isDrag) open(vertex, output);
      else if (below && drawing.contains(below)) on.connect(vertex.key, output, below.dataset.key);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
    window.addEventListener("pointercancel", stop);
  };

  /** The menu of what can be added behind an output. */
  const open = (vertex, output) => {
    const { x, y } = portAt(vertex, output);
    const close = (isBack) => {
      menu.hidden = true;
      document.removeEventListener("pointerdown", outside);
      if (isBack) drawing.querySelector(`[data-focus="${CSS.escape(`${vertex.key}/${output}`)}"]`)?.focus();
    };
    const outside = (event) => {
      if (!menu.contains(event.target)) close(false);
    };
    const item = (text, what, act) => h("button", { type: "button", onclick: () => { close(true); act(); } }, h("strong", {}, text), h("span", {}, what));
    put(menu, h("p", {}, `Behind ${nameOf(vertex)}${outputLabel(vertex, output)}`),
      types.map((type) => item(typeName(type), TYPES[type]?.what ?? "", () => on.add(type, vertex.key, output))),
      graph.vertices.some(({ key, node }) => node && key !== vertex.key)
        ? item("A node that is there", "Choose it in the picture.", () => link(vertex, output)) : null);
    menu.hidden = false;
    // Beside the output, as far as it fits; places are properties, which the policy allows.
    const left = Math.max(4, Math.min(x * scale - scroll.scrollLeft + PORT_RADIUS, element.clientWidth - menu.offsetWidth - 4));
    menu.style.left = `${left}px`;
    menu.style.top = `${Math.max(4, y * scale - scroll.scrollTop - PORT_RADIUS)}px`;
    menu.querySelector("button").focus({ preventScroll: true });
    menu.onkeydown = (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const buttons = [...menu.querySelectorAll("button")];
      if (event.key === "Escape") close(true);
      else if (step) buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length].focus();
      else return;
      event.preventDefault();
    };
    document.addEventListener("pointerdown", outside);
  };

  const link = (vertex, output) => {
    linking = { from: vertex.key, output };
    on.say(`Choose the node that ${nameOf(vertex)}${outputLabel(vertex, output)} leads to. Escape gives it up.`);
    draw({});
    drawing.querySelector(".target")?.focus();
  };
  const land = (key) => {
    const { from, output } = linking;
    linking = null;
    if (key && key !== from) on.connect(from, output, key);
    else on.say("Nothing was connected.");
    draw({});
  };

  const onKey = (event, vertex) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (event.key === "Enter" || event.key === " ") linking ? land(vertex.key) : on.choose(vertex.key, true);
    else if (event.key === "Escape" && linking) land(null);
    else if (event.key === "Delete" || event.key === "Backspace") on.remove(vertex.key);
    else if (event.key === "+" || event.key === "Insert") open(vertex, 0);
    else if (event.key.toLowerCase() === "c") link(vertex, 0);
    else if (steps[event.key]) neighbour(vertex.key, steps[event.key])?.focus();
    else return;
    event.preventDefault();
  };
  const neighbour = (key, [right, down]) => {
    const from = size(key);
    let best = null;
    for (const [other, place] of laid.places) {
      const along = (place.x - from.x) * right + (place.y - from.y) * down;
      const beside = Math.abs((place.x - from.x) * down) + Math.abs((place.y - from.y) * right);
      if (other !== key && along > 0 && (best === null || along + beside * 2 < best.far)) best = { other, far: along + beside * 2 };
    }
    return best === null ? null : drawing.querySelector(`[data-focus="${CSS.escape(best.other)}"]`);
  };

  const nameOf = (vertex) => (vertex?.trigger ? triggerTexts(vertex.trigger)[0] : vertex ? `${titleOf(vertex.node)}` : "");
  const triggerTexts = (trigger) => (trigger.type === "webhook"
    ? [names(trigger) ?? "a webhook that is gone", "webhook"] : [`${trigger.type}`, "starts nothing here"]);
  const labelOf = (vertex, error, run) => {
    const kind = vertex.trigger ? "Trigger" : typeName(vertex.node.type);
    const to = graph.edges.filter((edge) => edge.from === vertex.key)
      .map((edge) => `${outputLabel(vertex, edge.output)} ${nameOf(graph.vertices.find(({ key }) => key === edge.to))}`.trim());
    return [`${kind} ${vertex.trigger ? nameOf(vertex) : vertex.node.id}`, error ? `wrong: ${error}` : null, run ? runText(run) : null,
      to.length > 0 ? `leads to ${to.join(", ")}` : "leads nowhere"].filter(Boolean).join("; ");
  };

  new ResizeObserver(() => {
    if (shown.flow && scroll.clientWidth !== drawnFor) draw({});
  }).observe(element);
  return { element, draw, focus: (key) => drawing.querySelector(`[data-focus="${CSS.escape(key)}"]`)?.focus() };
}

const titleOf = (node) => `${typeName(node.type)} · ${node.id}`;
const outputLabel = (vertex, output) => {
  const name = vertex?.node ? outputNames(vertex.node.type)[output] : "";
  return name ? ` (${name})` : "";
};

const sameEdge = (one, other) => one.from === other.from && one.output === other.output && one.to === other.to;

/** Whether a call went along a wire. */
function tookWay(trace, graph, edge) {
  const source = graph.vertices.find(({ key }) => key === edge.from);
  if (!trace.has(edge.to)) return false;
  if (source.trigger) return trace.get("trigger") === edge.from;
  const run = trace.get(edge.from);
  if (!run || run.error) return false;
  return source.node.type !== "ConditionalNode" || Number(run.condition) === edge.output;
}

/** What a node made of a call, in a few words. */
export function runText(run) {
  if (run.error) return `failed: ${run.error}`;
  if (run.condition !== undefined) return run.condition ? "is true" : "is false";
  if (run.reply) return run.reply.isSent === false ? "replies, and nobody waits" : `${run.reply.statusCode ?? "message"} ${run.reply.body}`;
  if (run.request) return `${run.request.method} ${run.request.url}`;
  if (run.publication) return `publishes to ${run.publication.subject}`;
  if (run.worker) return "goes to a worker";
  if (run.message !== undefined) return `logs ${run.message}`;
  return "passes it on";
}

function cut(text, most) {
  const plain = visible(text).replace(/\s+/g, " ");
  return plain.length > most ? `${plain.slice(0, most - 1)}…` : plain;
}

function arrow() {
  return s("defs", {}, s("marker", { id: "graph-arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 10, markerHeight: 10, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
    s("path", { class: "tip", d: "M0 0L8 4L0 8Z" })));
}

/** A curve through points, along the layers; one that leads back goes round. */
function curve(points, isWide, isBack, { width, height }) {
  const text = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const [first, ...rest] = points;
  if (isBack) {
    const last = rest.at(-1);
    const round = isWide ? [{ x: first.x + 60, y: height - 6 }, { x: last.x - 60, y: height - 6 }] : [{ x: width - 6, y: first.y + 60 }, { x: width - 6, y: last.y - 60 }];
    return `M${text(first)}C${text(round[0])} ${text(round[1])} ${text(last)}`;
  }
  let before = first;
  return `M${text(first)}${rest.map((point) => {
    const half = isWide ? (point.x - before.x) / 2 : (point.y - before.y) / 2;
    const one = isWide ? { x: before.x + half, y: before.y } : { x: before.x, y: before.y + half };
    const two = isWide ? { x: point.x - half, y: point.y } : { x: point.x, y: point.y - half };
    before = point;
    return `C${text(one)} ${text(two)} ${text(point)}`;
  }).join("")}`;
}

