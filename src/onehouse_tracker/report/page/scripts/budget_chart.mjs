// The use of the budget over time.

import { slicesOf } from "./budget.mjs";
import { now } from "./clock.mjs";
import { $, draw, make, note, redraw, tableOf, widthOf } from "./dom.mjs";
import { chart, swatch } from "./drawing.mjs";
import { model } from "./model.mjs";
import { stepOf } from "./numbers.mjs";
import { count, duration, plural, tick } from "./words.mjs";

/**
 * @typedef {import("./budget.mjs").Budget} Budget
 * @typedef {import("./budget.mjs").Slice} Slice
 *
 * @typedef {object} Axes
 * @property {number} width
 * @property {number} end  seconds at the right edge
 * @property {number} most  requests a second at the upper edge
 * @property {(seconds: number) => number} x
 * @property {(perSecond: number) => number} y
 */

const HEIGHT = 190;
const LEFT = 30;
const BASE = HEIGHT - 20;

export function showBudget() {
  const box = $("budget-chart");
  const { budget, head } = model;
  if (!budget || !(head.now > 0)) {
    redraw(box, head.source, () => [note(whyNoChart(head.source))]);
    return;
  }
  const width = widthOf(box);
  redraw(box, [head.version, width], () => {
    const details = budgetTable(budget);
    details.open = box.querySelector("details")?.open ?? false;
    const text = description();
    return [budgetChart(budget, width, text), legend(), note(text), details];
  });
}

/** @param {string} source */
function whyNoChart(source) {
  if (source === "run") return "Nothing was sent yet.";
  const origin = source === "journal" ? "a journal" : "results";
  return (
    `A report made from ${origin} does not know when each poll was sent. ` +
    "Write the report with the run to see the use of the budget, refusals and pauses."
  );
}

export function description() {
  const { head, outages } = model;
  const polls = head.polls ?? 0;
  const submissions = head.submissions ?? 0;
  const used = ((polls + submissions) / now()).toFixed(1);
  const limit = head.limit ? ` of ${head.limit} that may be sent` : "";
  const parts = [
    `${plural(polls, "poll")}, ${plural(submissions, "submission")}, ` +
      `${used} requests a second on average${limit}`,
    head.refusals
      ? `${plural(head.refusals, "refusal")} (429), paused for ${duration(head.paused)}`
      : "no refusal",
  ];
  if (outages.length) parts.push(plural(outages.length, "outage"));
  return `${parts.join("; ")}.`;
}

/** @param {Budget} budget */
const budgetTable = (budget) =>
  tableOf(["From", "Polls", "Submissions", "Refusals", "Paused, s"], () =>
    budget.polls.map((polls, index) => [
      tick(index * budget.width),
      count(polls),
      count(budget.submissions[index] ?? 0),
      count(budget.refusals[index] ?? 0),
      (budget.paused[index] ?? 0).toFixed(1),
    ]),
  );

/**
 * @param {Budget} budget
 * @param {number} width
 * @param {string} text
 */
function budgetChart(budget, width, text) {
  const end = Math.max(now(), 0.001);
  const slices = slicesOf(budget, end);
  const axes = axesOf(slices, width, end);
  return chart(width, HEIGHT, text, ...areas(slices, axes), ...limitLine(axes), ...ticksOf(axes));
}

/**
 * @param {Slice[]} slices
 * @param {number} width
 * @param {number} end
 * @returns {Axes}
 */
function axesOf(slices, width, end) {
  const heights = slices.map((slice) => Math.max(slice.polls + slice.submissions, slice.refusals));
  const most = Math.max((model.head.limit ?? 0) * 1.15, ...heights) || 1;
  return {
    width,
    end,
    most,
    x: (seconds) => LEFT + Math.min(1, seconds / end) * (width - LEFT - 1),
    y: (perSecond) => BASE - (perSecond / most) * (BASE - 12),
  };
}

/**
 * One path for each kind, of a box for each slice.
 * @param {Slice[]} slices
 * @param {Axes} axes
 */
