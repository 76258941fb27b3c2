// Where the lines of the timeline are: one for each request, however many there are.

export const HIGHEST = 18;
export const AXIS = 22;

// Lines that are at least so high have room for a name.
const NAMED = 13;

/** @param {number} rows */
export const timelineHeight = (rows) => Math.min(420, Math.max(96, AXIS + rows * 15));

/**
 * The height of a line if all are to be seen at once.
 * @param {number} rows
 */
export function fittingHeight(rows) {
  // Two pixels are the border of the box: where all lines fit there is nothing to scroll.
  return Math.min(HIGHEST, (timelineHeight(rows) - AXIS - 6) / Math.max(1, rows));
}

/**
 * @typedef {object} Scale
 * @property {number} span  seconds from edge to edge
 * @property {number} content  pixels from edge to edge, also where they are out of sight
 * @property {number} names  pixels on the left where the names are, if there is room for any
 * @property {(seconds: number) => number} at
 *
 * @typedef {object} Sight
 * @property {number} seconds  up to when something is known
 * @property {number} width
 * @property {number} stretch
 * @property {number} scrollLeft
 * @property {number} rowHeight
 */

/**
 * @param {Sight} sight
 * @returns {Scale}
 */
export function scaleOf({ seconds, width, stretch, scrollLeft, rowHeight }) {
  const span = Math.max(seconds, 0.001) * 1.005;
  const names = rowHeight < NAMED ? 0 : Math.min(260, Math.floor(width * 0.36));
  const content = Math.max(1, Math.floor(width * stretch) - 2 - names);
  return { span, content, names, at: (time) => names + (time / span) * content - scrollLeft };
}

/**
 * The lines that can be seen, from the first to before the last.
 * @param {number} top  pixels that were scrolled
 * @param {number} height  of the box
 * @param {number} rowHeight
 * @param {number} rows
 */
export const rowsInSight = (top, height, rowHeight, rows) => ({
  begin: Math.max(0, Math.floor(top / rowHeight)),
  end: Math.min(rows, Math.ceil((top + height - AXIS) / rowHeight) + 1),
});

/**
 * Every so many lines one is drawn: where four are thinner than a pixel, one of them is enough.
 * @param {number} rowHeight
 */
export const everyRow = (rowHeight) => Math.max(1, Math.floor(0.25 / rowHeight));

/**
 * The line at a height; null if there is none.
 *
 * A thin line is hard to hit: one that matters within two pixels is what was meant.
 * @param {number} y
 * @param {number} rowHeight
 * @param {number} rows
 * @param {(index: number) => boolean} matters
 */
export function rowAt(y, rowHeight, rows, matters) {
  const exact = Math.floor(y / rowHeight);
  const exists = (/** @type {number} */ index) => index >= 0 && index < rows;
  const reach = rowHeight < 4 ? Math.ceil(2 / rowHeight) : -1;
  for (let near = 0; near <= reach; near += 1) {
    for (const index of [exact - near, exact + near]) {
      if (exists(index) && matters(index)) return index;
    }
  }
  return exists(exact) ? exact : null;
}
