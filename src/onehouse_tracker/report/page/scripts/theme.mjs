// Light or dark, and remembering which.

import { $ } from "./dom.mjs";

const THEMES = ["auto", "light", "dark"];
const KEY = "onehouse-tracker-theme";

/**
 * A browser may forbid storage, for example to a page that was opened from disk.
 * @template T
 * @param {() => T} action
 */
function ifAllowed(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/** @param {string} theme */
function show(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

export function startTheme() {
  const kept = ifAllowed(() => localStorage.getItem(KEY)) ?? "";
  show(THEMES.includes(kept) ? kept : "auto");
  $("theme").addEventListener("click", () => {
    const place = THEMES.indexOf(document.documentElement.dataset.theme ?? "");
    const next = THEMES[(place + 1) % THEMES.length] ?? "auto";
    ifAllowed(() => localStorage.setItem(KEY, next));
    show(next);
  });
}
