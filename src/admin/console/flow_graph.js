// A flow as a graph: its triggers and nodes, the wires between them, and every change that the picture makes. The functions
// that change something do so in the flow that they are given, which is the API's object.

/** The types of nodes: name for people, outputs, and the config of a new one. */
export const TYPES = {
  WebhookReplyNode: { name: "Reply", what: "Answers the caller from templates.", config: { bodyTemplate: "{\"received\": {{jsonEncode data.body}}}", bodyTemplateType: "string", headerInfo: [] } },
  ConditionalNode: { name: "Condition", what: "Decides which way a call goes on.", outputs: ["false", "true"], config: { expression: "{{data.body.value}} > 10" } },
  HttpForwardNode: { name: "Forward", what: "Sends it to a URL, again until that succeeds.", config: { url: "https://example.com/" } },
  WorkerNode: { name: "Worker", what: "Hands it to an attached program.", config: {} },
  NatsNode: { name: "NATS", what: "Publishes it to JetStream.", config: {} },
  DebugNode: { name: "Log", what: "Writes a line to the server's log, at debug.", config: { message: "{{jsonEncode data.body}}" } },
  AnnotationNode: { name: "Note", what: "Does nothing; for those who read the flow.", config: {} },
};

/** Name of a type that may be unknown here. */
export const typeName = (type) => TYPES[type]?.name ?? String(type);

/** Names of a node's outputs; one without a name for most. */
export const outputNames = (type) => TYPES[type]?.outputs ?? [""];

/** Longest text that a node shows of what it does. */
const SUMMARY_CHARACTERS = 60;

/** What a node does, in a few words. */
export function summary(node) {
  const config = node.config ?? {};
  const text = {
    WebhookReplyNode: () => [config.responseCodeTemplate, config.bodyTemplate].filter(Boolean).join(" "),
    ConditionalNode: () => config.expression,
    HttpForwardNode: () => `${config.method ?? "POST"} ${config.url ?? ""}`,
    WorkerNode: () => "to an attached worker",
    NatsNode: () => config.subject ?? "tidegate.<application>.<webhook>",
    DebugNode: () => config.message,
    AnnotationNode: () => config.text ?? node.meta?.text ?? "",
  }[node.type]?.() ?? "";
  return String(text).replace(/\s+/g, " ").trim().slice(0, SUMMARY_CHARACTERS);
}

const list = (value) => (Array.isArray(value) ? value : []);

/** The lists of ids of a trigger or a node, one for each of its outputs. */
export function outputs(one, count = outputNames(one.type).length) {
  const given = list(one.outputIds);
  const lists = given.some((id) => typeof id === "string") ? [given] : given.map(list);
  if (count === 1) return [[...new Set(lists.flat())]];
  return Array.from({ length: count }, (_, index) => [...new Set(lists[index] ?? [])]);
}

/** Whether `outputIds` stands anywhere; where it does not, every node runs. */
export function isWired(flow) {
  return [...list(flow.triggers), ...list(flow.nodes)].some((one) => one.outputIds !== undefined && one.outputIds !== null);
}

/** The key of a node in a graph. */
export const nodeKey = (id) => `n:${id}`;
/** The key of a trigger in a graph. */
export const triggerKey = (index) => `t:${index}`;

/** Vertices and edges: `{vertices: [{key, trigger?, index?, node?}], edges: [{from, output, to}], isWired}`. */
export function graphOf(flow) {
  const nodes = list(flow.nodes).filter((node) => node && typeof node === "object");
  const triggers = list(flow.triggers).filter((trigger) => trigger && typeof trigger === "object");
  const known = new Set(nodes.map((node) => node.id));
  const vertices = [
    ...triggers.map((trigger, index) => ({ key: triggerKey(index), trigger, index })),
    ...nodes.map((node, index) => ({ key: nodeKey(node.id), node, index })),
  ];
  const wired = isWired(flow);
  const edges = [];
  for (const vertex of vertices) {
    const lists = wired ? outputs(vertex.node ?? vertex.trigger, vertex.node ? undefined : 1) : vertex.trigger ? [[...known]] : [];
    lists.forEach((ids, output) => ids.filter((id) => known.has(id)).forEach((id) => edges.push({ from: vertex.key, output, to: nodeKey(id) })));
  }
  return { vertices, edges, isWired: wired };
}

