// Seconds since the start.  On a live page it also passes between two messages.

import { model } from "./model.mjs";

/** When the last message came; null while none are expected. @type {number | null} */
let receivedAt = null;

export const isRunning = () => receivedAt !== null;

export const now = () =>
  model.head.now + (receivedAt === null ? 0 : (performance.now() - receivedAt) / 1000);

export function startClock() {
  receivedAt = performance.now();
}

// Nobody knows what happens from now on.
export function stopClock() {
  model.head.now = now();
  receivedAt = null;
}