function areas(slices, axes) {
  const { x, y, end, most, width } = axes;
  /** @type {(from: number, to: number, low: number, high: number) => string} */
  const box = (from, to, low, high) => {
    const bottom = y(low).toFixed(1);
    return `M${x(from).toFixed(1)} ${bottom}V${y(high).toFixed(1)}H${x(to).toFixed(1)}V${bottom}Z`;
  };
  const shapes = { polls: "", submissions: "", refusals: "", paused: "" };
  for (const { from, to, polls, submissions, refusals, paused } of slices) {
    if (polls) shapes.polls += box(from, to, 0, polls);
    if (submissions) shapes.submissions += box(from, to, polls, polls + submissions);
    if (refusals) shapes.refusals += box(from, to, 0, refusals);
    // Narrower than its bucket where the pause was shorter, but never too narrow to be seen.
    const wide = Math.max(paused, (end / width) * 2);
    if (paused > 0) shapes.paused += box(from, from + wide, 0, most);
  }
  const silent = model.outages.map(({ began, ended }) => box(began, ended ?? end, 0, most));
  return [
    draw("path", { d: silent.join(""), fill: "var(--alarm)", opacity: 0.16 }),
    draw("path", { d: shapes.paused, fill: "var(--paused)", opacity: 0.3 }),
    draw("path", {
      class: "axis",
      d: rates(axes)
        .map((rate) => line(y(rate), axes))
        .join(""),
    }),
    draw("path", { d: shapes.polls, fill: "var(--polls)" }),
    draw("path", { d: shapes.submissions, fill: "var(--submissions)" }),
    draw("path", { d: shapes.refusals, fill: "var(--refusals)" }),
  ];
}

/**
 * @param {number} y
 * @param {Axes} axes
 */
const line = (y, { width }) => `M${LEFT} ${Math.round(y) + 0.5}H${width}`;

/** @param {number} most */
function rateStep(most) {
  if (most > 40) return 20;
  if (most > 16) return 5;
  return most > 6 ? 2 : 1;
}

/**
 * The requests a second that the axis names.
 * @param {Axes} axes
 */
const rates = ({ most }) =>
  Array.from({ length: Math.floor(most / rateStep(most)) + 1 }, (_, n) => n * rateStep(most));

/** @param {Axes} axes */
function limitLine({ y, width }) {
  const { limit } = model.head;
  if (!limit) return [];
  const stroke = { stroke: "var(--text)", "stroke-dasharray": "5 4", opacity: 0.7 };
  const place = { x: width - 2, y: y(limit) - 5, "text-anchor": "end" };
  return [
    draw("path", { d: `M${LEFT} ${y(limit)}H${width}`, fill: "none", ...stroke }),
    draw("text", place, `limit ${limit} a second`),
  ];
}

/** @param {Axes} axes */
function ticksOf(axes) {
  const { x, y, end, width } = axes;
  const ticks = rates(axes).map((rate) =>
    draw("text", { x: LEFT - 6, y: y(rate) + 4, "text-anchor": "end" }, String(rate)),
  );
  const step = stepOf(end, Math.max(2, Math.floor(width / 90)));
  for (let value = 0; value <= end; value += step) {
    if (value && x(value) >= width - 24) break;
    const place = { x: x(value), y: HEIGHT - 5, "text-anchor": value ? "middle" : "start" };
    ticks.push(draw("text", place, tick(value)));
  }
  return ticks;
}

function legend() {
  const { head, outages } = model;
  const entries = [
    { paint: "var(--polls)", text: "polls a second" },
    { paint: "var(--submissions)", text: "submissions a second" },
  ];
  if (head.refusals) {
    entries.push({ paint: "var(--refusals)", text: "refused (429)" });
    entries.push({ paint: "var(--paused)", text: "paused" });
  }
  if (outages.length) {
    const paint = "color-mix(in srgb, var(--alarm) 30%, transparent)";
    entries.push({ paint, text: "outage" });
  }
  const items = entries.map(({ paint, text }) => make("li", {}, swatch(paint), text));
  return make("ul", { class: "legend" }, ...items);
}
