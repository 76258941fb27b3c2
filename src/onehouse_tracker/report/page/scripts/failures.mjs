// Failures that have one cause.

import { isBad } from "./states.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 * @typedef {object} Group
 * @property {string} key
 * @property {string} label
 * @property {string} state
 * @property {string} reason  that of its first request
 * @property {boolean} same  whether all have this reason
 * @property {Row[]} rows
 */

/**
 * Reasons that differ only in numbers and IDs have one cause.
 * @param {string} reason
 */
const pattern = (reason) =>
  reason
    .replace(/[0-9a-f]{8}-[0-9a-f-]{20,}/gi, "…")
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "…")
    .replace(/\d+/g, "#");

/** @param {Pick<Row, "label" | "state" | "reason">} row */
export const groupKey = (row) => JSON.stringify([row.label, row.state, pattern(row.reason)]);

/**
 * The largest first.
 * @param {Row[]} rows
 */
export function failureGroups(rows) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const row of rows) {
    if (!isBad(row.state)) continue;
    const key = groupKey(row);
    const group = groups.get(key);
    if (group) {
      group.rows.push(row);
      group.same &&= group.reason === row.reason;
    } else {
      const { label, state, reason } = row;
      groups.set(key, { key, label, state, reason, same: true, rows: [row] });
    }
  }
  return [...groups.values()].sort((a, b) => b.rows.length - a.rows.length);
}
