// Elements.  Text is only ever set as text.

/**
 * @typedef {(event: Event) => void} Listener
 * @typedef {Record<string, string | number | boolean | null | Listener>} Attributes
 * @typedef {Node | string | null} Child
 */

/**
 * The element of the page with this ID.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function $(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof (kind ?? HTMLElement))) throw new Error(`no element ${id}`);
  return /** @type {T} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} name
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/**
 * An element of a picture.
 * @param {string} name
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/**
 * @template {Element} T
 * @param {T} element
 * @param {Attributes} attributes
 * @param {Child[]} children
 */
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.replace(/^on/, ""), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** What the children of an element are made of. @type {WeakMap<Element, string>} */
const drawn = new WeakMap();

/**
 * Replaces the children of an element, but only if what they are made of has changed.
 * @param {Element} element
 * @param {unknown} data  what they are made of
 * @param {() => (Node | string)[]} build
 */
export function redraw(element, data, build) {
  const key = JSON.stringify(data);
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...build());
}

/** @param {HTMLElement} element */
export const widthOf = (element) => Math.max(240, Math.floor(element.clientWidth));

/** @param {string} text */
export const quiet = (text) => make("span", { class: "quiet" }, text);

/** @param {string} text */
export const note = (text) => make("p", { class: "note" }, text);

/**
 * A table that may be wider than the screen.
 * @param {string} name
 * @param {HTMLTableElement} table
 */
export const scrolling = (name, table) =>
  make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": name }, table);

/**
 * A table that says what a chart shows; built when it is opened.
 * @param {string[]} heads
 * @param {() => string[][]} rows
 */
export function tableOf(heads, rows) {
  const body = make("tbody");
  const head = heads.map((text, index) =>
    make("th", { scope: "col", class: index ? "number" : null }, text),
  );
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), body);
  const details = make(
    "details",
    {},
    make("summary", {}, "As a table"),
    scrolling("Table", table),
  );
  details.addEventListener("toggle", () => {
    body.replaceChildren(...(details.open ? rows().map(tableRow) : []));
  });
  return details;
}

/** @param {string[]} cells */
const tableRow = ([first = "", ...rest]) =>
  make(
    "tr",
    {},
    make("th", { scope: "row" }, first),
    ...rest.map((text) => make("td", { class: "number" }, text)),
  );
