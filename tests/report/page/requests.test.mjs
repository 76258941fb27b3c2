import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import {
  labelChoices,
  stateChoices,
} from "../../../src/onehouse_tracker/report/page/scripts/choices.mjs";
import {
  failureGroups,
  groupKey,
} from "../../../src/onehouse_tracker/report/page/scripts/failures.mjs";
import {
  EVERYTHING,
  filter,
  matching,
  NOT_OK,
  onFilter,
  refilter,
  shownRows,
} from "../../../src/onehouse_tracker/report/page/scripts/filter.mjs";
import { labelLines } from "../../../src/onehouse_tracker/report/page/scripts/labels.mjs";
import { take } from "../../../src/onehouse_tracker/report/page/scripts/model.mjs";
import {
  orderAfterClick,
  ordered,
} from "../../../src/onehouse_tracker/report/page/scripts/order.mjs";
import { shownColumns } from "../../../src/onehouse_tracker/report/page/scripts/requests.mjs";
import { COLUMNS, change, column, packed, row, takeWhole } from "./support.mjs";

beforeEach(() => takeWhole([]));

const numbers = (rows) => rows.map(({ number }) => number);

test("failures with one cause are one group, the largest first", () => {
  const rows = [
    row(1, { state: "BROKEN", label: "A", reason: "disk 7 is full" }),
    row(2, { state: "BROKEN", label: "A", reason: "table x is missing" }),
    row(3, { state: "BROKEN", label: "A", reason: "table x is missing" }),
    row(4, { state: "BROKEN", label: "A", reason: "table x is missing" }),
    row(5, { state: "BROKEN", label: "A", reason: "disk 12 is full" }),
    row(6, { state: "LATE", label: "A", reason: "disk 7 is full" }),
    row(7, { state: "FINE", label: "A", reason: "disk 7 is full" }),
    row(8, { state: "WAITING", label: "A", reason: "disk 7 is full" }),
  ];

  const groups = failureGroups(rows);

  assert.deepEqual(
    groups.map(({ rows: those }) => numbers(those)),
    [[2, 3, 4], [1, 5], [6]],
  );
  assert.deepEqual(
    groups.map(({ same }) => same),
    [true, false, true],
  );
});

for (const [one, other, alike] of [
  ["HTTP 503", "HTTP 504", true],
  [
    "job 1b4e28ba-2fa1-11d2-883f-0016d3cca427 died",
    "job 6fa459ea-ee8a-3ca4-894e-db77e160355e died",
    true,
  ],
  ["node deadbeef01 is gone", "node 0badcafe77 is gone", true],
  ["column a is missing", "column b is missing", false],
  ["effaced", "defaced", false], // words of the letters a to f are no IDs
]) {
  test(`"${one}" and "${other}" have ${alike ? "one cause" : "two causes"}`, () => {
    const key = (reason) => groupKey(row(1, { state: "BROKEN", reason }));
    assert.equal(key(one) === key(other), alike);
  });
}

const ROWS = [
  row(1, { label: "RUN JOB", state: "FINE" }),
  row(2, { label: "RUN JOB", state: "BROKEN", reason: "Table t1 EXISTS" }),
  row(3, { label: "", state: "LATE" }),
  row(4, { label: "SHOW", state: "WAITING", request_id: "Exists-9" }),
  row(5, { label: "RUN JOB", state: "BROKEN", reason: "Table t2 EXISTS" }),
];
const WITH_A_RUN = [
  ...ROWS,
  row(6, { label: "RUN JOB", job: "Nightly", run_id: "spark-7", state: "WAITING" }),
];

for (const [name, wanted, found] of [
  ["everything", {}, [1, 2, 3, 4, 5, 6]],
  ["a text in any field and in any case", { text: "eXists" }, [2, 4, 5]],
  ["a job", { text: "nightly" }, [6]],
  ["a run", { text: "SPARK-7" }, [6]],
  ["a label", { label: "RUN JOB" }, [1, 2, 5, 6]],
  ["no label", { label: "" }, [3]],
  ["one state", { state: "BROKEN" }, [2, 5]],
  ["all that is not ok", { state: NOT_OK }, [2, 3, 5]],
  ["one cause", { group: { key: groupKey(ROWS[1]) } }, [2, 5]],
  ["several at once", { label: "RUN JOB", text: "t2", state: NOT_OK }, [5]],
  ["nothing", { text: "no such thing" }, []],
]) {
  test(`the filter leaves ${name}`, () => {
    assert.deepEqual(numbers(WITH_A_RUN.filter(matching({ ...EVERYTHING, ...wanted }))), found);
  });
}

