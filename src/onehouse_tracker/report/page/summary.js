// The numbers that people look for first, and what went wrong.

const MOST_GROUPS = 25;

function showSummary() {
  const { head } = model;
  const counts = countStates(model.rows, head.folded);
  const total = sum(Object.values(counts));
  const bad = countKind(counts, "not ok");
  const ok = countKind(counts, "ok");
  const pending = countKind(counts, "pending");
  const open = countKind(counts, "open");
  const bounds = model.rows.filter((row) => row.delay_bound !== null).map((row) => row.delay_bound).sort((a, b) => a - b);
  const tiles = [
    ["requests", count(total)],
    ["ok", count(ok)],
    ["not ok", count(bad), bad > 0],
  ];
  if (pending) tiles.push(["pending", count(pending)]);
  if (open) tiles.push(["still open", count(open)]);
  if (head.now > 0) tiles.push(["duration", duration(now())]);
  if (head.polls !== null) tiles.push(["polls", count(head.polls)]);
  if (head.refusals !== null) tiles.push(["refused for the rate", count(head.refusals), head.refusals > 0]);
  if (bounds.length) tiles.push(["known late by at most (p95)", duration(percentile(bounds, 95))]);
  const { live } = model;
  if (live && running) {
    tiles.push(["budget now, a second", live.rate.toFixed(1)]);
    tiles.push(["one round of questions", duration(live.round_time)]);
  }
  redraw($("tiles"), JSON.stringify(tiles), () => tiles.map(([name, value, alarming]) =>
    make("div", { class: alarming ? "alarming" : null }, make("dt", {}, name), make("dd", {}, value))));

  const alerts = [];
  if (head.failure) alerts.push(head.failure);
  const outage = model.outages.at(-1);
  if (running && outage && outage.ended === null) alerts.push(`The server does not answer: ${outage.reason}`);
  if (running && live?.paused_for >= 1) alerts.push(`Paused for ${duration(live.paused_for)}: the server refused requests for their rate.`);
  if (running && live?.degraded) alerts.push("The shared budget is out of reach: only a static share of it is spent.");
  redraw($("alerts"), JSON.stringify(alerts), () => alerts.map((text) => make("p", { class: "alert" }, text)));

  const box = $("outcomes");
  const width = widthOf(box);
  redraw(box, JSON.stringify([counts, width]), () => {
    if (!total) return [make("p", { class: "note" }, "Nothing was followed yet.")];
    const described = STATES.filter((state) => counts[state]).map((state) => `${state} ${count(counts[state])}`);
    return [
      chart(width, 16, `Requests by outcome: ${described.join(", ")}`,
        draw("clipPath", { id: "round" }, draw("rect", { width, height: 16, rx: 5 })),
        draw("g", { "clip-path": "url(#round)" }, ...stackedBar(counts, width, 16))),
      make("ul", { class: "legend" }, ...STATES.filter((state) => counts[state]).map((state) =>
        make("li", {}, swatch(color(state)), `${state} ${count(counts[state])}`))),
    ];
  });

  const facts = [];
  if (head.started_at) facts.push(`since ${moment(head.started_at)}`);
  if (head.source === "journal") facts.push("from a journal, which keeps no use of the budget");
  if (head.source === "results") facts.push("from results, which keep no use of the budget");
  const folded = sum(head.folded.map((folded) => folded.count));
  if (folded) facts.push(`the oldest ${count(folded)} are only counted`);
  redraw($("facts"), facts.join(), () => [facts.join(" · ")]);
  const isLive = document.documentElement.dataset.live === "yes";
  if (isLive && total) document.title = `${count(total - pending)}/${count(total)}${bad ? ` · ${count(bad)} not ok` : ""} · ${$("main").dataset.title}`;
}

function showFailures() {
  const groups = failureGroups(model.rows);
  $("failures").hidden = groups.length === 0;
  const key = JSON.stringify(groups.map((group) => [group.key, group.rows.length]));
  redraw($("groups"), key, () => {
    const lines = groups.slice(0, MOST_GROUPS).map((group) => make("tr", { role: "row" },
      make("td", { class: "number big", role: "cell" }, count(group.rows.length)),
      make("th", { scope: "row", role: "rowheader" }, group.label || make("span", { class: "quiet" }, "no label")),
      make("td", { role: "cell" }, stateMark(group.state)),
      make("td", { class: "reason", role: "cell" }, group.reason || make("span", { class: "quiet" }, "the server gave no reason"),
        group.same ? null : make("span", { class: "quiet" }, " … and others of this kind")),
      make("td", { class: "last", role: "cell" }, make("button", {
        type: "button", class: "button", "aria-label": `Show ${plural(group.rows.length, "request")}: ${group.label || "no label"}, ${group.state}`,
        onclick: () => showGroup(group),
      }, "Show"))));
    const parts = [make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Failures by label and reason" },
      make("table", { class: "cards", role: "table" }, make("caption", { class: "hidden" }, "Requests that are not ok, by label and reason"),
        make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "number" }, "Requests"),
          ...["Label", "Outcome", "Reason", ""].map((text) => text ? make("th", { scope: "col" }, text) : make("td")))),
        make("tbody", {}, ...lines)))];
    if (groups.length > MOST_GROUPS) {
      parts.push(make("p", { class: "note" }, `… and ${count(groups.length - MOST_GROUPS)} more kinds; the table of requests has them all.`));
    }
    return parts;
  });
}

function showStatements() {
  $("statements").hidden = model.statements.length === 0;
  redraw($("statement-lines"), JSON.stringify(model.statements), () => model.statements.map(({ label, state, reason, at }) =>
    make("tr", {}, make("th", { scope: "row" }, label ?? ""), make("td", {}, state),
      make("td", { class: "reason" }, reason ?? ""), make("td", {}, moment(model.head.started_at, at)))));
}
