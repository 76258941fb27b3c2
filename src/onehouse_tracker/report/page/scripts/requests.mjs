// The table of requests.

import { now } from "./clock.mjs";
import { $, make, redraw } from "./dom.mjs";
import { stateMark } from "./drawing.mjs";
import { onFilter, shownRows } from "./filter.mjs";
import { isOverdue, timeLeftOf } from "./forecast.mjs";
import { model } from "./model.mjs";
import { isNumber, orderAfterClick, ordered } from "./order.mjs";
import { count, duration, plural } from "./words.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {import("./model.mjs").Column} Column
 */

const ON_SCREEN = 25;
const ON_PAPER = 1000;

const table = {
  page: 0,
  size: ON_SCREEN,
  /** @type {import("./order.mjs").Order} */
  order: { by: null, descending: false },
};

export function showRequests() {
  const rows = shownRows();
  const all = plural(model.rows.length, "request");
  const found = rows.length === model.rows.length ? all : `${count(rows.length)} of ${all}`;
  $("found").textContent = found;
  const pages = Math.max(1, Math.ceil(rows.length / table.size));
  table.page = Math.min(table.page, pages - 1);
  const columns = shownColumns(model.columns, model.rows);
  redraw($("columns"), [table.order, columns], () => columns.map(columnHead));
  const first = table.page * table.size;
  showLines(ordered(rows, table.order).slice(first, first + table.size), columns);
  const page = `page ${count(table.page + 1)} of ${count(pages)}`;
  $("page").textContent = rows.length ? page : "no request matches";
  $("previous", HTMLButtonElement).disabled = table.page === 0;
  $("next", HTMLButtonElement).disabled = table.page >= pages - 1;
}

/**
 * @param {Column[]} columns
 * @param {Row[]} rows
 */
export const shownColumns = (columns, rows) =>
  columns.filter(
    ({ name, title, detail }) =>
      title !== null && (!detail || rows.some((row) => row[name] !== null && row[name] !== "")),
  );

/**
 * Only the lines that changed are built anew.
 * @param {Row[]} rows
 * @param {Column[]} columns
 */
function showLines(rows, columns) {
  const body = $("lines");
  const known = new Map();
  for (const line of body.children) {
    if (line instanceof HTMLElement) known.set(line.dataset.key, line);
  }
  const lines = rows.map((row) => {
    const key = JSON.stringify([columns.length, ...Object.values(row), timeLeftOf(row, now())]);
    return known.get(key) ?? tableLine(row, columns, key);
  });
  const same =
    lines.length === body.children.length &&
    lines.every((line, index) => body.children[index] === line);
  if (!same) body.replaceChildren(...lines);
}

/**
 * @param {Row} row
 * @param {Column[]} columns
 * @param {string} key
 */
function tableLine(row, columns, key) {
  // The roles are said, because on a narrow screen the style makes cards of the lines.
  const cells = columns.map((column) => tableCell(row, column));
  const line = make("tr", { role: "row" }, ...cells);
  line.dataset.key = key;
  return line;
}

/**
 * @param {Row} row
 * @param {Column} column
 */
function tableCell(row, column) {
  const value = row[column.name];
  if (column.name === "request_id") {
    return make("th", { scope: "row", role: "rowheader", class: "id" }, row.request_id);
  }
  if (column.kind === "state") {
    const mark = isOverdue(row) ? make("span", { class: "overdue" }, "overdue") : null;
    return make("td", { role: "cell" }, stateMark(row.state), mark);
  }
  if (column.name === "expected") {
    const left = timeLeftOf(row, now());
    return make("td", { role: "cell", class: numberClass(column) }, left);
  }
  if (typeof value === "string") {
    const spare = column.detail ? " spare" : "";
    return make("td", { role: "cell", class: column.name + spare }, value);
  }
  if (value === null) return make("td", { role: "cell", class: numberClass(column) });
  const text = column.kind === "count" ? count(value) : duration(value);
  return make("td", { role: "cell", class: numberClass(column) }, text);
}

/** @param {Column} column */
const numberClass = (column) => (column.detail ? "number spare" : "number");

/** @param {Column} column */
function columnHead(column) {
  const { by, descending } = table.order;
  const chosen = by?.name === column.name;
  const arrow = descending ? " ▼" : " ▲";
  const onclick = () => sortBy(column);
  const button = { type: "button", class: "button", id: `by-${column.name}`, onclick };
  return make(
    "th",
    {
      scope: "col",
      class: isNumber(column) ? numberClass(column) : null,
      "aria-sort": chosen && (descending ? "descending" : "ascending"),
    },
    make(
      "button",
      button,
      column.title,
      make("span", { "aria-hidden": "true" }, chosen ? arrow : ""),
    ),
  );
}

/** @param {Column} column */
function sortBy(column) {
  table.order = orderAfterClick(table.order, column);
  table.page = 0;
  showRequests();
  $(`by-${column.name}`).focus();
}

/** @param {number} by */
function turnPage(by) {
  table.page += by;
  showRequests();
}

// On paper there is no next page.
export function printRequests() {
  Object.assign(table, { size: ON_PAPER, page: 0 });
}

export function showRequestsOnScreen() {
  table.size = ON_SCREEN;
}

export function startRequests() {
  onFilter(() => {
    table.page = 0;
    showRequests();
  });
  $("previous").addEventListener("click", () => turnPage(-1));
  $("next").addEventListener("click", () => turnPage(1));
}
