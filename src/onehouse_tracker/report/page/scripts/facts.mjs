// The numbers and sentences that people look for first.

import { isRunning, now } from "./clock.mjs";
import { overdueAlert, timeLeft } from "./forecast.mjs";
import { model } from "./model.mjs";
import { ascending, percentile, sum } from "./numbers.mjs";
import { countKind, countStates } from "./states.mjs";
import { count, duration, moment } from "./words.mjs";

/**
 * @typedef {{ name: string, value: string, alarming?: boolean }} Tile
 */

export function totals() {
  const counts = countStates(model.rows, model.head.folded);
  return {
    counts,
    all: sum(Object.values(counts)),
    ok: countKind(counts, "ok"),
    bad: countKind(counts, "not ok"),
    pending: countKind(counts, "pending"),
    open: countKind(counts, "open"),
  };
}

export function tiles() {
  const { head, live } = model;
  const { all, ok, bad, pending, open } = totals();
  /** @type {Tile[]} */
  const found = [
    { name: "requests", value: count(all) },
    { name: "ok", value: count(ok) },
    { name: "not ok", value: count(bad), alarming: bad > 0 },
  ];
  if (pending) found.push({ name: "pending", value: count(pending) });
  if (open) found.push({ name: "still open", value: count(open) });
  if (head.now > 0) found.push({ name: "duration", value: duration(now()) });
  if (head.polls !== null) found.push({ name: "polls", value: count(head.polls) });
  if (head.refusals !== null) {
    const alarming = head.refusals > 0;
    found.push({ name: "refused for the rate", value: count(head.refusals), alarming });
  }
  const bounds = model.rows.map((row) => row.delay_bound).filter((bound) => bound !== null);
  if (bounds.length) {
    const p95 = percentile(bounds.sort(ascending), 95);
    found.push({ name: "known late by at most (p95)", value: duration(p95) });
  }
  if (live?.left && isRunning()) {
    const { median, low, high } = live.left;
    found.push({ name: "time left", value: timeLeft(median, low, high) });
  }
  if (live && isRunning()) {
    found.push({ name: "budget now, a second", value: live.rate.toFixed(1) });
    found.push({ name: "one round of questions", value: duration(live.round_time) });
  }
  return found;
}

export function alerts() {
  const { head, live } = model;
  const found = [];
  if (head.failure) found.push(head.failure);
  const overdue = overdueAlert(model.rows);
  if (overdue) found.push(overdue);
  if (!isRunning()) return found;
  const outage = model.outages.at(-1);
  if (outage?.ended === null) found.push(`The server does not answer: ${outage.reason}`);
  if (live && live.paused_for >= 1) {
    const paused = duration(live.paused_for);
    found.push(`Paused for ${paused}: the server refused requests for their rate.`);
  }
  if (live?.degraded) {
    found.push("The shared budget is out of reach: only a static share of it is spent.");
  }
  return found;
}

export function facts() {
  const { head } = model;
  const found = [];
  if (head.started_at) found.push(`since ${moment(head.started_at)}`);
  if (head.source === "journal") found.push("from a journal, which keeps no use of the budget");
  if (head.source === "results") found.push("from results, which keep no use of the budget");
  const folded = sum(head.folded.map((each) => each.count));
  if (folded) found.push(`the oldest ${count(folded)} are only counted`);
  return found;
}
