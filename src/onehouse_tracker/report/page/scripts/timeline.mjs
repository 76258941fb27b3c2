// The timeline.  Only what can be seen is drawn, as one path for each color.  Where a line is
// thinner than a pixel, not every success is drawn, but everything that went wrong is.

import { now } from "./clock.mjs";
import { $, draw, make, redraw } from "./dom.mjs";
import { chart, color, swatch } from "./drawing.mjs";
import { shownRows } from "./filter.mjs";
import {
  AXIS,
  everyRow,
  fittingHeight,
  HIGHEST,
  rowsInSight,
  scaleOf,
  timelineHeight,
} from "./geometry.mjs";
import { stepOf } from "./numbers.mjs";
import { allStates, countStates, isBad, statesIn } from "./states.mjs";
import { duration, plural, tick } from "./words.mjs";

/**
 * @typedef {import("./model.mjs").Row} Row
 *
 * @typedef {object} Sight  what is in sight, in pixels
 * @property {number} width
 * @property {number} height
 * @property {number} top  how far it was scrolled
 * @property {number} high  of one line
 * @property {import("./geometry.mjs").Scale} scale
 */

export const timeline = {
  /** @type {Row[]} */
  rows: [],
  /** The height of a line; null: as high as fits. @type {number | null} */
  height: null,
  stretch: 1,
  /** The line that somebody points at. @type {number | null} */
  aimed: null,
};

export const rowHeight = () => timeline.height ?? fittingHeight(timeline.rows.length);

export function showTimeline() {
  timeline.rows = shownRows();
  const rows = timeline.rows.length;
  const box = $("timeline");
  const height = `${timelineHeight(rows)}px`;
  if (box.style.height !== height) box.style.height = height;
  const size = $("timeline-size");
  const all = Math.max(box.clientHeight, Math.ceil(AXIS + rowHeight() * rows + 4));
  size.style.width = `${Math.floor(box.clientWidth * timeline.stretch)}px`;
  size.style.height = `${all}px`;
  paintTimeline();
  const fits = timeline.height === null && timeline.stretch === 1;
  $("rows-fit").setAttribute("aria-pressed", String(fits));
  $("rows-in", HTMLButtonElement).disabled = rowHeight() >= HIGHEST;
  $("rows-out", HTMLButtonElement).disabled = timeline.height === null;
  $("zoom-out", HTMLButtonElement).disabled = timeline.stretch === 1;
  $("zoom-in", HTMLButtonElement).disabled = timeline.stretch >= 64;
  const states = statesIn(countStates(timeline.rows));
  redraw($("legend"), states, () =>
    states.map((state) => make("span", {}, swatch(color(state)), state)),
  );
}

/** @returns {Sight} */
function sight() {
  const box = $("timeline");
  const width = box.clientWidth;
  const high = rowHeight();
  const { scrollLeft } = box;
  const { stretch } = timeline;
  const scale = scaleOf({ seconds: now(), width, stretch, scrollLeft, rowHeight: high });
  return { width, height: box.clientHeight, top: box.scrollTop, high, scale };
}

export function paintTimeline() {
  const seen = sight();
  const { width, height, scale } = seen;
  const about = plural(timeline.rows.length, "request");
  const beside = { x: 0, y: 0, width: Math.max(0, scale.names - 6), height };
  const behind = { x: 0, y: 0, width: scale.names - 2, height, fill: "var(--card)" };
  const above = { x: 0, y: 0, width, height: AXIS - 3, fill: "var(--card)" };
  const { grid, ticks } = timeAxis(seen);
  const picture = chart(
    width,
    height,
    `Timeline of ${about} over ${duration(scale.span)}`,
    draw("path", { class: "axis", d: grid }),
    draw("g", {}, ...lines(seen)),
    draw("clipPath", { id: "names" }, draw("rect", beside)),
    scale.names ? draw("rect", behind) : null,
    draw("g", { "clip-path": "url(#names)" }, ...names(seen)),
    draw("rect", above),
    draw("g", {}, ...ticks),
    aimedLine(seen),
  );
  $("timeline-size").replaceChildren(picture);
}

