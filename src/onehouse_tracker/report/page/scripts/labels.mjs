// Outcomes by label.

import { $, draw, make, quiet, redraw } from "./dom.mjs";
import { chart, stackedBar } from "./drawing.mjs";
import { model } from "./model.mjs";
import { ascending, percentile, sum } from "./numbers.mjs";
import { countStates, isDecided, statesIn } from "./states.mjs";
import { count, duration } from "./words.mjs";

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {number} all
 * @property {import("./states.mjs").Counts} counts
 * @property {number | undefined} p50
 * @property {number | undefined} p95
 */

/**
 * The labels that most requests have first.
 * @param {import("./model.mjs").Row[]} rows
 * @param {import("./model.mjs").Head["folded"]} folded
 * @returns {Line[]}
 */
export function labelLines(rows, folded) {
  /** @type {Map<string, { rows: typeof rows, folded: typeof folded }>} */
  const found = new Map();
  const of = (/** @type {string | null} */ label) => {
    const entry = found.get(label ?? "") ?? { rows: [], folded: [] };
    found.set(label ?? "", entry);
    return entry;
  };
  for (const row of rows) of(row.label).rows.push(row);
  for (const each of folded) of(each.label).folded.push(each);
  return [...found]
    .map(([label, entry]) => lineOf(label, countStates(entry.rows, entry.folded), entry.rows))
    .sort((a, b) => b.all - a.all || (a.label < b.label ? -1 : 1));
}

/**
 * @param {string} label
 * @param {import("./states.mjs").Counts} counts
 * @param {import("./model.mjs").Row[]} rows
 */
function lineOf(label, counts, rows) {
  const waited = rows
    .filter((row) => isDecided(row.state))
    .map((row) => row.waited)
    .filter((value) => value !== null)
    .sort(ascending);
  const all = sum(Object.values(counts));
  return { label, all, counts, p50: percentile(waited, 50), p95: percentile(waited, 95) };
}

export function showLabels() {
  const { rows, head } = model;
  const states = statesIn(countStates(rows, head.folded));
  redraw($("label-columns"), states, () => columnHeads(states));
  const lines = labelLines(rows, head.folded);
  const most = Math.max(1, ...lines.map((line) => line.all));
  redraw($("label-lines"), [states, lines], () =>
    lines.map((line) => labelLine(line, states, most)),
  );
}

/** @param {string[]} states */
const columnHeads = (states) => [
  make("th", { scope: "col" }, "Label"),
  make("td", { class: "spare" }),
  ...["All", ...states, "Waited, p50", "p95"].map((text) =>
    make("th", { scope: "col", class: "number" }, text),
  ),
];

/**
 * @param {Line} line
 * @param {string[]} states
 * @param {number} most
 */
function labelLine({ label, all, counts, p50, p95 }, states, most) {
  const bar = stackedBar(counts, Math.max(4, (140 * all) / most), 14);
  const numbers = states.map((state) => (counts[state] ? count(counts[state]) : ""));
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, label || quiet("no label")),
    make("td", { class: "spare" }, chart(140, 14, "", draw("g", {}, ...bar))),
    ...[count(all), ...numbers, duration(p50), duration(p95)].map((text) =>
      make("td", { class: "number" }, text),
    ),
  );
}
