// Follows the server that the page came from, while anybody looks at it.

import { isRunning, startClock, stopClock } from "./clock.mjs";
import { $ } from "./dom.mjs";
import { model, take } from "./model.mjs";

const RETRY = 2000;

/** @type {EventSource | null} */
let stream = null;
let over = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let again;
let changed = () => {};

/**
 * @param {string} state
 * @param {string} text
 */
function say(state, text) {
  const box = $("connection");
  box.hidden = false;
  if (box.dataset.is !== state) box.dataset.is = state;
  if (box.textContent !== text) box.textContent = text;
}

function connect() {
  clearTimeout(again);
  if (stream !== null || over || document.hidden) return;
  stream = new EventSource(`events?since=${encodeURIComponent(model.head.version)}`);
  stream.addEventListener("open", () => say("live", "Live"));
  stream.addEventListener("view", (event) => receive(JSON.parse(event.data)));
  stream.addEventListener("over", () => {
    over = true;
    disconnect();
    say("over", "Ended");
    changed();
  });
  stream.addEventListener("error", () => {
    disconnect();
    say("lost", "Connection lost; trying again");
    again = setTimeout(connect, RETRY);
  });
}

function disconnect() {
  stream?.close();
  stream = null;
  stopClock();
}

/** @param {import("./model.mjs").View} view */
function receive(view) {
  take(view);
  startClock();
  changed();
}

/** @param {() => void} refresh  called after each change */
export function startLive(refresh) {
  changed = refresh;
  say("lost", "Connecting");
  // A browser opens few connections to one server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect();
    else connect();
  });
  window.addEventListener("pagehide", disconnect);
  window.addEventListener("pageshow", connect);
  setInterval(() => {
    if (isRunning()) refresh();
  }, 1000);
  connect();
}
