// Which requests are shown, in the table and in the timeline.

import { groupKey } from "./failures.mjs";
import { model } from "./model.mjs";
import { isBad } from "./states.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {Pick<import("./failures.mjs").Group, "key" | "label" | "state" | "reason">} GroupName
 *
 * @typedef {object} Filter
 * @property {string} text
 * @property {string} state  "": all; NOT_OK: all that are not ok
 * @property {string | null} label  null: all
 * @property {GroupName | null} group  only failures with one cause
 */

export const NOT_OK = "not ok";

/** @type {Readonly<Filter>} */
export const EVERYTHING = { text: "", state: "", label: null, group: null };

/** @type {Filter} */
export const filter = { ...EVERYTHING };

/** @type {(() => void)[]} */
const listeners = [];

/** @param {() => void} listener  called after each change of the filter */
export function onFilter(listener) {
  listeners.push(listener);
}

/** @param {Partial<Filter>} changes */
export function refilter(changes) {
  Object.assign(filter, changes);
  for (const listener of listeners) listener();
}

let shown = { key: "", rows: /** @type {Row[]} */ ([]) };

// Computed once for each change of the rows or the filter.
export function shownRows() {
  const key = JSON.stringify([model.head.version, model.rows.length, filter]);
  if (shown.key !== key) shown = { key, rows: model.rows.filter(matching(filter)) };
  return shown.rows;
}

/**
 * @param {Filter} wanted
 * @returns {(row: Row) => boolean}
 */
export function matching({ text, state, label, group }) {
  const part = text.toLowerCase();
  return (row) =>
    (state === "" || isIn(row, state)) &&
    (label === null || row.label === label) &&
    (group === null || isOf(row, group)) &&
    [row.request_id, row.label, row.job, row.run_id, row.reason].some((each) =>
      each.toLowerCase().includes(part),
    );
}

/**
 * @param {Row} row
 * @param {string} state
 */
const isIn = (row, state) => (state === NOT_OK ? isBad(row.state) : row.state === state);

/**
 * The key takes its time: it is made for failures only.
 * @param {Row} row
 * @param {GroupName} group
 */
const isOf = (row, group) => isBad(row.state) && groupKey(row) === group.key;
