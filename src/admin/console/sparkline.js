// A small line of what something was lately, to be seen beside its figure.

import { s } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 22;

/** A line through values, the newest last; null is a gap. Its text is the figure beside it. */
export function sparkline(values, label, kind = "") {
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const step = WIDTH / Math.max(1, values.length - 1);
  const point = (value, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`;
  const runs = [[]];
  values.forEach((value, index) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push(point(value, index));
  });
  return s("svg", { class: `sparkline ${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": label },
    runs.filter((run) => run.length > 0).map((run) => s("polyline", { points: (run.length === 1 ? [run[0], run[0]] : run).join(" ") })));
}
