// Elements, and SVG.  Text is only ever set as text.

const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A chart with its description; sized by its box, so that its text keeps its size.
function chart(width, height, description, ...children) {
  return draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description }, ...children);
}

// What Python names a state has a color of its own, or that of its kind.
const color = (state) => `var(--${state}, var(--${kindOf(state) === "ok" ? "ok" : "not-ok"}))`;

function swatch(paint) {
  const box = make("span", { class: "swatch", "aria-hidden": "true" });
  box.style.background = paint;
  return box;
}

const stateMark = (state) => make("span", { class: "state" }, swatch(color(state)), state);

// One bar, divided by state.
function stackedBar(counts, width, height) {
  const total = sum(Object.values(counts));
  const parts = [];
  let x = 0;
  for (const state of STATES) {
    if (!counts[state]) continue;
    const wide = (counts[state] / total) * width;
    // What is rare must be seen all the same.
    const shown = Math.max(wide, 2);
    parts.push(draw("rect", { x: Math.min(x, width - shown), y: 0, width: shown, height, fill: color(state) },
      draw("title", {}, `${state}: ${count(counts[state])}`)));
    x += wide;
  }
  return parts;
}

// Replace the children of an element only if what they are made of has changed.
const drawn = new WeakMap();
function redraw(element, key, build) {
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...build());
}

// A table that says what a chart shows; built when it is opened.
function tableOf(head, rows) {
  const body = make("tbody");
  const details = make("details", {}, make("summary", {}, "As a table"),
    make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text, index) =>
        make("th", { scope: "col", class: index ? "number" : null }, text)))), body)));
  details.addEventListener("toggle", () => {
    body.replaceChildren(...(details.open ? rows() : []).map((cells) => make("tr", {}, ...cells.map((text, index) =>
      index ? make("td", { class: "number" }, text) : make("th", { scope: "row" }, text)))));
  });
  return details;
}

const widthOf = (element) => Math.max(240, Math.floor(element.clientWidth));
