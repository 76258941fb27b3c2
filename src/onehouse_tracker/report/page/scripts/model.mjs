// What is known, as it came from the program.

import { mergeBudget } from "./budget.mjs";
import { learnStates } from "./states.mjs";

/**
 * Times are seconds since the start; null where nobody knows them.
 * @typedef {object} Row
 * @property {number} number
 * @property {string} request_id
 * @property {string} label
 * @property {number | null} joined
 * @property {number | null} first
 * @property {number | null} ended
 * @property {string} state
 * @property {string} reason
 * @property {string} job  of the run that this row follows; empty where it follows none
 * @property {string} run_id
 * @property {number} polls
 * @property {number | null} checks  of the run
 * @property {number | null} waited
 * @property {number | null} expected  when it will probably have ended
 * @property {number | null} expected_low
 * @property {number | null} expected_high
 * @property {number | null} usual  how long it usually takes, where it has been running too long
 * @property {number | null} delay_bound
 * @property {number | null} delay
 *
 * @typedef {object} Column
 * @property {keyof Row} name
 * @property {"text" | "count" | "seconds" | "state"} kind
 * @property {string | null} title  null: the table does not show it
 * @property {boolean} detail  left out on a narrow screen, and where no row has a value
 *
 * @typedef {object} Head
 * @property {string} source
 * @property {string | null} started_at
 * @property {number} now
 * @property {string} version
 * @property {number | null} limit
 * @property {number | null} polls
 * @property {number | null} submissions
 * @property {number | null} refusals
 * @property {number | null} paused
 * @property {string | null} failure
 * @property {{ label: string | null, state: string, count: number }[]} folded
 *
 * @typedef {object} Outage
 * @property {number} began
 * @property {number | null} ended
 * @property {string} reason
 *
 * @typedef {object} Statement
 * @property {string | null} label
 * @property {string} state
 * @property {string | null} reason
 * @property {number | null} at
 *
 * @typedef {object} Live
 * @property {number} rate
 * @property {number} round_time
 * @property {number} paused_for
 * @property {boolean} degraded
 * @property {{ median: number, low: number, high: number } | null} left  until all have ended
 *
 * @typedef {object} View  a whole view, or what changed: that has `since` and no vocabulary
 * @property {Column[]} [columns]
 * @property {{ name: string, kind: import("./states.mjs").Kind }[]} [states]
 * @property {string} [since]
 * @property {number[]} [gone]
 * @property {Head} head
 * @property {(string | number | null)[][]} rows
 * @property {import("./budget.mjs").Budget | null} budget
 * @property {Outage[]} outages
 * @property {Statement[]} statements
 * @property {Live | null} [live]
 */

/** @type {Head} */
const NOTHING = {
  source: "run",
  started_at: null,
  now: 0,
  version: "",
  limit: null,
  polls: null,
  submissions: null,
  refusals: null,
  paused: null,
  failure: null,
  folded: [],
};

export const model = {
  /** @type {Column[]} */
  columns: [],
  head: NOTHING,
  /** @type {Row[]} */
  rows: [],
  /** @type {import("./budget.mjs").Budget | null} */
  budget: null,
  /** @type {Outage[]} */
  outages: [],
  /** @type {Statement[]} */
  statements: [],
  /** @type {Live | null} */
  live: null,
};

/** @type {Map<number, Row>} */
const byNumber = new Map();

/**
 * Takes a whole view, or what changed since the last one.
 * @param {View} view
 */
export function take(view) {
  model.head = view.head;
  model.outages = view.outages;
  model.statements = view.statements;
  model.live = view.live ?? null;
  if (view.since === undefined) {
    model.columns = view.columns ?? [];
    learnStates(view.states ?? []);
    model.rows = [];
    byNumber.clear();
    model.budget = view.budget;
  } else if (view.budget !== null) {
    model.budget = mergeBudget(model.budget, view.budget);
  }
  takeRows(view.rows.map(rowOf));
  if (view.gone?.length) forget(new Set(view.gone));
}

/**
 * A text that nobody gave is empty; a number that nobody knows stays null.
 * @param {(string | number | null)[]} packed  in the order of the columns
 */
function rowOf(packed) {
  /** @type {Record<string, string | number | null>} */
  const row = {};
  model.columns.forEach(({ name, kind }, index) => {
    row[name] = packed[index] ?? (kind === "text" ? "" : null);
  });
  return /** @type {Row} */ (/** @type {unknown} */ (row));
}

/** @param {Row[]} rows */
function takeRows(rows) {
  let sorted = true;
  for (const row of rows) {
    const known = byNumber.get(row.number);
    if (known) {
      Object.assign(known, row);
      continue;
    }
    sorted &&= (model.rows.at(-1)?.number ?? -1) < row.number;
    byNumber.set(row.number, row);
    model.rows.push(row);
  }
  if (!sorted) model.rows.sort((a, b) => a.number - b.number);
}

/** @param {Set<number>} gone */
function forget(gone) {
  model.rows = model.rows.filter((row) => !gone.has(row.number));
  for (const number of gone) byNumber.delete(number);
}
