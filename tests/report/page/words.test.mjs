import assert from "node:assert/strict";
import { test } from "node:test";

import {
  count,
  duration,
  moment,
  plural,
  tick,
} from "../../../src/onehouse_tracker/report/page/scripts/words.mjs";

for (const [seconds, words] of [
  [null, ""],
  [undefined, ""],
  [0, "0.00 s"],
  [0.254, "0.25 s"],
  [0.9996, "1.0 s"],
  [9.94, "9.9 s"],
  [9.96, "10.0 s"],
  [19.94, "19.9 s"],
  [19.96, "20 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [61, "1 min 01 s"],
  [3599.4, "59 min 59 s"],
  [3599.6, "1 h 00 min"],
  [3 * 3600 + 299, "3 h 04 min"],
  [86399, "23 h 59 min"],
  [86400, "1 d 0 h"],
  [3 * 86400 + 4 * 3600, "3 d 4 h"],
]) {
  test(`${seconds} seconds are "${words}"`, () => assert.equal(duration(seconds), words));
}

for (const [seconds, words] of [
  [0, "0"],
  [0.30000000000000004, "0.3 s"],
  [59, "59 s"],
  [60, "1 min"],
  [90, "1:30 min"],
  [119.7, "2 min"],
  [600, "10 min"],
  [3600, "1 h"],
  [5400, "1.5 h"],
]) {
  test(`a tick at ${seconds} says "${words}"`, () => assert.equal(tick(seconds), words));
}

test("numbers have separators, and one thing is no plural", () => {
  assert.equal(count(12345), "12,345");
  assert.equal(plural(1, "poll"), "1 poll");
  assert.equal(plural(0, "poll"), "0 polls");
  assert.equal(plural(1200, "request"), "1,200 requests");
});

test("a moment that nobody knows is empty", () => {
  assert.equal(moment(null), "");
  assert.equal(moment("2026-05-04T12:00:00.000+00:00", null), "");
  assert.notEqual(
    moment("2026-05-04T12:00:00.000+00:00", 0),
    moment("2026-05-04T12:00:00.000+00:00", 5),
  );
});
