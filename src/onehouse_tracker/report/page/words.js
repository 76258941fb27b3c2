// Words and numbers for people.

const count = (number) => number.toLocaleString("en");

const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.9995 ? 2 : 1)} s`;
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 20 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// Short, for axes: 0, 5 s, 2 min, 1 h.
function tick(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 60) return `${Number(seconds.toFixed(3))} s`;
  if (seconds < 3600) {
    const rest = Math.round(seconds % 60);
    return rest ? `${Math.floor(seconds / 60)}:${String(rest).padStart(2, "0")} min` : `${Math.round(seconds / 60)} min`;
  }
  return `${Number((seconds / 3600).toFixed(2))} h`;
}

const STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900,
  1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800,
];

// A step for an axis of so many seconds with at most so many ticks.
const stepOf = (seconds, most) => STEPS.find((step) => seconds / step <= most) ?? seconds / most;

const percent = (part) => (part > 0 && part < 0.01 ? "<1 %" : `${Math.round(part * 100)} %`);

function moment(iso, seconds = 0) {
  if (!iso || seconds === null) return "";
  return new Date(Date.parse(iso) + seconds * 1000).toLocaleString(undefined, {
    dateStyle: "medium", timeStyle: "medium",
  });
}
