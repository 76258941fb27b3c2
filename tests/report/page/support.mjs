// Rows and views as the program writes them.

import { take } from "../../../src/onehouse_tracker/report/page/scripts/model.mjs";

export const STATES = [
  { name: "FINE", kind: "ok" },
  { name: "PARTLY", kind: "ok" },
  { name: "BROKEN", kind: "not ok" },
  { name: "LATE", kind: "not ok" },
  { name: "LEFT", kind: "open" },
  { name: "WAITING", kind: "pending" },
];

export const COLUMNS = [
  { name: "number", kind: "count", title: null, detail: false },
  { name: "request_id", kind: "text", title: "Request", detail: false },
  { name: "label", kind: "text", title: "Label", detail: false },
  { name: "joined", kind: "seconds", title: null, detail: false },
  { name: "first", kind: "seconds", title: null, detail: false },
  { name: "ended", kind: "seconds", title: null, detail: false },
  { name: "state", kind: "state", title: "Outcome", detail: false },
  { name: "job", kind: "text", title: "Job", detail: true },
  { name: "run_id", kind: "text", title: "Run", detail: true },
  { name: "reason", kind: "text", title: "Reason", detail: false },
  { name: "polls", kind: "count", title: "Polls", detail: true },
  { name: "checks", kind: "count", title: "Checks", detail: true },
  { name: "waited", kind: "seconds", title: "Waited", detail: false },
  { name: "expected", kind: "seconds", title: "Time left", detail: true },
  { name: "expected_low", kind: "seconds", title: null, detail: false },
  { name: "expected_high", kind: "seconds", title: null, detail: false },
  { name: "usual", kind: "seconds", title: "Usually takes", detail: true },
  { name: "delay_bound", kind: "seconds", title: "Late by at most", detail: true },
  { name: "delay", kind: "seconds", title: "Late by", detail: true },
];

export const column = (name) => COLUMNS.find((each) => each.name === name);

const UNKNOWN = {
  joined: 0,
  first: null,
  ended: null,
  polls: 0,
  checks: null,
  waited: null,
  expected: null,
  expected_low: null,
  expected_high: null,
  usual: null,
  delay_bound: null,
  delay: null,
};

/** A row as the model holds it. */
export const row = (number, values = {}) => ({
  number,
  request_id: `r-${number}`,
  label: "",
  state: "FINE",
  reason: "",
  job: "",
  run_id: "",
  ...UNKNOWN,
  ...values,
});

/** A row as it travels. */
export const packed = (number, values = {}) => {
  const named = row(number, { label: null, reason: null, job: null, run_id: null, ...values });
  return COLUMNS.map(({ name }) => named[name]);
};

const HEAD = {
  source: "run",
  started_at: null,
  now: 10,
  version: "a-1-10",
  limit: 10,
  polls: 0,
  submissions: 0,
  refusals: 0,
  paused: 0,
  failure: null,
  folded: [],
};

export const change = (rows, { head = {}, ...rest } = {}) => ({
  head: { ...HEAD, ...head },
  rows,
  budget: null,
  outages: [],
  statements: [],
  since: "a-0-0",
  gone: [],
  ...rest,
});

export const whole = (rows, rest = {}) => {
  const { since: _, gone: __, ...view } = change(rows, rest);
  return { columns: COLUMNS, states: STATES, ...view };
};

/** Makes the model hold these rows and no others. */
export const takeWhole = (rows, rest = {}) => take(whole(rows, rest));

/** Numbers from 0 to 1 that look random and are the same in each run. */
export function* random(seed) {
  let state = seed;
  while (true) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}
