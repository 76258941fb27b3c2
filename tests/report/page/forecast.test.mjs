import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import {
  startClock,
  stopClock,
} from "../../../src/onehouse_tracker/report/page/scripts/clock.mjs";
import { alerts, tiles } from "../../../src/onehouse_tracker/report/page/scripts/facts.mjs";
import {
  isOverdue,
  timeLeft,
  timeLeftOf,
} from "../../../src/onehouse_tracker/report/page/scripts/forecast.mjs";
import { model } from "../../../src/onehouse_tracker/report/page/scripts/model.mjs";
import { ordered } from "../../../src/onehouse_tracker/report/page/scripts/order.mjs";
import { shownColumns } from "../../../src/onehouse_tracker/report/page/scripts/requests.mjs";
import { COLUMNS, packed, row, takeWhole } from "./support.mjs";

beforeEach(() => takeWhole([]));

test("the time left of a request shrinks as time passes, and ends at nothing", () => {
  const known = row(1, { expected: 100, expected_low: 40, expected_high: 400 });

  assert.equal(timeLeftOf(known, 10), "1 min 30 s (30 s to 6 min 30 s)");
  assert.equal(timeLeftOf(known, 50), "50 s (0.00 s to 5 min 50 s)");
  assert.equal(timeLeftOf(row(2), 10), "");
});

test("only a page that is live tells the time left of all, and only where it is known", () => {
  const shown = () => tiles().find(({ name }) => name === "time left")?.value;
  const live = { rate: 10, round_time: 1, paused_for: 0, degraded: false };
  const left = { median: 61, low: 30, high: 125 };
  takeWhole([packed(1, { state: "WAITING" })], { live: { ...live, left } });
  assert.equal(shown(), undefined);

  startClock();
  assert.equal(shown(), timeLeft(61, 30, 125));
  takeWhole([packed(1, { state: "WAITING" })], { live: { ...live, left: null } });
  assert.equal(shown(), undefined);
  stopClock();
});

test("what hangs is said in a sentence, as long as nobody knows how it ended", () => {
  takeWhole([packed(1, { state: "WAITING" }), packed(2, { state: "FINE", usual: 60 })]);
  assert.deepEqual(alerts(), []);

  takeWhole([packed(1, { state: "WAITING", usual: 90, label: "nightly" })]);
  assert.deepEqual(alerts(), ["Running for unusually long: nightly (usually 1 min 30 s)."]);

  takeWhole([packed(1, { state: "WAITING", usual: 90, job: "a job", run_id: "run-1" })]);
  assert.deepEqual(alerts(), ["Running for unusually long: a job (usually 1 min 30 s)."]);

  takeWhole([packed(1, { state: "LEFT", usual: 9 }), packed(2, { state: "WAITING", usual: 60 })]);
  assert.deepEqual(alerts(), ["Running for unusually long: r-1 (usually 9.0 s) and 1 more."]);
});

test("what hangs comes after what went wrong, and before all others", () => {
  const rows = [row(1), row(2, { state: "WAITING", usual: 5 }), row(3, { state: "BROKEN" })];

  assert.equal(isOverdue(rows[1]), true);
  assert.deepEqual(
    ordered(rows, { by: null, descending: false }).map(({ number }) => number),
    [3, 2, 1],
  );
});

test("the columns of a forecast are there only where somebody knows", () => {
  const titles = () => shownColumns(COLUMNS, model.rows).map(({ title }) => title);
  takeWhole([packed(1)]);
  assert.equal(titles().includes("Time left") || titles().includes("Usually takes"), false);

  takeWhole([packed(1, { expected: 4, usual: 2 })]);
  assert.equal(titles().includes("Time left") && titles().includes("Usually takes"), true);
});
