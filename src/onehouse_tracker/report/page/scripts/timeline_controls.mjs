// Pointing at lines of the timeline, and zooming.

import { $ } from "./dom.mjs";
import { onFilter, refilter } from "./filter.mjs";
import { AXIS, fittingHeight, HIGHEST, rowAt } from "./geometry.mjs";
import { isBad } from "./states.mjs";
import { paintTimeline, rowHeight, showTimeline, timeline } from "./timeline.mjs";
import { duration } from "./words.mjs";

/** @param {MouseEvent} event */
function aimAt(event) {
  const box = $("timeline");
  const y = event.clientY - box.getBoundingClientRect().top - AXIS + box.scrollTop;
  const bad = (/** @type {number} */ index) => isBad(timeline.rows[index]?.state ?? "");
  aim(rowAt(y, rowHeight(), timeline.rows.length, bad));
}

/** @param {number | null} index */
function aim(index) {
  timeline.aimed = index;
  const row = aimedRow();
  $("pointed").textContent = row === null ? "" : nameOf(row);
  paintTimeline();
}

const aimedRow = () => (timeline.aimed === null ? null : (timeline.rows[timeline.aimed] ?? null));

/** @param {import("./model.mjs").Row} row */
function nameOf({ label, request_id, state, ended, waited, reason }) {
  const took = ended === null ? "" : `after ${duration(waited)}`;
  return [label, request_id, state, took, reason].filter(Boolean).join(" · ");
}

/**
 * The middle of what is in sight stays where it is.
 * @param {number} factor
 */
function zoomRows(factor) {
  const box = $("timeline");
  const half = (box.clientHeight - AXIS) / 2;
  const middle = (box.scrollTop + half) / rowHeight();
  const wanted = rowHeight() * factor;
  const fits = wanted <= fittingHeight(timeline.rows.length) * 1.01;
  timeline.height = fits ? null : Math.min(HIGHEST, wanted);
  showTimeline();
  box.scrollTop = middle * rowHeight() - half;
  paintTimeline();
}

/** @param {number} factor */
function zoomTime(factor) {
  const box = $("timeline");
  const half = box.clientWidth / 2;
  const middle = (box.scrollLeft + half) / (box.clientWidth * timeline.stretch);
  timeline.stretch = Math.max(1, Math.min(64, timeline.stretch * factor));
  showTimeline();
  box.scrollLeft = middle * box.clientWidth * timeline.stretch - half;
  paintTimeline();
}

export function fitTimeline() {
  Object.assign(timeline, { height: null, stretch: 1 });
}

export function startTimeline() {
  const box = $("timeline");
  onFilter(() => {
    timeline.aimed = null;
    box.scrollTop = 0;
    showTimeline();
  });
  $("rows-fit").addEventListener("click", () => {
    fitTimeline();
    box.scrollTo(0, 0);
    showTimeline();
  });
  // Where lines are thinner than a pixel, twice as high is no difference.
  const step = () => (rowHeight() < 1 ? 4 : 2);
  $("rows-in").addEventListener("click", () => zoomRows(step()));
  $("rows-out").addEventListener("click", () => zoomRows(1 / step()));
  $("zoom-in").addEventListener("click", () => zoomTime(2));
  $("zoom-out").addEventListener("click", () => zoomTime(0.5));
  let planned = false;
  box.addEventListener("scroll", () => {
    if (planned) return;
    planned = true;
    requestAnimationFrame(() => {
      planned = false;
      paintTimeline();
    });
  });
  box.addEventListener("pointermove", aimAt);
  box.addEventListener("pointerleave", () => aim(null));
  box.addEventListener("click", (event) => {
    // Clicks come in whole pixels: what was pointed at is what is meant.
    if (timeline.aimed === null) aimAt(event);
    const row = aimedRow();
    if (row !== null) refilter({ text: row.request_id });
  });
}
