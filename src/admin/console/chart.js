// Charts as drawings: lines, areas and stacks over time, with a cursor that reads all series at once.
//
// A chart is an image with a text that says what it shows; the numbers of the moment stand in its legend, so that
// neither colour nor a pointer is needed to read it. The arrow keys move the cursor.

import { h, put, s } from "./dom.js";
import { clock } from "./time.js";

const WIDTH = 560;
const HEIGHT = 170;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 6;
const RIGHT = 6;
/** Most horizontal lines of the grid over its floor, and of powers of ten. */
const GRID_LINES = 5;
const DECADES_MAX = 5;
/** Steps of the axis of time, in seconds; the least that leaves so few labels is taken. */
const TIME_STEPS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TIME_LABELS = 6;
/** Least distance of a label from the ends of the axis, as a part of it. */
const LABEL_EDGE = 0.05;
/** A pause of more steps than this is a gap: the server was not there, and nothing is known of it. */
const GAP_STEPS = 2.5;

/**
 * Makes a chart: `title`, `format` for values, `kind` (`line` or `stack`), `series` as `[{name, colour}]` with colours
 * 1 to 4, `whole` where values are whole numbers, `log` where they differ by powers of ten. `element` is the chart; `draw(span, times, columns)` shows columns of
 * numbers (null where there is none); the span is `{seconds, step}`.
 */
export function chart({ title, format, tick = format, series, kind = "line", whole = false, log = false }) {
  const legend = h("ul", { class: "legend" });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0", "aria-label": title });
  const labels = h("div", { class: "labels", "aria-hidden": "true" });
  const when = h("span", { class: "quiet" });
  const element = h("section", { class: "card chart" },
    h("div", { class: "head" }, h("h2", {}, title, " ", when), legend), h("div", { class: "plot" }, drawing, labels));
  let shown = { from: 0, to: 1, times: [], columns: [] };
  let cursor = null;

  const at = (time) => LEFT + ((time - shown.from) / (shown.to - shown.from)) * (WIDTH - LEFT - RIGHT);
  const place = (index) => at(shown.times[index]);
  const nearest = (x) => {
    const time = shown.from + ((x - LEFT) / (WIDTH - LEFT - RIGHT)) * (shown.to - shown.from);
    const after = shown.times.findIndex((one) => one >= time);
    if (after < 0) return shown.times.length - 1;
    return after > 0 && time - shown.times[after - 1] < shown.times[after] - time ? after - 1 : after;
  };

  const tell = () => {
    const time = shown.times[cursor];
    when.textContent = cursor === null || time === undefined ? "" : clock(time);
    put(legend, series.map((one, number) => h("li", { class: `c${one.colour}` },
      h("span", { class: "key" }), one.name, " ", h("strong", {}, format(cursor === null ? latest(shown.columns[number]) : shown.columns[number]?.[cursor] ?? null)))));
    drawing.querySelector(".cursor")?.remove();
    if (cursor !== null) {
      const x = place(cursor);
      drawing.append(s("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    }
  };
  const moveTo = (index) => {
    cursor = index === null || shown.times.length === 0 ? null : Math.min(shown.times.length - 1, Math.max(0, index));
    tell();
  };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    moveTo(nearest(x));
  });
  drawing.addEventListener("pointerleave", () => moveTo(null));
  drawing.addEventListener("blur", () => moveTo(null));
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") return moveTo(null);
    if (!step) return;
    event.preventDefault();
    moveTo((cursor ?? shown.times.length) + step);
  });

  const draw = ({ seconds, step }, times, columns) => {
    const to = times.length > 0 ? times[times.length - 1] : Date.now();
    shown = { from: to - seconds * 1000, to, times, columns };
    const heights = kind === "stack" ? stacked(columns) : columns;
    const axis = (log ? decades : quarters)(heights.flat().filter((value) => value !== null), whole);
    const y = (value) => TOP + (1 - axis.share(value)) * (HEIGHT - TOP - BOTTOM);
    drawing.replaceChildren();
    const marks = [];
    for (const value of axis.marks) {
      drawing.append(s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
      marks.push(mark("value", tick(value), null, y(value)));
    }
    const shapes = heights.map((column, number) => ({ colour: series[number].colour, column, floor: number > 0 && kind === "stack" ? heights[number - 1] : null }));
    for (const { colour, column, floor } of kind === "stack" ? shapes.toReversed() : shapes) {
      const runs = segments(column, times, step * 1000 * GAP_STEPS);
      const point = (value, index) => `${place(index).toFixed(1)},${y(value).toFixed(1)}`;
      for (const run of runs) {
        const line = run.map(([value, index]) => point(value, index));
        const below = run.toReversed().map(([, index]) => point(floor?.[index] ?? axis.marks[0], index));
        if (kind === "stack") drawing.append(s("polygon", { class: `stack c${colour}`, points: [...line, ...below].join(" ") }));
        else {
          if (series.length === 1) drawing.append(s("polygon", { class: `area c${colour}`, points: [...line, ...below].join(" ") }));
          // A second by itself is a dot: a line without a length is not seen.
          drawing.append(s("polyline", { class: `line c${colour}${line.length === 1 ? " dot" : ""}`, points: line.length === 1 ? `${line[0]} ${line[0]}` : line.join(" ") }));
        }
      }
    }
    for (const time of timeMarks(shown.from, to)) {
      drawing.append(s("line", { class: "grid", x1: at(time), x2: at(time), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }));
      const share = (time - shown.from) / (to - shown.from);
      if (share > LABEL_EDGE && share < 1 - LABEL_EDGE) marks.push(mark("time", clock(time, seconds > 300 || time % 60_000 === 0), at(time), null));
    }
    put(labels, marks);
    drawing.setAttribute("aria-label", `${title}: ${series.map((one, number) => `${one.name} ${format(latest(columns[number]))}`).join(", ")} now`);
    if (cursor !== null && cursor >= times.length) cursor = null;
    tell();
  };
  return { element, draw };
}

