// Elements, numbers and the chart. Text goes into text nodes only, never into HTML.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function s(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat("en", {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});

export const number = (value) => (value === undefined || value === null ? "–" : whole.format(value));
export const when = (text) => (text ? moment.format(new Date(text)) : "–");
export const rate = (value) => (value ? `${whole.format(Math.round(value))} / s` : "–");

export function percent(value) {
  if (value === undefined || value === null) return "–";
  return value > 0 && value < 0.005 ? "< 1 %" : `${Math.round(value * 100)} %`;
}

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;

// Columns of counts that are 0 in all rows are left out.
export const told = (columns, rows) => columns.filter(({ holds }) => !holds || rows.some(holds));

export const waiting = (seconds) => (seconds === 0 ? "none" : duration(seconds));

export function duration(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  if (seconds < 0.05) return "< 0.1 s";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// A table that scrolls by itself if the window is narrow. columns: [{ title, name, number, cell: (row) => node }]
export function table(caption, columns, rows) {
  const cell = (column, row, index) =>
    h(index ? "td" : "th", { scope: index ? null : "row", class: column.number ? "num" : column.name ?? null }, column.cell(row));
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {},
      h("caption", { class: "note", hidden: true }, caption),
      h("thead", {}, h("tr", {}, columns.map(({ title, number: isNumber }) =>
        h("th", { scope: "col", class: isNumber ? "num" : null }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((column, index) => cell(column, row, index)))))));
}

export const KINDS = ["accepted", "unchanged", "removed", "rejected"];
// Users without a row any more may have stayed in MoEngage: a report does not say whether they were removed.
const worded = (kind) => (kind === "removed" ? "no longer in query" : kind);
const WIDEST = 900, NARROWEST = 300, HEIGHT = 200, LEFT = 52, FOOT = 22, HEAD = 8;

// Stacked bars, one for each run, oldest first. The table of runs has the same numbers for who does not see them.
export function chart(runs) {
  const WIDTH = Math.min(Math.max(document.documentElement.clientWidth - 60, NARROWEST), WIDEST); // letters keep their size
  const shown = [...runs].reverse();
  const totals = shown.map((run) => KINDS.reduce((sum, kind) => sum + (run[kind] ?? 0), 0));
  const top = nice(Math.max(...totals, 1));
  const floor = HEIGHT - FOOT;
  const y = (value) => floor - (value / top) * (floor - HEAD);
  const band = (WIDTH - LEFT) / Math.max(shown.length, 1);
  const bar = Math.min(band * 0.8, 46);
  const marks = [0, top / 2, top].flatMap((mark) => [
    s("line", { x1: LEFT, x2: WIDTH, y1: y(mark), y2: y(mark) }),
    s("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, short.format(mark)),
  ]);
  const every = Math.ceil(130 / band);
  const bars = shown.flatMap((run, index) => {
    const x = LEFT + band * index + (band - bar) / 2;
    let below = 0;
    const parts = KINDS.filter((kind) => run[kind]).map((kind) => {
      const height = Math.max(y(below) - y(below + run[kind]), 1.5);
      below += run[kind];
      return s("rect", { class: kind, x, y: y(below), width: bar, height });
    });
    if (run.state === "failed") parts.push(s("text", { class: "failed-mark", x: x + bar / 2, y: y(below) - 3, "text-anchor": "middle" }, "✕"));
    parts.push(s("title", {}, `${when(run.run_after)}: ${KINDS.filter((kind) => run[kind]).map((kind) => `${number(run[kind])} ${worded(kind)}`).join(", ") || run.state || "nothing"}`));
    const label = index % every === 0 ? s("text", { x: x + bar / 2, y: HEIGHT - 6, "text-anchor": "middle" }, when(run.run_after)) : null;
    return [s("g", {}, parts), label].filter(Boolean);
  });
  const label = `Elements of the last ${shown.length} runs, stacked by what became of them. The table of runs has the numbers.`;
  return h("div", { class: "chart" },
    s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, marks, bars),
    h("ul", { class: "legend" }, KINDS.map((kind) =>
      h("li", {}, s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: kind, width: 10, height: 10 })), worded(kind)))));
}

function nice(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [2, 4, 6, 8, 10].map((times) => times * step).find((top) => top >= value);
}
