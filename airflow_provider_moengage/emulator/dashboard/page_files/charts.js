// Charts with stacked bars, as wide as their container.

import { s } from "./dom.js";
import { compact } from "./format.js";

const CHARACTER = 6.4; // width in px of a character in an axis label
const FOOT = 20;
const HEAD = 8;
const drawings = new Map();
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const drawing = drawings.get(target);
    if (drawing && Math.abs(drawing.width - target.clientWidth) > 1) draw(target, drawing.chart);
  }
});

// columns: [{ label, title, values, must, apart }] with one value for each of kinds (class names);
// must: the label is always drawn, apart: the bar follows a gap.
export function bars(host, chart) {
  if (!drawings.has(host)) widths.observe(host);
  draw(host, chart);
}

export function none(host, ...children) {
  drawings.delete(host);
  widths.unobserve(host);
  host.replaceChildren(...children);
}

function draw(host, chart) {
  const { columns, kinds, label, height = 180 } = chart;
  const width = Math.max(host.clientWidth, 160);
  drawings.set(host, { chart, width: host.clientWidth });
  const totals = columns.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
  const top = niceTop(Math.max(...totals, 1));
  const marks = Number.isInteger(top / 2) ? [0, top / 2, top] : [0, top];
  const left = Math.max(...marks.map((mark) => compact(mark).length)) * CHARACTER + 8;
  const floor = height - FOOT;
  const y = (value) => floor - (value / top) * (floor - HEAD);
  const aside = ({ label: text }) => text.length * CHARACTER + 16; // width of a bar after a gap
  const rest = columns.filter(({ apart }) => apart).reduce((room, column) => room - aside(column), width - left);
  const usualBand = rest / Math.max(columns.filter(({ apart }) => !apart).length, 1);
  const bands = columns.map((column) => (column.apart ? aside(column) : usualBand));
  const bar = Math.max(Math.min((columns.every(({ apart }) => apart) ? bands[0] : usualBand) * 0.82, 46), 1.5);
  const nodes = marks.flatMap((mark) => [
    s("line", { class: "grid", x1: left, x2: width, y1: y(mark), y2: y(mark) }),
    s("text", { x: left - 6, y: y(mark) + 4, "text-anchor": "end" }, compact(mark)),
  ]);
  let x = left;
  const places = bands.map((band) => (x += band) - band);
  // Required labels come first; of the others, only every second, third, ... is drawn if not all fit.
  const middle = (index, size) => Math.min(Math.max(places[index] + bands[index] / 2, size / 2), width - size / 2);
  const labelled = [...columns.keys()].filter((index) => columns[index].label);
  const usual = labelled.filter((index) => !columns[index].must);
  const longest = Math.max(...usual.map((index) => columns[index].label.length), 1) * CHARACTER + 14;
  const apart = usual.length > 1 ? places[usual[1]] - places[usual[0]] : width;
  const every = Math.ceil(longest / apart);
  const taken = [];
  for (const index of [...labelled.filter((index) => columns[index].must), ...usual.filter((_, place) => place % every === 0)]) {
    const text = columns[index].label;
    const size = text.length * CHARACTER;
    const x = middle(index, size);
    if (taken.some(([from, to]) => x - size / 2 - 8 < to && x + size / 2 + 8 > from)) continue;
    taken.push([x - size / 2, x + size / 2]);
    nodes.push(s("text", { x, y: height - 5, "text-anchor": "middle" }, text));
  }
  columns.forEach((column, index) => {
    if (!totals[index]) return;
    let from = 0;
    const parts = column.values.map((value, kind) => {
      if (!value) return null;
      const low = y(from);
      from += value;
      const tall = Math.max(low - y(from), 1);
      return s("rect", { class: kinds[kind], x: places[index] + (bands[index] - bar) / 2, y: low - tall, width: bar, height: tall });
    });
    nodes.push(
      s("g", {}, s("title", {}, column.title), s("rect", { class: "hit", x: places[index], y: HEAD, width: bands[index], height: floor - HEAD }), parts),
    );
  });
  host.replaceChildren(s("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label }, nodes));
}

function niceTop(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].map((factor) => Math.round(factor * size)).find((top) => top >= value);
}
