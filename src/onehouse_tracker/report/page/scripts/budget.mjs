// Requests by time: buckets of equal width, which become wider as time grows.

export const KINDS = /** @type {const} */ (["polls", "submissions", "refusals", "paused"]);

/**
 * @typedef {object} Budget
 * @property {number} width  seconds that one bucket covers
 * @property {number} first  the number of the first bucket that is there
 * @property {number[]} polls
 * @property {number[]} submissions
 * @property {number[]} refusals
 * @property {number[]} paused  seconds
 */

/**
 * What is known after a change: it brings the buckets from `first` on.
 * @param {Budget | null} old
 * @param {Budget} fresh
 * @returns {Budget}
 */
export function mergeBudget(old, fresh) {
  if (!old || fresh.first === 0) return fresh;
  // Only the end of wider buckets came: those before it are made of the narrow ones.
  const known = old.width === fresh.width ? old : coarser(old, fresh.width / old.width);
  const merged = { ...fresh, first: 0 };
  for (const kind of KINDS) {
    const before = known[kind].slice(0, fresh.first);
    while (before.length < fresh.first) before.push(0);
    merged[kind] = before.concat(fresh[kind]);
  }
  return merged;
}

/**
 * @param {Budget} budget
 * @param {number} factor
 */
function coarser(budget, factor) {
  const result = { ...budget, width: budget.width * factor };
  for (const kind of KINDS) {
    /** @type {number[]} */
    const amounts = [];
    budget[kind].forEach((value, index) => {
      const place = Math.floor(index / factor);
      amounts[place] = (amounts[place] ?? 0) + value;
    });
    result[kind] = amounts;
  }
  return result;
}

/**
 * @typedef {object} Slice  one bucket as the chart draws it
 * @property {number} from
 * @property {number} to
 * @property {number} polls  a second
 * @property {number} submissions  a second
 * @property {number} refusals  a second
 * @property {number} paused  seconds
 */

/**
 * @param {Budget} budget
 * @param {number} end  seconds: up to when something is known
 * @returns {Slice[]}
 */
export function slicesOf(budget, end) {
  const slices = [];
  for (let index = 0; index * budget.width < end; index += 1) {
    const from = index * budget.width;
    const to = Math.min(end, from + budget.width);
    // A bucket that has only begun says little: it counts as half full at least.
    const covered = Math.max(to - from, budget.width / 2);
    slices.push({
      from,
      to,
      polls: (budget.polls[index] ?? 0) / covered,
      submissions: (budget.submissions[index] ?? 0) / covered,
      refusals: (budget.refusals[index] ?? 0) / covered,
      paused: Math.min(to - from, budget.paused[index] ?? 0),
    });
  }
  return slices;
}
