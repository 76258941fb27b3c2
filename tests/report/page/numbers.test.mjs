import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ascending,
  binsOf,
  percentile,
  stepOf,
} from "../../../src/onehouse_tracker/report/page/scripts/numbers.mjs";
import { random } from "./support.mjs";

test("a percentile is the smallest value that so many do not exceed", () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1);

  assert.equal(percentile(values, 50), 100);
  assert.equal(percentile(values, 95), 190);
  assert.equal(percentile(values, 100), 200);
  assert.equal(percentile(values, 0), 1);
  assert.equal(percentile([7], 50), 7);
  assert.equal(percentile([], 50), undefined);
});

test("an axis has few ticks, at values that people count in", () => {
  assert.equal(stepOf(100, 10), 10);
  assert.equal(stepOf(101, 10), 15);
  assert.equal(stepOf(86400, 24), 3600);
  assert.equal(stepOf(604800 * 100, 10), 6048000); // longer than any step: still few ticks
  for (const seconds of [0.001, 0.7, 59, 61, 5000, 1e6, 1e9]) {
    for (const most of [2, 7, 24]) assert.ok(seconds / stepOf(seconds, most) <= most);
  }
});

const DISTRIBUTIONS = {
  nothing: [],
  zeros: [0, 0, 0],
  "one value": [3.7],
  "equal values": Array(50).fill(0.25),
  "edges of bins": Array.from({ length: 49 }, (_, index) => index),
  "far beyond all others": [...Array.from({ length: 300 }, (_, index) => index / 100), 9000],
  tiny: [1e-7, 2e-7],
  long: [1, 40 * 86400],
};
for (let seed = 1; seed <= 50; seed += 1) {
  const numbers = random(seed);
  const next = () => numbers.next().value;
  const spread = 10 ** (6 * next() - 2);
  const values = Array.from({ length: 1 + Math.floor(400 * next()) }, () => spread * next() ** 4);
  DISTRIBUTIONS[`random ${seed}`] = values.sort(ascending);
}

for (const [name, values] of Object.entries(DISTRIBUTIONS)) {
  test(`bins hold every value once: ${name}`, () => {
    const bins = binsOf(values);

    assert.ok(bins.length <= 26);
    bins.forEach((bin, index) => {
      const inside = values.filter(
        (value) => value >= bin.from && (bin.to === null || value < bin.to),
      );
      // A value on an edge may be in the bin beside it: 0.3 / 0.1 is less than 3.
      assert.ok(Math.abs(inside.length - bin.count) <= values.filter(onEdge(bin)).length);
      assert.equal(bin.from, index && (bins[index - 1].to ?? Number.NaN));
      assert.ok(bin.to !== null || index === bins.length - 1);
    });
    assert.equal(
      bins.reduce((total, bin) => total + bin.count, 0),
      values.length,
    );
  });
}

const onEdge = (bin) => (value) =>
  Math.abs(value - bin.from) < 1e-9 || Math.abs(value - (bin.to ?? bin.from)) < 1e-9;

test("a value far out does not squeeze all others into the first bin", () => {
  const bins = binsOf(DISTRIBUTIONS["far beyond all others"]);

  assert.ok(bins.length > 10);
  assert.deepEqual(bins.at(-1), { from: bins.at(-2).to, to: null, count: 1 });
});
