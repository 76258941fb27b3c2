// The controls of the filter.

import { $, make, redraw } from "./dom.mjs";
import { EVERYTHING, filter, NOT_OK, onFilter, refilter } from "./filter.mjs";
import { model } from "./model.mjs";
import { allStates, countKind, countStates } from "./states.mjs";
import { count } from "./words.mjs";

/**
 * @typedef {{ key: string, text: string }} Choice
 */

export function showChoices() {
  const counts = countStates(model.rows);
  choose("state", stateChoices(counts, model.rows.length, filter.state), filter.state);
  const labels = [...new Set(model.rows.map((row) => row.label))].sort();
  choose("label", labelChoices(labels, filter.label), labelKey(filter.label));
  showText();
  showGroupName();
}

/**
 * What is chosen stays a choice, also where no request is left that it fits.
 * @param {import("./states.mjs").Counts} counts
 * @param {number} all
 * @param {string} chosen
 * @returns {Choice[]}
 */
export function stateChoices(counts, all, chosen) {
  const choices = [{ key: "", text: `all (${count(all)})` }];
  const add = (/** @type {string} */ key, /** @type {number} */ number) => {
    if (number || key === chosen) choices.push({ key, text: `${key} (${count(number)})` });
  };
  add(NOT_OK, countKind(counts, "not ok"));
  for (const state of allStates()) add(state, counts[state] ?? 0);
  return choices;
}

/**
 * @param {string[]} labels
 * @param {string | null} chosen
 * @returns {Choice[]}
 */
export function labelChoices(labels, chosen) {
  const missing = chosen === null || labels.includes(chosen) ? [] : [chosen];
  const choices = [...labels, ...missing].map((label) => ({
    key: labelKey(label),
    text: label || "no label",
  }));
  return [{ key: "", text: "all" }, ...choices];
}

/**
 * A request without a label has the empty one, which is not the same as all labels.
 * @param {string | null} label
 */
const labelKey = (label) => (label === null ? "" : `=${label}`);

/**
 * An open list must not be rebuilt while somebody chooses, unless it has changed.
 * @param {string} id
 * @param {Choice[]} choices
 * @param {string} value
 */
function choose(id, choices, value) {
  const select = $(id, HTMLSelectElement);
  redraw(select, choices, () =>
    choices.map(({ key, text }) => make("option", { value: key }, text)),
  );
  if (select.value !== value) select.value = value;
}

// Somebody may be typing a blank at the end.
function showText() {
  const search = $("search", HTMLInputElement);
  if (search.value.trim() !== filter.text) search.value = filter.text;
}

function showGroupName() {
  const { group } = filter;
  const chip = $("group");
  chip.hidden = group === null;
  if (group === null) return;
  const { label, state, reason } = group;
  const name = [label || "no label", state, reason].filter(Boolean);
  chip.textContent = `✕ ${name.join(" · ")}`;
  chip.setAttribute("aria-label", `Do not show only: ${name.join(", ")}`);
}

export function startChoices() {
  onFilter(showChoices);
  const search = $("search", HTMLInputElement);
  const state = $("state", HTMLSelectElement);
  const label = $("label", HTMLSelectElement);
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter").addEventListener("reset", () => refilter(EVERYTHING));
  search.addEventListener("input", () => refilter({ text: search.value.trim() }));
  state.addEventListener("change", () => refilter({ state: state.value }));
  label.addEventListener("change", () => {
    refilter({ label: label.value === "" ? null : label.value.slice(1) });
  });
  $("group").addEventListener("click", () => {
    refilter({ group: null });
    search.focus();
  });
}
