// Where the parts of a graph stand: layers from the triggers on, ordered so that few wires cross (after Sugiyama, Tagawa
// and Toda, 1981). Nothing is drawn here.

/** Size of a vertex, and the least space between two. */
export const NODE = { width: 196, height: 58 };
const GAP = { across: 26, along: 62 };
/** Space at the edges of the picture: room for the buttons behind the outputs. */
const MARGIN = 26;
/** Rounds in which neighbours are brought nearer to each other. */
const SWEEPS = 6;
/** Space that a wire takes which passes a layer. */
const PASSING = 20;

/**
 * Lays a graph out; `{places: Map of key to {x, y}, wires: [{edge, points}], width, height}`. Layers go to the right where
 * `isWide`, else down.
 */
export function layout(graph, isWide) {
  const layers = layersOf(graph);
  const { rows, chains } = rowsOf(graph, layers);
  order(rows);
  align(rows, isWide);
  const size = isWide ? NODE : { width: NODE.height, height: NODE.width };
  const step = (isWide ? NODE.width : NODE.height) + GAP.along;
  const places = new Map();
  let across = 0;
  rows.forEach((row, layer) => row.forEach((one) => {
    across = Math.max(across, one.at + one.size);
    if (one.key === null) return;
    const along = MARGIN + layer * step;
    places.set(one.key, isWide ? { x: along, y: MARGIN + one.at } : { x: MARGIN + one.at, y: along });
  }));
  const wires = chains.map(({ edge, passing, isBack }) => ({
    edge, isBack,
    points: passing.map((one) => {
      const along = MARGIN + one.layer * step + (isWide ? size.width : NODE.height) / 2;
      const middle = MARGIN + one.at + one.size / 2;
      return isWide ? { x: along, y: middle } : { x: middle, y: along };
    }),
  }));
  const along = MARGIN * 2 + rows.length * step - GAP.along + 14;
  const total = MARGIN * 2 + across;
  return { places, wires, width: isWide ? along : total, height: isWide ? total : along };
}

/** The layer of each vertex: behind all that lead to it, wires that close a circle aside. */
function layersOf({ vertices, edges }) {
  const behind = new Map(vertices.map(({ key }) => [key, []]));
  for (const edge of edges) behind.get(edge.from)?.push(edge);
  const state = new Map();
  const back = new Set();
  const sorted = [];
  const visit = (key) => {
    state.set(key, "open");
    for (const edge of behind.get(key) ?? []) {
      if (state.get(edge.to) === "open") back.add(edge);
      else if (!state.has(edge.to)) visit(edge.to);
    }
    state.set(key, "done");
    sorted.unshift(key);
  };
  // What nothing leads to comes first; then what is left, which are circles.
  const led = new Set(edges.map((edge) => edge.to));
  for (const { key } of vertices) if (!led.has(key) && !state.has(key)) visit(key);
  for (const { key } of vertices) if (!state.has(key)) visit(key);
  const layers = new Map(vertices.map((vertex) => [vertex.key, vertex.trigger ? 0 : 1]));
  for (const key of sorted) {
    for (const edge of behind.get(key) ?? []) {
      if (!back.has(edge)) layers.set(edge.to, Math.max(layers.get(edge.to) ?? 0, layers.get(key) + 1));
    }
  }
  return { layers, back };
}

/** The layers as rows of places, with a place for each wire that passes one. */
function rowsOf(graph, { layers, back }) {
  const deepest = Math.max(0, ...layers.values());
  const rows = Array.from({ length: deepest + 1 }, () => []);
  const made = new Map();
  const placed = (key, layer) => {
    const one = { key, layer, at: 0, size: key === null ? PASSING : null, before: [], behind: [] };
    rows[layer].push(one);
    return one;
  };
  for (const { key } of graph.vertices) made.set(key, placed(key, layers.get(key)));
  const chains = graph.edges.map((edge) => {
    const isBack = back.has(edge);
    const from = made.get(edge.from);
    const to = made.get(edge.to);
    if (isBack) return { edge, passing: [], isBack };
    const passing = [];
    let last = from;
    for (let layer = from.layer + 1; layer < to.layer; layer += 1) {
      const one = placed(null, layer);
      passing.push(one);
      join(last, one, edge.output);
      last = one;
    }
    join(last, to, edge.output);
    return { edge, passing, isBack };
  });
  return { rows, chains };
}

function join(one, other, output) {
  one.behind.push(other);
  other.before.push({ one, output });
}

/** Orders each row by the middle of its neighbours, to and fro. */
function order(rows) {
  rows.forEach((row) => row.forEach((one, index) => { one.rank = index; }));
  const settle = (row, middle) => {
    for (const one of row) one.wish = middle(one) ?? one.rank;
    row.sort((one, other) => one.wish - other.wish || one.rank - other.rank);
    row.forEach((one, index) => { one.rank = index; });
  };
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    // The second output of a condition comes behind the first.
    for (const row of rows) settle(row, (one) => mean(one.before.map(({ one: other, output }) => other.rank + output / 4)));
    for (const row of rows.toReversed()) settle(row, (one) => mean(one.behind.map((other) => other.rank)));
  }
  for (const row of rows) settle(row, (one) => mean(one.before.map(({ one: other, output }) => other.rank + output / 4)));
}

/** Gives each place its position across: near its neighbours, none on another. */
function align(rows, isWide) {
  const size = isWide ? NODE.height : NODE.width;
  for (const row of rows) {
    let next = 0;
    for (const one of row) {
      one.size ??= size;
      one.at = next;
      next += one.size + GAP.across;
    }
  }
  const centre = (one) => one.at + one.size / 2;
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isDown = sweep % 2 === 0;
    for (const row of isDown ? rows : rows.toReversed()) {
      const wishes = row.map((one) => {
        const near = isDown ? one.before.map(({ one: other }) => other) : one.behind;
        return (mean(near.map(centre)) ?? centre(one)) - one.size / 2;
      });
      spread(row, wishes);
    }
  }
  const least = Math.min(0, ...rows.flat().map((one) => one.at));
  for (const one of rows.flat()) one.at -= least;
}

/** Puts a row as near to the wishes as its order and its gaps let it. */
function spread(row, wishes) {
  const blocks = [];
  row.forEach((one, index) => {
    // Blocks of places that touch share their wish (isotonic regression over the gaps).
    let block = { places: [one], offset: [0], sum: wishes[index], count: 1, length: one.size };
    while (blocks.length > 0) {
      const before = blocks.at(-1);
      const start = before.sum / before.count;
      if (start + before.length + GAP.across <= block.sum / block.count) break;
      blocks.pop();
      const shift = before.length + GAP.across;
      block = {
        places: [...before.places, ...block.places],
        offset: [...before.offset, ...block.offset.map((offset) => offset + shift)],
        sum: before.sum + block.sum - shift * block.count,
        count: before.count + block.count,
        length: shift + block.length,
      };
    }
    blocks.push(block);
  });
  for (const block of blocks) block.places.forEach((one, index) => { one.at = block.sum / block.count + block.offset[index]; });
}

function mean(numbers) {
  return numbers.length === 0 ? null : numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}
