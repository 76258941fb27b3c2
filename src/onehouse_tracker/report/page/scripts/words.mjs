// Words and numbers for people.

/** @param {number} number */
export const count = (number) => number.toLocaleString("en");

/**
 * @param {number} number
 * @param {string} word
 */
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** @param {number} number */
const twoDigits = (number) => String(number).padStart(2, "0");

/**
 * Seconds in words: 0.25 s, 12.5 s, 3 min 05 s, 2 h 10 min, 3 d 4 h.
 * @param {number | null | undefined} seconds
 */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.9995 ? 2 : 1)} s`;
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 19.95 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (whole < 3600) return `${minutes} min ${twoDigits(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/**
 * Seconds on an axis, short: 0, 5 s, 2 min, 1:30 min, 1 h.
 * @param {number} seconds
 */
export function tick(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 60) return `${Number(seconds.toFixed(3))} s`;
  if (seconds < 3600) {
    const whole = Math.round(seconds);
    const rest = whole % 60;
    return `${Math.floor(whole / 60)}${rest ? `:${twoDigits(rest)}` : ""} min`;
  }
  return `${Number((seconds / 3600).toFixed(2))} h`;
}

/**
 * The date and time that is so many seconds after a point in time, in the browser's time zone.
 * @param {string | null} iso
 * @param {number | null} seconds
 */
export function moment(iso, seconds = 0) {
  if (!iso || seconds === null) return "";
  return new Date(Date.parse(iso) + seconds * 1000).toLocaleString(undefined, {
    dateStyle: "medium",
    timeStyle: "medium",
  });
}
