// Puts it all together.

import { showBudget } from "./budget_chart.mjs";
import { showCauses, showStatements } from "./causes.mjs";
import { showChoices, startChoices } from "./choices.mjs";
import { showDistributions } from "./distributions.mjs";
import { $ } from "./dom.mjs";
import { showLabels } from "./labels.mjs";
import { startLive } from "./live.mjs";
import { take } from "./model.mjs";
import { refresher } from "./refresh.mjs";
import { printRequests, showRequests, showRequestsOnScreen, startRequests } from "./requests.mjs";
import { showSummary } from "./summary.mjs";
import { startTheme } from "./theme.mjs";
import { showTimeline } from "./timeline.mjs";
import { fitTimeline, startTimeline } from "./timeline_controls.mjs";

function showAll() {
  showSummary();
  showCauses();
  showChoices();
  showRequests();
  showTimeline();
  showLabels();
  showDistributions();
  showBudget();
  showStatements();
}

function startPrinting() {
  window.addEventListener("beforeprint", () => {
    printRequests();
    fitTimeline();
    showAll();
  });
  window.addEventListener("afterprint", () => {
    showRequestsOnScreen();
    showAll();
  });
}

/** @param {() => void} refresh */
function startResizing(refresh) {
  const root = document.documentElement;
  let width = root.clientWidth;
  window.addEventListener("resize", () => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    refresh();
  });
}

const refresh = refresher(showAll);
$("main").dataset.title = document.title;
take(JSON.parse($("data", HTMLScriptElement).textContent ?? ""));
startTheme();
startChoices();
startRequests();
startTimeline();
startPrinting();
showAll();
startResizing(refresh);
if (document.documentElement.dataset.live === "yes") startLive(refresh);