/** The trigger or node of a key; null where it is gone. */
export function find(flow, key) {
  if (!flow || key === null || key === undefined) return null;
  const rest = key.slice(2);
  if (key.startsWith("t:")) return list(flow.triggers)[Number(rest)] ?? null;
  return list(flow.nodes).find((node) => String(node.id) === rest) ?? null;
}

/** Writes the wires out where they stand nowhere, so that one of them can be changed. */
export function wire(flow) {
  if (isWired(flow)) return;
  const all = list(flow.nodes).map((node) => node.id);
  for (const trigger of list(flow.triggers)) trigger.outputIds = [all];
}

/** Gives every node an id. */
function giveIds(flow) {
  for (const node of list(flow.nodes)) {
    if (typeof node.id !== "string" || node.id === "") node.id = freshId(flow, node.type);
  }
}

function freshId(flow, type) {
  const used = new Set(list(flow.nodes).map((node) => node.id));
  const stem = typeName(type).toLowerCase().replace(/[^a-z0-9]+/g, "-");
  let number = 1;
  while (used.has(`${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
}

/** Leads an output to a node as well. Answers whether that is possible: nothing leads to itself. */
export function connect(flow, from, output, to) {
  const source = find(flow, from);
  const target = find(flow, to);
  if (!source || !target || source === target || !to.startsWith("n:")) return false;
  giveIds(flow);
  wire(flow);
  const lists = outputs(source, from.startsWith("t:") ? 1 : undefined);
  if (!lists[output].includes(target.id)) lists[output].push(target.id);
  source.outputIds = lists;
  return true;
}

/** Takes a wire away. */
export function disconnect(flow, { from, output, to }) {
  const source = find(flow, from);
  const target = find(flow, to);
  if (!source || !target) return;
  wire(flow);
  const lists = outputs(source, from.startsWith("t:") ? 1 : undefined);
  lists[output] = lists[output].filter((id) => id !== target.id);
  source.outputIds = lists;
}

/** Adds a node behind an output, or behind nothing; answers its key. */
export function addNode(flow, type, from = null, output = 0) {
  if (!Array.isArray(flow.nodes)) flow.nodes = [];
  giveIds(flow);
  const node = { id: freshId(flow, type), type, config: structuredClone(TYPES[type]?.config ?? {}) };
  wire(flow);
  flow.nodes.push(node);
  const key = nodeKey(node.id);
  if (from !== null) connect(flow, from, output, key);
  return key;
}

/** Adds a trigger on a webhook; answers its key. It leads to where the first one leads. */
export function addTrigger(flow, webhook) {
  if (!Array.isArray(flow.triggers)) flow.triggers = [];
  const first = flow.triggers[0];
  const trigger = { type: "webhook", key: webhook };
  if (isWired(flow)) trigger.outputIds = first ? outputs(first, 1) : [firstNodes(flow)];
  flow.triggers.push(trigger);
  return triggerKey(flow.triggers.length - 1);
}

/** The nodes that nothing leads to. */
function firstNodes(flow) {
  const led = new Set(graphOf(flow).edges.map((edge) => edge.to));
  return list(flow.nodes).map((node) => node.id).filter((id) => !led.has(nodeKey(id)));
}

/** Removes a trigger or a node; what led to a node leads on to what was behind it. */
export function remove(flow, key) {
  const one = find(flow, key);
  if (!one) return;
  if (key.startsWith("t:")) {
    flow.triggers.splice(Number(key.slice(2)), 1);
    return;
  }
  const behind = outputs(one).flat().filter((id) => id !== one.id);
  const isPlain = outputNames(one.type).length === 1;
  for (const other of [...list(flow.triggers), ...list(flow.nodes)]) {
    if (other === one || other.outputIds === undefined || other.outputIds === null) continue;
    const lists = outputs(other, list(flow.triggers).includes(other) ? 1 : undefined);
    other.outputIds = lists.map((ids) => {
      if (!ids.includes(one.id)) return ids;
      const rest = ids.filter((id) => id !== one.id);
      return isPlain ? [...new Set([...rest, ...behind.filter((id) => id !== other.id)])] : rest;
    });
  }
  flow.nodes.splice(flow.nodes.indexOf(one), 1);
}