test("a change of the filter or of the rows is seen, and told", () => {
  let told = 0;
  onFilter(() => {
    told += 1;
  });
  takeWhole([packed(1), packed(2, { state: "BROKEN" })]);
  assert.deepEqual(numbers(shownRows()), [1, 2]);

  refilter({ state: "BROKEN" });
  assert.equal(told, 1);
  assert.deepEqual(numbers(shownRows()), [2]);
  take(change([packed(1, { state: "BROKEN" })], { head: { version: "a-2-11" } }));
  assert.deepEqual(numbers(shownRows()), [1, 2]);

  refilter(EVERYTHING);
  assert.deepEqual(filter, { ...EVERYTHING });
});

test("what went wrong is first, unless somebody chose an order", () => {
  const order = { by: null, descending: false };

  assert.deepEqual(numbers(ordered(ROWS, order)), [2, 3, 5, 1, 4]);
});

test("what nobody knows is last in both directions, and equals keep their order", () => {
  const rows = [null, 2, 9, null, 2].map((waited, index) => row(index + 1, { waited }));
  const by = column("waited");

  assert.deepEqual(numbers(ordered(rows, { by, descending: false })), [2, 5, 3, 1, 4]);
  assert.deepEqual(numbers(ordered(rows, { by, descending: true })), [3, 2, 5, 1, 4]);
});

test("a column turns round with the second click and lets go with the third", () => {
  const clicks = (by, number) => {
    let order = { by: null, descending: false };
    for (let click = 0; click < number; click += 1) order = orderAfterClick(order, by);
    return order;
  };
  for (const [name, first] of [
    ["waited", true],
    ["label", false],
  ]) {
    const by = column(name);
    assert.deepEqual(clicks(by, 1), { by, descending: first });
    assert.deepEqual(clicks(by, 2), { by, descending: !first });
    assert.equal(clicks(by, 3).by, null);
  }
});

test("columns without a title are not shown, nor details that nobody knows", () => {
  const names = (rows) => shownColumns(COLUMNS, rows).map(({ title }) => title);

  assert.deepEqual(names([row(1)]), ["Request", "Label", "Outcome", "Reason", "Polls", "Waited"]);
  assert.ok(names([row(1), row(2, { delay: 0 })]).includes("Late by"));
  assert.deepEqual(names([row(1), WITH_A_RUN.at(-1)]).slice(3, 5), ["Job", "Run"]);
});

test("what is chosen stays a choice when nothing fits it any more", () => {
  assert.deepEqual(stateChoices({ FINE: 1200 }, 1200, ""), [
    { key: "", text: "all (1,200)" },
    { key: "FINE", text: "FINE (1,200)" },
  ]);
  assert.deepEqual(
    stateChoices({ FINE: 1, LATE: 2 }, 3, "BROKEN").map(({ text }) => text),
    ["all (3)", "not ok (2)", "FINE (1)", "BROKEN (0)", "LATE (2)"],
  );
  assert.deepEqual(
    labelChoices(["", "A"], "B").map(({ key, text }) => [key, text]),
    [
      ["", "all"],
      ["=", "no label"],
      ["=A", "A"],
      ["=B", "B"],
    ],
  );
});

test("labels are counted with what is only counted, the most frequent first", () => {
  const rows = [
    row(1, { label: "A", waited: 4 }),
    row(2, { label: "A", waited: 2, state: "BROKEN" }),
    row(3, { label: "A", waited: 99, state: "LEFT" }), // not decided: nobody knows how long
    row(4, { label: "B" }),
  ];
  const folded = [
    { label: null, state: "FINE", count: 7 },
    { label: "B", state: "FINE", count: 1 },
  ];

  const lines = labelLines(rows, folded);

  assert.deepEqual(
    lines.map(({ label, all }) => [label, all]),
    [
      ["", 7],
      ["A", 3],
      ["B", 2],
    ],
  );
  assert.deepEqual(lines[1].counts, { FINE: 1, BROKEN: 1, LEFT: 1 });
  assert.deepEqual([lines[1].p50, lines[1].p95], [2, 4]);
  assert.equal(lines[0].p50, undefined);
});
