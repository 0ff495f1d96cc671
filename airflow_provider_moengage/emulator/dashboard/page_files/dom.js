// Creates elements. Text is never inserted as markup: requests to the emulator are not trusted.

const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);
export const at = (id) => document.getElementById(id);

const drawn = new Map();

// Draws a part of the page again only if its data has changed, so that selection and focus stay.
export function show(id, data, draw) {
  const key = JSON.stringify(data);
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  const part = at(id);
  const focusable = () => [...part.querySelectorAll("button, a, [tabindex]")];
  const focused = focusable().indexOf(document.activeElement);
  const children = draw(data);
  if (children !== undefined) part.replaceChildren(...[children].flat().filter((child) => child !== null));
  if (focused >= 0) focusable()[focused]?.focus();
}

// A region that scrolls by itself, also with the keyboard, if it is wider than the page.
export const scroll = (label, ...children) => h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, children);

// A table; a column is [heading, value of a row, whether it is a number].
export function table(columns, rows, caption) {
  const heading = ([name, , number]) => h("th", { scope: "col", class: number ? "n" : null }, name);
  const cell = ([, of, number], row, place) => {
    const value = of(row);
    return place === 0 ? h("th", { scope: "row" }, value) : h("td", { class: number ? "n" : null }, value);
  };
  return [
    caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, columns.map(heading))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((column, place) => cell(column, row, place))))),
  ];
}
