import assert from "node:assert/strict";
import { test } from "node:test";

import { model, take } from "../../../src/onehouse_tracker/report/page/scripts/model.mjs";
import {
  allStates,
  countKind,
  countStates,
  isBad,
  isDecided,
  statesIn,
} from "../../../src/onehouse_tracker/report/page/scripts/states.mjs";
import { change, packed, row, STATES, takeWhole, whole } from "./support.mjs";

test("values are found by the name of their column, whatever the order", () => {
  const view = whole([packed(1, { label: "L", state: "BROKEN", waited: 5, reason: "no" })]);
  view.columns = view.columns.toReversed();
  view.rows = view.rows.map((values) => values.toReversed());

  take(view);

  assert.deepEqual(model.rows, [row(1, { label: "L", state: "BROKEN", waited: 5, reason: "no" })]);
});

test("a column that the page has never heard of is taken as it comes", () => {
  const view = whole([[...packed(1), 4.5]]);
  view.columns = [
    ...view.columns,
    { name: "queued", kind: "seconds", title: "Queued", detail: true },
  ];

  take(view);

  assert.equal(model.rows[0].queued, 4.5);
});

test("a missing text is empty, and a missing number is none", () => {
  takeWhole([packed(1)]);

  assert.equal(model.rows[0].label, "");
  assert.equal(model.rows[0].reason, "");
  assert.equal(model.rows[0].waited, null);
});

test("changes replace, add, forget, and keep the order of numbers", () => {
  takeWhole([packed(1), packed(2, { state: "WAITING" }), packed(5)]);

  take(change([packed(6), packed(2, { state: "BROKEN" }), packed(4)], { gone: [1] }));

  assert.deepEqual(
    model.rows.map(({ number, state }) => [number, state]),
    [
      [2, "BROKEN"],
      [4, "FINE"],
      [5, "FINE"],
      [6, "FINE"],
    ],
  );
  take(change([packed(1, { state: "LATE" })])); // a number that was forgotten is a new row
  assert.deepEqual(model.rows[0], row(1, { state: "LATE" }));
});

test("changes keep the columns and states of the whole view", () => {
  takeWhole([]);

  take(change([packed(3, { label: "L" })]));

  assert.deepEqual(model.rows, [row(3, { label: "L" })]);
  assert.deepEqual(
    allStates(),
    STATES.map(({ name }) => name),
  );
});

test("a whole view replaces everything that was known", () => {
  takeWhole([packed(1), packed(2)]);
  const view = whole([packed(2)]);
  view.states = [{ name: "NEW", kind: "ok" }];

  take(view);

  assert.deepEqual(
    model.rows.map(({ number }) => number),
    [2],
  );
  assert.deepEqual(allStates(), ["NEW"]);
});

test("kinds decide what counts as ok, and states keep the program's order", () => {
  takeWhole([]);
  const rows = ["LATE", "FINE", "WAITING", "PARTLY", "LATE", "LEFT"].map((state) => ({ state }));

  const counts = countStates(rows, [{ state: "FINE", count: 40 }]);

  assert.deepEqual(statesIn(counts), ["FINE", "PARTLY", "LATE", "LEFT", "WAITING"]);
  assert.equal(countKind(counts, "ok"), 42);
  assert.equal(countKind(counts, "not ok"), 2);
  assert.equal(countKind(counts, "pending"), 1);
  assert.equal(countKind(counts, "open"), 1);
  assert.deepEqual(["BROKEN", "FINE", "LEFT", "WAITING", "UNHEARD"].map(isBad), [
    true,
    false,
    false,
    false,
    false,
  ]);
  assert.deepEqual(["BROKEN", "FINE", "LEFT", "WAITING"].map(isDecided), [
    true,
    true,
    false,
    false,
  ]);
});
