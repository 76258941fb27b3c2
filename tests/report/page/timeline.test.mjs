import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AXIS,
  everyRow,
  fittingHeight,
  HIGHEST,
  rowAt,
  rowsInSight,
  scaleOf,
  timelineHeight,
} from "../../../src/onehouse_tracker/report/page/scripts/geometry.mjs";

const never = () => false;

for (const rows of [0, 1, 5, 25, 300, 5000, 100_000]) {
  test(`${rows} lines fit into the box`, () => {
    const high = fittingHeight(rows);

    assert.ok(high > 0 && high <= HIGHEST);
    assert.ok(AXIS + rows * high <= timelineHeight(rows));
    const { begin, end } = rowsInSight(0, timelineHeight(rows), high, rows);
    assert.deepEqual([begin, end], [0, rows]);
  });
}

test("only the lines in sight are drawn, and all of these", () => {
  assert.deepEqual(rowsInSight(100, 220, 10, 1000), { begin: 10, end: 31 });
  assert.deepEqual(rowsInSight(95, 220, 10, 1000).begin, 9);
  assert.deepEqual(rowsInSight(9900, 220, 10, 1000), { begin: 990, end: 1000 });
});

test("where lines are thinner than a pixel, one is drawn for several", () => {
  assert.deepEqual([18, 1, 0.25, 0.1, 0.01].map(everyRow), [1, 1, 1, 2, 25]);
});

test("time goes from the names on the left to the right edge", () => {
  const sight = { seconds: 200, width: 1000, stretch: 1, scrollLeft: 0 };
  const thin = scaleOf({ ...sight, rowHeight: 5 });
  const named = scaleOf({ ...sight, rowHeight: 18 });

  assert.equal(thin.names, 0);
  assert.equal(thin.at(0), 0);
  assert.ok(thin.at(200) < 1000 && thin.at(200) > 990);
  assert.equal(named.at(0), named.names);
  assert.ok(named.names > 0 && named.at(200) < 1000);
  const zoomed = scaleOf({ ...sight, rowHeight: 5, stretch: 4, scrollLeft: 3000 });
  assert.ok(Math.abs(zoomed.at(200) - 1000) < 30);
  assert.ok(Number.isFinite(scaleOf({ ...sight, seconds: 0, rowHeight: 5 }).at(0)));
});

test("a line is found at its height", () => {
  assert.equal(rowAt(0, 10, 3, never), 0);
  assert.equal(rowAt(29.9, 10, 3, never), 2);
  assert.equal(rowAt(30, 10, 3, never), null);
  assert.equal(rowAt(-1, 10, 3, never), null);
});

test("of thin lines, one that matters within two pixels is meant, the nearest first", () => {
  const matters =
    (...indices) =>
    (index) =>
      indices.includes(index);

  assert.equal(rowAt(10, 0.5, 100, matters(22)), 22);
  assert.equal(rowAt(10, 0.5, 100, matters(17, 23)), 17);
  assert.equal(rowAt(10, 0.5, 100, matters(40)), 20);
  assert.equal(rowAt(10, 5, 100, matters(3)), 2); // high enough to be hit
});
