import assert from "node:assert/strict";
import { test } from "node:test";

import {
  KINDS,
  mergeBudget,
  slicesOf,
} from "../../../src/onehouse_tracker/report/page/scripts/budget.mjs";
import { sum } from "../../../src/onehouse_tracker/report/page/scripts/numbers.mjs";
import { random } from "./support.mjs";

const budget = (width, first, polls, rest = {}) => ({
  width,
  first,
  polls,
  submissions: [],
  refusals: [],
  paused: [],
  ...rest,
});

test("the first budget, and one from the start, are taken as they come", () => {
  const fresh = budget(1, 0, [1, 2]);

  assert.equal(mergeBudget(null, fresh), fresh);
  assert.equal(mergeBudget(budget(1, 0, [9]), fresh), fresh);
});

test("buckets from `first` on replace those that were known", () => {
  const old = budget(1, 0, [1, 2, 3, 4], { refusals: [1] });
  const fresh = budget(1, 2, [7, 8, 9], { refusals: [5] });

  const merged = mergeBudget(old, fresh);

  assert.deepEqual(merged.polls, [1, 2, 7, 8, 9]);
  assert.deepEqual(merged.refusals, [1, 0, 5]); // nothing was counted between them
  assert.equal(merged.first, 0);
});

test("buckets that became wider are made of the narrow ones", () => {
  const old = budget(1, 0, [1, 2, 3, 4, 5]);
  const fresh = budget(4, 1, [50]);

  assert.deepEqual(mergeBudget(old, fresh), budget(4, 0, [10, 50], fixed([0])));
});

const fixed = (empty) => ({ submissions: empty, refusals: empty, paused: empty });

/** What the program would send: the buckets from `first` on, of all that happened. */
const counted = (times, width, first) => {
  const counts = Array(Math.floor(Math.max(...times) / width) + 1).fill(0);
  for (const time of times) counts[Math.floor(time / width)] += 1;
  const sent = counts.slice(first);
  return budget(width, first, sent, { submissions: sent, paused: sent });
};

const withoutZerosAtTheEnd = (counts) =>
  counts.slice(0, counts.findLastIndex((value) => value !== 0) + 1);

for (let seed = 1; seed <= 100; seed += 1) {
  test(`what comes piece by piece is what came whole: ${seed}`, () => {
    const numbers = random(seed);
    const next = (most) => most * numbers.next().value;
    const times = [next(3)];
    let width = 1;
    let known = mergeBudget(null, counted(times, width, 0));
    for (let end = 5; end < 60; end += next(8)) {
      // Some are counted late, and now and then the buckets become wider.
      const since = end - 4;
      for (let more = next(6); more > 0; more -= 1) times.push(since + next(8));
      if (next(1) < 0.3) width *= next(1) < 0.3 ? 4 : 2;

      known = mergeBudget(known, counted(times, width, Math.floor(since / width)));

      const { polls } = counted(times, width, 0);
      for (const kind of ["polls", "submissions", "paused"]) {
        assert.deepEqual(withoutZerosAtTheEnd(known[kind]), polls);
      }
      assert.equal(sum(known.refusals), 0);
    }
  });
}

test("slices say how much a second, up to the end that is known", () => {
  const slices = slicesOf(budget(2, 0, [20, 10, 3], { paused: [0, 1.5, 9] }), 4.5);

  assert.deepEqual(
    slices.map(({ from, to, polls, paused }) => [from, to, polls, paused]),
    [
      [0, 2, 10, 0],
      [2, 4, 5, 1.5],
      [4, 4.5, 3, 0.5], // it has only begun, and counts as half full
    ],
  );
  assert.equal(sum(slices.map((slice) => slice.submissions + slice.refusals)), 0);
  assert.deepEqual(slicesOf(budget(1, 0, []), 0), []);
  assert.deepEqual(KINDS.toSorted(), ["paused", "polls", "refusals", "submissions"]);
});
