// What a request can be.  The names and their meaning come from the program, with the data.

/**
 * @typedef {"ok" | "not ok" | "open" | "pending"} Kind
 * @typedef {Record<string, number>} Counts  how many requests are in which state
 */

/** @type {Map<string, Kind>} */
const kinds = new Map();

/** @param {{ name: string, kind: Kind }[]} states  in the order in which they are shown */
export function learnStates(states) {
  kinds.clear();
  for (const { name, kind } of states) kinds.set(name, kind);
}

export const allStates = () => [...kinds.keys()];

/** @param {string} state */
export const isOk = (state) => kinds.get(state) === "ok";

/** @param {string} state */
export const isBad = (state) => kinds.get(state) === "not ok";

/** @param {string} state */
export const isDecided = (state) => isOk(state) || isBad(state);

/** @param {Counts} counts */
export const statesIn = (counts) => allStates().filter((state) => counts[state]);

/**
 * How many of those that are counted are of a kind.
 * @param {Counts} counts
 * @param {Kind} kind
 */
export function countKind(counts, kind) {
  let total = 0;
  for (const state of allStates()) if (kinds.get(state) === kind) total += counts[state] ?? 0;
  return total;
}

/**
 * @param {{ state: string }[]} rows
 * @param {{ state: string, count: number }[]} folded  those of which only the number is known
 */
export function countStates(rows, folded = []) {
  /** @type {Counts} */
  const counts = {};
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1;
  for (const { state, count } of folded) counts[state] = (counts[state] ?? 0) + count;
  return counts;
}