/**
 * The rows that are in sight, with the middle of their lines.
 * @param {Sight} seen
 */
function* rowsOf({ top, height, high }) {
  const { begin, end } = rowsInSight(top, height, high, timeline.rows.length);
  const every = everyRow(high);
  for (let index = begin; index < end; index += 1) {
    const row = timeline.rows[index];
    if (!row || row.joined === null) continue;
    if (index % every && !isBad(row.state)) continue;
    yield { row, joined: row.joined, y: AXIS + (index + 0.5) * high - top };
  }
}

/**
 * Pale until the first poll, then in the color of the state.  What went wrong is drawn last,
 * over all others.
 * @param {Sight} seen
 */
function lines(seen) {
  const { high } = seen;
  const paths = pathsOf(seen);
  const gap = high > 5 ? Math.min(4, high * 0.25) : 0;
  const well = Math.min(HIGHEST, high * everyRow(high) - gap);
  const badly = Math.max(1.6, high - gap);
  const states = allStates().filter((state) => paths.has(state));
  states.sort((a, b) => Number(isBad(a)) - Number(isBad(b)));
  return states.flatMap((state) => {
    const { before = "", after = "" } = paths.get(state) ?? {};
    const stroke = { stroke: color(state), "stroke-width": isBad(state) ? badly : well };
    return [
      draw("path", { ...stroke, d: before, opacity: 0.32 }),
      draw("path", { ...stroke, d: after }),
    ];
  });
}

/**
 * @param {Sight} seen
 * @returns {Map<string, { before: string, after: string }>}
 */
function pathsOf(seen) {
  const { width, scale } = seen;
  const until = now();
  // What is far out of sight need not be drawn there.
  const edge = (/** @type {number} */ x) => Math.max(-4, Math.min(width + 4, x)).toFixed(1);
  /** @type {Map<string, { before: string[], after: string[] }>} */
  const paths = new Map();
  for (const { row, joined, y } of rowsOf(seen)) {
    const path = paths.get(row.state) ?? { before: [], after: [] };
    paths.set(row.state, path);
    const x0 = scale.at(joined);
    const x1 = scale.at(row.first ?? row.ended ?? until);
    const x2 = Math.max(x1 + 1.5, scale.at(row.ended ?? until));
    const at = y.toFixed(2);
    const polled = row.first !== null || row.ended !== null;
    if (x1 - x0 > 0.5) path.before.push(`M${edge(x0)} ${at}H${edge(x1)}`);
    if (polled) path.after.push(`M${edge(x1)} ${at}H${edge(x2)}`);
  }
  return new Map(
    [...paths].map(([state, { before, after }]) => [
      state,
      { before: before.join(""), after: after.join("") },
    ]),
  );
}

/** @param {Sight} seen */
function names(seen) {
  if (!seen.scale.names) return [];
  return Array.from(rowsOf(seen), ({ row, y }) => {
    const name = row.label ? `${row.label} · ${row.request_id}` : row.request_id;
    return draw("text", { class: "name", x: 4, y: Number(y.toFixed(2)) + 3.5 }, name);
  });
}

/** @param {Sight} seen */
function timeAxis({ width, height, scale }) {
  const step = stepOf(scale.span, Math.max(2, Math.floor(scale.content / 90)));
  const grid = [];
  const ticks = [];
  const first = Math.floor((($("timeline").scrollLeft / scale.content) * scale.span) / step);
  for (let n = first; n * step <= scale.span && scale.at(n * step) < width; n += 1) {
    const x = scale.at(n * step);
    if (x < scale.names) continue;
    grid.push(`M${x.toFixed(1)} ${AXIS - 4}V${height}`);
    if (x < width - 30) ticks.push(draw("text", { x: x + 4, y: 14 }, tick(n * step)));
  }
  return { grid: grid.join(""), ticks };
}

/** @param {Sight} seen */
function aimedLine({ width, high, top }) {
  if (timeline.aimed === null) return null;
  const height = Math.max(high, 2);
  const y = AXIS + (timeline.aimed + 0.5) * high - top - height / 2;
  return draw("rect", { x: 0, y, width, height, fill: "var(--accent)", opacity: 0.25 });
}
