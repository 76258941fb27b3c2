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

// At most four times a second, however often something changes.
let planned = false;
let painted = -1000;
function schedule() {
  if (planned) return;
  planned = true;
  setTimeout(() => requestAnimationFrame(() => {
    planned = false;
    painted = performance.now();
    showAll();
  }), Math.max(0, 250 - (performance.now() - painted)));
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
