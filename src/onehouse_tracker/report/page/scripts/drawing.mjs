// What several pictures have in common.

import { draw, make } from "./dom.mjs";
import { sum } from "./numbers.mjs";
import { isOk, statesIn } from "./states.mjs";
import { count } from "./words.mjs";

/**
 * A picture with its description; sized by its box, so that its text keeps its size.
 * @param {number} width
 * @param {number} height
 * @param {string} description
 * @param {import("./dom.mjs").Child[]} children
 */
export function chart(width, height, description, ...children) {
  const viewBox = `0 0 ${width} ${height}`;
  const attributes = { width, height, viewBox, role: "img", "aria-label": description };
  return draw("svg", attributes, ...children);
}

/**
 * A state without a color of its own has that of its kind.
 * @param {string} state
 */
export const color = (state) => `var(--${state}, var(--${isOk(state) ? "ok" : "not-ok"}))`;

/** @param {string} paint */
export function swatch(paint) {
  const box = make("span", { class: "swatch", "aria-hidden": "true" });
  box.style.background = paint;
  return box;
}

/** @param {string} state */
export const stateMark = (state) => make("span", { class: "state" }, swatch(color(state)), state);

/**
 * One bar, divided by state.
 * @param {import("./states.mjs").Counts} counts
 * @param {number} width
 * @param {number} height
 */
export function stackedBar(counts, width, height) {
  const total = sum(Object.values(counts));
  let x = 0;
  return statesIn(counts).map((state) => {
    const number = counts[state] ?? 0;
    const wide = (number / total) * width;
    // What is rare must be seen all the same.
    const shown = Math.max(wide, 2);
    const title = draw("title", {}, `${state}: ${count(number)}`);
    const place = { x: Math.min(x, width - shown), y: 0, width: shown, height };
    x += wide;
    return draw("rect", { ...place, fill: color(state) }, title);
  });
}
