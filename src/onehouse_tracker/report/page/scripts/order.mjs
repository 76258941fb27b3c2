// The order of the table of requests.

import { isOverdue } from "./forecast.mjs";
import { isBad } from "./states.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {import("./model.mjs").Column} Column
 *
 * @typedef {object} Order
 * @property {Column | null} by  null: what went wrong is first, then what hangs
 * @property {boolean} descending
 */

/** @param {Column} column */
export const isNumber = ({ kind }) => kind === "count" || kind === "seconds";

/**
 * @param {Row[]} rows  in the order in which they were added
 * @param {Order} order
 */
export function ordered(rows, { by, descending }) {
  if (by === null) return badFirst(rows);
  const { name } = by;
  return rows.toSorted((a, b) => compare(a[name], b[name], descending));
}

/**
 * Unless somebody wants another order: what went wrong is what people look for, and what hangs.
 * @param {Row[]} rows
 */
const badFirst = (rows) => [
  ...rows.filter((row) => isBad(row.state)),
  ...rows.filter((row) => !isBad(row.state) && isOverdue(row)),
  ...rows.filter((row) => !isBad(row.state) && !isOverdue(row)),
];

/**
 * What nobody knows comes last, whatever the direction.
 * @param {string | number | null} a
 * @param {string | number | null} b
 * @param {boolean} descending
 */
function compare(a, b, descending) {
  if (a === b) return 0;
  if (a === null || a === "") return 1;
  if (b === null || b === "") return -1;
  return a < b !== descending ? -1 : 1;
}

/**
 * The order after a click on the head of a column: numbers descend first, because the largest
 * are of interest; the second click turns it round, and the third takes it back.
 * @param {Order} order
 * @param {Column} column
 * @returns {Order}
 */
export function orderAfterClick({ by, descending }, column) {
  const first = isNumber(column);
  if (by?.name !== column.name) return { by: column, descending: first };
  return descending === first ? { by, descending: !first } : { by: null, descending: false };
}