/** A label beside the drawing, which stretches: letters must not. Places are properties, which the policy allows. */
function mark(kind, text, x, y) {
  const made = h("span", { class: kind }, text);
  if (x !== null) made.style.left = `${(x / WIDTH) * 100}%`;
  if (y !== null) made.style.top = `${(y / HEIGHT) * 100}%`;
  return made;
}

/** Each column on top of those before it. */
function stacked(columns) {
  const sums = (columns[0] ?? []).map(() => 0);
  return columns.map((column) => column.map((value, index) => (sums[index] += value ?? 0)));
}

/** Runs of values without a gap, as pairs of value and index. */
function segments(column, times, pause) {
  const runs = [];
  let run = [];
  column.forEach((value, index) => {
    const isGap = value === null || (index > 0 && times[index] - times[index - 1] > pause);
    if (isGap && run.length > 0) {
      runs.push(run);
      run = [];
    }
    if (value !== null) run.push([value, index]);
  });
  if (run.length > 0) runs.push(run);
  return runs;
}

/** Round moments of a span: whole minutes, quarters of an hour. */
function timeMarks(from, to) {
  const step = (TIME_STEPS.find((one) => (to - from) / 1000 / one <= TIME_LABELS) ?? TIME_STEPS.at(-1)) * 1000;
  // The zone's own hours are round, too.
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const marks = [];
  for (let time = Math.ceil((from - shift) / step) * step + shift; time <= to; time += step) marks.push(time);
  return marks;
}

/** An axis from nothing, in steps of 1, 2 or 5 times a power of ten, whole where values are. */
export function quarters(values, whole) {
  const most = Math.max(0, ...values);
  const least = most / GRID_LINES;
  const floor = whole || most === 0 ? Math.max(least, whole ? 1 : 0.2) : least;
  const power = 10 ** Math.floor(Math.log10(floor) + 1e-9);
  const step = power * [1, 2, 5, 10].find((one) => one * power >= floor * 0.999_999);
  const lines = Math.max(1, Math.ceil(most / step - 1e-9));
  const marks = Array.from({ length: lines + 1 }, (_, line) => Number((line * step).toPrecision(6)));
  return { share: (value) => value / (step * lines), marks };
}

/** An axis of powers of ten, at least two of them: what is rare and long does not flatten what is usual. */
export function decades(values) {
  const some = values.filter((value) => value > 0);
  const from = some.length > 0 ? Math.floor(Math.log10(Math.min(...some)) + 1e-9) : -1;
  const to = Math.max(from + 2, some.length > 0 ? Math.ceil(Math.log10(Math.max(...some)) - 1e-9) : 1);
  const every = Math.ceil((to - from) / DECADES_MAX);
  return {
    share: (value) => Math.max(0, (Math.log10(Math.max(value, 10 ** from)) - from) / (to - from)),
    marks: Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, line) => Number((10 ** (from + line * every)).toPrecision(1))),
  };
}

/** The last value that there is: the figure that stands in tiles and tables, too. */
export function latest(column) {
  return column?.findLast((value) => value !== null && value !== undefined) ?? null;
}
