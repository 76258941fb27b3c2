// Puts it all together.

const THEMES = ["auto", "light", "dark"];

function showAll() {
  showSummary();
  showFailures();
  showRequests();
  showTimeline();
  showLabels();
  showDistributions();
  showBudget();
  showStatements();
}

// At most four times a second, however often something changes, and no more than a fifth of
// the time: a slow machine shows fewer pictures, and answers to its user all the same.
let planned = false;
let painted = -1000;
let cost = 0;
function schedule() {
  if (planned) return;
  planned = true;
  setTimeout(() => requestAnimationFrame(() => {
    planned = false;
    const began = performance.now();
    showAll();
    requestAnimationFrame(() => {
      painted = performance.now();
      cost = painted - began;
    });
  }), Math.max(0, Math.max(250, 5 * cost) - (performance.now() - painted)));
}

function startTheme() {
  const button = $("theme");
  const keep = (action) => {
    // A browser may forbid it, to a page opened from disk for example.
    try {
      return action();
    } catch {
      return null;
    }
  };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  const kept = keep(() => localStorage.getItem("onehouse-tracker-theme"));
  show(THEMES.includes(kept) ? kept : "auto");
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    keep(() => localStorage.setItem("onehouse-tracker-theme", next));
    show(next);
  });
}

$("main").dataset.title = document.title;
take(JSON.parse($("data").textContent));
startTheme();
startTimeline();
startRequests();
showAll();
let lastWidth = document.documentElement.clientWidth;
window.addEventListener("resize", () => {
  if (document.documentElement.clientWidth === lastWidth) return;
  lastWidth = document.documentElement.clientWidth;
  schedule();
});
if (document.documentElement.dataset.live === "yes") startLive();
