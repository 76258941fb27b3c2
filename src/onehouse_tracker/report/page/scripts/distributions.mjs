// How long it took: a histogram of each measure.

import { $, draw, make, note, redraw, tableOf, widthOf } from "./dom.mjs";
import { chart } from "./drawing.mjs";
import { model } from "./model.mjs";
import { ascending, binsOf, percentile } from "./numbers.mjs";
import { isDecided } from "./states.mjs";
import { count, duration, tick } from "./words.mjs";

/**
 * @typedef {import("./numbers.mjs").Bin} Bin
 * @typedef {(typeof MEASURES)[number]} Measure
 */

const MEASURES = /** @type {const} */ ([
  {
    field: "waited",
    title: "Waiting",
    text: "From adding a request to knowing its outcome.",
  },
  {
    field: "delay_bound",
    title: "Known late by at most",
    text: "From the last poll that found it pending to the outcome (delay bound).",
  },
  {
    field: "delay",
    title: "Known late by",
    text: "From the end at the server to knowing it (true delay).",
  },
]);

const HEIGHT = 150;
const BASE = HEIGHT - 20;

/** @param {Measure["field"]} field */
const valuesOf = (field) =>
  model.rows
    .filter((row) => isDecided(row.state))
    .map((row) => row[field])
    .filter((value) => value !== null)
    .sort(ascending);

export function showDistributions() {
  const measured = MEASURES.map((measure) => ({ measure, values: valuesOf(measure.field) }));
  const known = measured.filter(({ values }) => values.length);
  const fields = known.map(({ measure }) => measure.field);
  redraw($("distributions"), fields, () =>
    known.length
      ? known.map(({ measure }) => figureOf(measure))
      : [note("Nothing has ended yet.")],
  );
  for (const { measure, values } of known) showDistribution(measure, values);
}

/** @param {Measure} measure */
function figureOf({ field, title, text }) {
  const binRows = () => binsOf(valuesOf(field)).map(binRow);
  return make(
    "figure",
    { id: `of-${field}`, class: "distribution" },
    make("h3", {}, title),
    make("div", { id: `picture-of-${field}`, class: "picture" }),
    make("ul", { id: `marks-of-${field}`, class: "marks" }),
    note(text),
    tableOf(["From", "To", "Requests"], binRows),
  );
}

/** @param {Bin} bin */
const binRow = (bin) => [tick(bin.from), bin.to === null ? "" : tick(bin.to), count(bin.count)];

/**
 * @param {Measure} measure
 * @param {number[]} values
 */
function showDistribution({ field, title }, values) {
  const marks = [50, 90, 99, 100].map((part) => ({
    name: part === 100 ? "max" : `p${part}`,
    text: duration(percentile(values, part)),
  }));
  const picture = $(`picture-of-${field}`);
  const width = widthOf(picture);
  const bins = binsOf(values);
  const described = marks.map(({ name, text }) => `${name} ${text}`).join(", ");
  redraw(picture, [width, bins, marks], () => [histogram(bins, width, `${title}, ${described}`)]);
  redraw($(`marks-of-${field}`), marks, () =>
    marks.map(({ name, text }) => make("li", {}, `${name} `, make("b", {}, text))),
  );
}

/**
 * @param {Bin[]} bins
 * @param {number} width
 * @param {string} description
 */
function histogram(bins, width, description) {
  const most = Math.max(...bins.map((bin) => bin.count));
  const each = (width - 2) / bins.length;
  return chart(
    width,
    HEIGHT,
    description,
    draw("path", { class: "axis", d: `M0 ${BASE + 0.5}H${width}` }),
    ...bins.map((bin, index) => (bin.count ? bar(bin, 1 + index * each, each, most) : null)),
    draw("text", { x: 0, y: 11 }, `highest: ${count(most)}`),
    ...binTicks(bins, each, width),
  );
}

/**
 * @param {Bin} bin
 * @param {number} left
 * @param {number} each  its width
 * @param {number} most
 */
function bar(bin, left, each, most) {
  const height = Math.max(1.5, (bin.count / most) * (BASE - 16));
  const far = bin.to === null;
  const range = `${tick(bin.from)} ${bin.to === null ? "and more" : `to ${tick(bin.to)}`}`;
  const place = { x: left + 0.75, y: BASE - height, width: Math.max(1, each - 1.5), height };
  const fill = far ? "var(--quiet)" : "var(--polls)";
  const title = draw("title", {}, `${range}: ${count(bin.count)}`);
  return draw("rect", { ...place, rx: 1.5, fill }, title);
}

/**
 * @param {Bin[]} bins
 * @param {number} each
 * @param {number} width
 */
function binTicks(bins, each, width) {
  const far = bins.find((bin) => bin.to === null);
  const room = width - (far ? 90 : 24);
  const every = Math.ceil(52 / each);
  const y = HEIGHT - 5;
  const ticks = bins.map((bin, index) => {
    const shown = index % every === 0 && bin !== far && index * each < room;
    const anchor = bin.from ? "middle" : "start";
    const place = { x: 1 + index * each, y, "text-anchor": anchor };
    return shown ? draw("text", place, tick(bin.from)) : null;
  });
  if (far) {
    ticks.push(draw("text", { x: width - 1, y, "text-anchor": "end" }, `> ${tick(far.from)}`));
  }
  return ticks;
}
