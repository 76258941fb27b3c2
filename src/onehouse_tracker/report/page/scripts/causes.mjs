// What went wrong: failures by label and reason, and statements that were not accepted.

import { $, make, note, quiet, redraw, scrolling } from "./dom.mjs";
import { stateMark } from "./drawing.mjs";
import { failureGroups } from "./failures.mjs";
import { EVERYTHING, refilter } from "./filter.mjs";
import { model } from "./model.mjs";
import { count, moment, plural } from "./words.mjs";

/**
 * @typedef {import("./failures.mjs").Group} Group
 */

const MOST_GROUPS = 25;

export function showCauses() {
  const groups = failureGroups(model.rows);
  $("failures").hidden = groups.length === 0;
  const data = groups.map((group) => [group.key, group.rows.length, group.same]);
  redraw($("groups"), data, () => {
    const parts = [scrolling("Failures by label and reason", groupTable(groups))];
    if (groups.length > MOST_GROUPS) {
      const more = count(groups.length - MOST_GROUPS);
      parts.push(note(`… and ${more} more kinds; the table of requests has them all.`));
    }
    return parts;
  });
}

/** @param {Group[]} groups */
function groupTable(groups) {
  const heads = ["Label", "Outcome", "Reason"].map((text) => make("th", { scope: "col" }, text));
  return make(
    "table",
    { class: "cards", role: "table" },
    make("caption", { class: "hidden" }, "Requests that are not ok, by label and reason"),
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", { scope: "col", class: "number" }, "Requests"),
        ...heads,
        make("td"),
      ),
    ),
    make("tbody", {}, ...groups.slice(0, MOST_GROUPS).map(groupLine)),
  );
}

/** @param {Group} group */
function groupLine(group) {
  const { label, state, reason, same, rows } = group;
  const name = `Show ${plural(rows.length, "request")}: ${label || "no label"}, ${state}`;
  const onclick = () => showGroup(group);
  const button = { type: "button", class: "button", "aria-label": name, onclick };
  return make(
    "tr",
    { role: "row" },
    make("td", { class: "number big", role: "cell" }, count(rows.length)),
    make("th", { scope: "row", role: "rowheader" }, label || quiet("no label")),
    make("td", { role: "cell" }, stateMark(state)),
    make(
      "td",
      { class: "reason", role: "cell" },
      reason || quiet("the server gave no reason"),
      same ? null : quiet(" … and others of this kind"),
    ),
    make("td", { class: "last", role: "cell" }, make("button", button, "Show")),
  );
}

/** @param {Group} group */
function showGroup({ key, label, state, reason }) {
  refilter({ ...EVERYTHING, group: { key, label, state, reason } });
  $("requests").scrollIntoView();
  $("requests").focus({ preventScroll: true });
}

export function showStatements() {
  $("statements").hidden = model.statements.length === 0;
  redraw($("statement-lines"), model.statements, () => model.statements.map(statementLine));
}

/** @param {import("./model.mjs").Statement} statement */
const statementLine = ({ label, state, reason, at }) =>
  make(
    "tr",
    {},
    make("th", { scope: "row" }, label ?? ""),
    make("td", {}, state),
    make("td", { class: "reason" }, reason ?? ""),
    make("td", {}, moment(model.head.started_at, at)),
  );
