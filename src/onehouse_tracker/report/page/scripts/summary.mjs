// The first card: tiles, alerts, and one bar of all outcomes.

import { $, draw, make, note, redraw, widthOf } from "./dom.mjs";
import { chart, color, stackedBar, swatch } from "./drawing.mjs";
import { alerts, facts, tiles, totals } from "./facts.mjs";
import { statesIn } from "./states.mjs";
import { count } from "./words.mjs";

export function showSummary() {
  const shown = tiles();
  redraw($("tiles"), shown, () => shown.map(tile));
  const sentences = alerts();
  redraw($("alerts"), sentences, () => sentences.map(alert));
  redraw($("facts"), facts(), () => [facts().join(" · ")]);
  showOutcomes();
  if (document.documentElement.dataset.live === "yes") showInTitle();
}

/** @param {import("./facts.mjs").Tile} tile */
const tile = ({ name, value, alarming }) =>
  make(
    "div",
    { class: alarming ? "alarming" : null },
    make("dt", {}, name),
    make("dd", {}, value),
  );

/** @param {string} text */
const alert = (text) => make("p", { class: "alert" }, text);

function showOutcomes() {
  const box = $("outcomes");
  const { counts, all } = totals();
  const width = widthOf(box);
  redraw(box, [counts, width], () =>
    all ? outcomes(counts, width) : [note("Nothing was followed yet.")],
  );
}

/**
 * @param {import("./states.mjs").Counts} counts
 * @param {number} width
 */
function outcomes(counts, width) {
  const legend = statesIn(counts).map((state) => ({
    state,
    text: `${state} ${count(counts[state] ?? 0)}`,
  }));
  const described = legend.map(({ text }) => text).join(", ");
  const frame = draw("rect", { width, height: 16, rx: 5 });
  const bar = stackedBar(counts, width, 16);
  return [
    chart(
      width,
      16,
      `Requests by outcome: ${described}`,
      draw("clipPath", { id: "round" }, frame),
      draw("g", { "clip-path": "url(#round)" }, ...bar),
    ),
    make(
      "ul",
      { class: "legend" },
      ...legend.map(({ state, text }) => make("li", {}, swatch(color(state)), text)),
    ),
  ];
}

// So that a tab in the background tells how far it is.
function showInTitle() {
  const { all, bad, pending } = totals();
  if (!all) return;
  const known = `${count(all - pending)}/${count(all)}`;
  const parts = [known, bad ? `${count(bad)} not ok` : "", $("main").dataset.title];
  document.title = parts.filter(Boolean).join(" · ");
}
