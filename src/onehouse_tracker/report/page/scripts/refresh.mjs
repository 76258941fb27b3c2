// When the page is drawn again.

/**
 * Draws at most four times a second, however often something changes, and for no more than a
 * fifth of the time: a slow machine shows fewer pictures, and answers to its user all the same.
 * @param {() => void} draw
 * @returns {() => void}
 */
export function refresher(draw) {
  let planned = false;
  let painted = -1000;
  let cost = 0;
  const paint = () => {
    planned = false;
    const began = performance.now();
    draw();
    requestAnimationFrame(() => {
      painted = performance.now();
      cost = painted - began;
    });
  };
  return () => {
    if (planned) return;
    planned = true;
    const wait = Math.max(250, 5 * cost) - (performance.now() - painted);
    setTimeout(() => requestAnimationFrame(paint), Math.max(0, wait));
  };
}
