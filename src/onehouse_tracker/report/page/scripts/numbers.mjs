// What charts and tables compute from numbers.

/** @param {number[]} numbers */
export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * @param {number} a
 * @param {number} b
 */
export const ascending = (a, b) => a - b;

/**
 * The smallest value that so many percent of the sorted values do not exceed.
 * @param {number[]} sorted
 * @param {number} part
 * @returns {number | undefined}
 */
export const percentile = (sorted, part) =>
  sorted[Math.max(0, Math.ceil((sorted.length * part) / 100) - 1)];

// Steps that people count in: 1, 2 and 5 below ten seconds, then parts of minutes, hours, days.
const STEPS = [
  [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
  [10, 15, 30, 60, 120, 300, 600, 900, 1800],
  [3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800],
].flat();

/**
 * A step for an axis of so many seconds with at most so many ticks.
 * @param {number} seconds
 * @param {number} most
 */
export const stepOf = (seconds, most) =>
  STEPS.find((step) => seconds / step <= most) ?? seconds / most;

/**
 * @typedef {object} Bin
 * @property {number} from
 * @property {number | null} to  null: everything from `from` on
 * @property {number} count
 */

/**
 * Counts values in bins of equal width.  What lies far out is in one last bin, so that a few
 * extreme values do not squeeze all others into the first.
 * @param {number[]} sorted
 * @returns {Bin[]}
 */
export function binsOf(sorted) {
  const far = percentile(sorted, 99) || sorted.at(-1) || 0;
  const step = stepOf(Math.max(far, 0.001), 24);
  const place = (/** @type {number} */ value) => Math.floor(value / step);
  const number = place(far) + 1;
  /** @type {Bin[]} */
  const bins = [];
  for (let index = 0; index < number; index += 1) {
    bins.push({ from: index * step, to: (index + 1) * step, count: 0 });
  }
  let beyond = 0;
  for (const value of sorted) {
    const bin = bins[place(value)];
    if (bin) bin.count += 1;
    else beyond += 1;
  }
  if (beyond) bins.push({ from: number * step, to: null, count: beyond });
  return bins;
}
