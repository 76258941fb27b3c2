// What earlier runs say about requests that have not ended.

import { isDecided } from "./states.mjs";
import { duration } from "./words.mjs";

/** @typedef {import("./model.mjs").Row} Row */

/**
 * Whether it has been running for unusually long, as far as anybody knows.
 * @param {Row} row
 */
export const isOverdue = (row) => row.usual !== null && !isDecided(row.state);

/**
 * How long something will still take, and in eight cases of ten.
 * @param {number} median
 * @param {number} low
 * @param {number} high
 */
export function timeLeft(median, low, high) {
  const [middle, from, until] = [median, low, high].map((left) => duration(Math.max(0, left)));
  return `${middle} (${from} to ${until})`;
}

/**
 * The same of one request; empty where nobody knows.
 * @param {Row} row
 * @param {number} at
 */
export function timeLeftOf({ expected, expected_low: low, expected_high: high }, at) {
  if (expected === null || low === null || high === null) return "";
  return timeLeft(expected - at, low - at, high - at);
}

/**
 * One sentence about those that are overdue; null where there are none.
 * @param {Row[]} rows
 */
export function overdueAlert(rows) {
  const overdue = rows.filter(isOverdue);
  const [first] = overdue;
  if (!first) return null;
  const name = first.label || first.job || first.request_id;
  const others = overdue.length === 1 ? "" : ` and ${overdue.length - 1} more`;
  const usual = duration(first.usual);
  return `Running for unusually long: ${name} (usually ${usual})${others}.`;
}
