// What is known, as it came from the program, and what follows from it.

const model = {
  columns: [],
  kinds: new Map(),
  head: { source: "run", started_at: null, now: 0, version: "", folded: [] },
  rows: [],
  byNumber: new Map(),
  budget: null,
  outages: [],
  statements: [],
  live: null,
};

// The states in the order in which they are shown, and what they mean.
let STATES = [];
const kindOf = (state) => model.kinds.get(state);
const isOk = (state) => kindOf(state) === "ok";
const isBad = (state) => kindOf(state) === "not ok";
const isDecided = (state) => isOk(state) || isBad(state);
const countKind = (counts, kind) => sum(STATES.filter((state) => kindOf(state) === kind).map((state) => counts[state] ?? 0));

// A text that nobody gave is empty; a number that nobody knows is null.
function rowOf(packed) {
  const row = {};
  model.columns.forEach(({ name, kind }, index) => {
    row[name] = kind === "text" ? packed[index] ?? "" : packed[index];
  });
  return row;
}

// Take a whole view, or what changed since the last one.
function take(view) {
  model.head = view.head;
  model.outages = view.outages;
  model.statements = view.statements;
  model.live = view.live ?? null;
  if (view.since === undefined) {
    model.columns = view.columns;
    model.kinds = new Map(view.states.map(({ name, kind }) => [name, kind]));
    STATES = [...model.kinds.keys()];
    model.rows = [];
    model.byNumber.clear();
    model.budget = view.budget;
  } else if (view.budget !== null) {
    model.budget = mergeBudget(model.budget, view.budget);
  }
  let sorted = true;
  for (const packed of view.rows) {
    const row = rowOf(packed);
    const known = model.byNumber.get(row.number);
    if (known) {
      Object.assign(known, row);
    } else {
      sorted &&= model.rows.length === 0 || model.rows[model.rows.length - 1].number < row.number;
      model.byNumber.set(row.number, row);
      model.rows.push(row);
    }
  }
  if (view.gone?.length) {
    const gone = new Set(view.gone);
    model.rows = model.rows.filter((row) => !gone.has(row.number));
    for (const number of gone) model.byNumber.delete(number);
  }
  if (!sorted) model.rows.sort((a, b) => a.number - b.number);
}

function mergeBudget(old, fresh) {
  if (!old || old.width !== fresh.width) {
    // It became coarser, and only its end came: what was before is merged here likewise.
    if (!old || fresh.first === 0) return fresh;
    old = coarser(old, fresh.width / old.width);
  }
  const merged = { width: fresh.width, first: 0 };
  for (const kind of ["polls", "submissions", "refusals", "paused"]) {
    const before = old[kind].slice(0, fresh.first);
    while (before.length < fresh.first) before.push(0);
    merged[kind] = before.concat(fresh[kind]);
  }
  return merged;
}

function coarser(budget, factor) {
  const result = { width: budget.width * factor, first: 0 };
  for (const kind of ["polls", "submissions", "refusals", "paused"]) {
    result[kind] = [];
    budget[kind].forEach((value, index) => {
      const place = Math.floor(index / factor);
      result[kind][place] = (result[kind][place] ?? 0) + value;
    });
  }
  return result;
}

function countStates(rows, folded = []) {
  const counts = {};
  for (const row of rows) counts[row.state] = (counts[row.state] ?? 0) + 1;
  for (const { state, count: number } of folded) counts[state] = (counts[state] ?? 0) + number;
  return counts;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

// The smallest value that so many percent of the sorted values do not exceed.
const percentile = (sorted, part) => sorted[Math.max(0, Math.ceil(sorted.length * part / 100) - 1)];

// Seconds since the start: of a live page it goes on between two messages.
let receivedAt = performance.now();
let running = false;
const now = () => model.head.now + (running ? (performance.now() - receivedAt) / 1000 : 0);

// Failures that differ only in numbers and IDs have one cause.
const pattern = (reason) => reason
  .replace(/[0-9a-f]{8}-[0-9a-f-]{20,}/gi, "…")
  .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b/gi, "…")
  .replace(/\d+/g, "#");

function failureGroups(rows) {
  const groups = new Map();
  for (const row of rows) {
    if (!isBad(row.state)) continue;
    const key = JSON.stringify([row.label, row.state, pattern(row.reason)]);
    const group = groups.get(key);
    if (group) {
      group.rows.push(row);
      group.same &&= group.reason === row.reason;
    } else {
      groups.set(key, { key, label: row.label, state: row.state, reason: row.reason, same: true, rows: [row] });
    }
  }
  return [...groups.values()].sort((a, b) => b.rows.length - a.rows.length);
}

const groupKey = (row) => JSON.stringify([row.label, row.state, pattern(row.reason)]);
