// Outcomes by label, distributions, and the use of the budget.

function showLabels() {
  const labels = new Map();
  const of = (label) => {
    if (!labels.has(label)) labels.set(label, { label, counts: {}, waited: [] });
    return labels.get(label);
  };
  for (const row of model.rows) {
    const entry = of(row.label);
    entry.counts[row.state] = (entry.counts[row.state] ?? 0) + 1;
    if (row.waited !== null && isDecided(row.state)) entry.waited.push(row.waited);
  }
  for (const { label, state, count: number } of model.head.folded) {
    const entry = of(label ?? "");
    entry.counts[state] = (entry.counts[state] ?? 0) + number;
  }
  const all = countStates(model.rows, model.head.folded);
  const states = STATES.filter((state) => all[state]);
  redraw($("label-columns"), states.join(), () => [
    make("th", { scope: "col" }, "Label"), make("td", { class: "spare" }), make("th", { scope: "col", class: "number" }, "All"),
    ...states.map((state) => make("th", { scope: "col", class: "number" }, state)),
    make("th", { scope: "col", class: "number" }, "Waited, p50"), make("th", { scope: "col", class: "number" }, "p95"),
  ]);
  const sorted = [...labels.values()].sort((a, b) => sum(Object.values(b.counts)) - sum(Object.values(a.counts)) || (a.label < b.label ? -1 : 1));
  const most = Math.max(1, ...sorted.map((entry) => sum(Object.values(entry.counts))));
  const lines = sorted.map((entry) => {
    entry.waited.sort((a, b) => a - b);
    return [entry, sum(Object.values(entry.counts)), ...states.map((state) => entry.counts[state] ?? 0),
      duration(percentile(entry.waited, 50)), duration(percentile(entry.waited, 95))];
  });
  const key = JSON.stringify([states, lines.map(([entry, ...rest]) => [entry.label, ...rest])]);
  redraw($("label-lines"), key, () => lines.map(([entry, total, ...cells]) => make("tr", {},
    make("th", { scope: "row" }, entry.label || make("span", { class: "quiet" }, "no label")),
    make("td", { class: "spare" }, chart(140, 14, "", draw("g", {}, ...stackedBar(entry.counts, Math.max(4, 140 * total / most), 14)))),
    make("td", { class: "number" }, count(total)),
    ...cells.map((cell) => make("td", { class: "number" }, typeof cell === "number" ? (cell ? count(cell) : "") : cell)))));
}

// --- Distributions ------------------------------------------------------------------------

const MEASURES = [
  ["waited", "Waiting", "From adding a request to knowing its outcome."],
  ["delay_bound", "Known late by at most", "From the last poll that found it pending to the outcome (delay bound)."],
  ["delay", "Known late by", "From the end at the server to knowing it (true delay)."],
];

function showDistributions() {
  const box = $("distributions");
  const measured = MEASURES
    .map(([field, title, note]) => ({ title, note, field, values: valuesOf(field) }))
    .filter(({ values }) => values.length);
  redraw(box, measured.map(({ field }) => field).join() || "none", () => measured.length
    ? measured.map(({ field, title, note }) => make("figure", { id: `of-${field}`, class: "distribution" },
      make("h3", {}, title), make("div", { class: "picture" }), make("ul", { class: "marks" }), make("p", { class: "note" }, note),
      tableOf(["From", "To", "Requests"], () => binsOf(valuesOf(field)).map((bin) => [tick(bin.from), bin.to === null ? "" : tick(bin.to), count(bin.count)]))))
    : [make("p", { class: "note" }, "Nothing has ended yet.")]);
  for (const { field, title, values } of measured) {
    const figure = $(`of-${field}`);
    const marks = [["p50", 50], ["p90", 90], ["p99", 99], ["max", 100]].map(([name, part]) => [name, duration(percentile(values, part))]);
    const picture = figure.querySelector(".picture");
    const width = widthOf(picture);
    redraw(picture, `${width} ${values.length} ${marks}`, () => [histogram(values, width, `${title}, ${marks.map((mark) => mark.join(" ")).join(", ")}`)]);
    redraw(figure.querySelector(".marks"), marks.join(), () => marks.map(([name, text]) => make("li", {}, `${name} `, make("b", {}, text))));
  }
}

const valuesOf = (field) => model.rows
  .filter((row) => row[field] !== null && isDecided(row.state)).map((row) => row[field]).sort((a, b) => a - b);

// Equal steps up to nearly the largest value; what lies far out is in one last bin.
function binsOf(sorted) {
  const far = percentile(sorted, 99) || sorted.at(-1) || 0.001;
  const step = stepOf(Math.max(far, 0.001), 24);
  const bins = [];
  const number = Math.max(1, Math.ceil((far + 1e-9) / step));
  for (let index = 0; index < number; index += 1) bins.push({ from: index * step, to: (index + 1) * step, count: 0 });
  let beyond = 0;
  for (const value of sorted) {
    const bin = bins[Math.floor(value / step)];
    if (bin) bin.count += 1;
    else beyond += 1;
  }
  if (beyond) bins.push({ from: number * step, to: null, count: beyond });
  return bins;
}

function histogram(sorted, width, description) {
  const bins = binsOf(sorted);
  const height = 150;
  const base = height - 20;
  const most = Math.max(...bins.map((bin) => bin.count));
  const each = (width - 2) / bins.length;
  const every = Math.ceil(52 / each);
  const bars = bins.filter((bin) => bin.count).map((bin) => {
    const high = Math.max(1.5, (bin.count / most) * (base - 16));
    const range = bin.to === null ? `${tick(bin.from)} and more` : `${tick(bin.from)} to ${tick(bin.to)}`;
    return draw("rect", {
      x: 1 + bins.indexOf(bin) * each + 0.75, y: base - high, width: Math.max(1, each - 1.5), height: high, rx: 1.5,
      fill: bin.to === null ? "var(--quiet)" : "var(--polls)",
    }, draw("title", {}, `${range}: ${count(bin.count)}`));
  });
  const room = width - (bins.at(-1).to === null ? 90 : 24);
  const ticks = bins.filter((bin, index) => index % every === 0 && bin.to !== null && index * each < room).map((bin) =>
    draw("text", { x: 1 + bins.indexOf(bin) * each, y: height - 5, "text-anchor": bin.from ? "middle" : "start" }, tick(bin.from)));
  return chart(width, height, description, draw("path", { class: "axis", d: `M0 ${base + 0.5}H${width}` }),
    ...bars, draw("text", { x: 0, y: 11 }, `highest: ${count(most)}`), ...ticks,
    bins.at(-1).to === null ? draw("text", { x: width - 1, y: height - 5, "text-anchor": "end" }, `> ${tick(bins.at(-1).from)}`) : null);
}

// --- Budget -------------------------------------------------------------------------------

function showBudget() {
  const box = $("budget-chart");
  const { budget, head } = model;
  if (!budget || !(head.now > 0)) {
    redraw(box, `none ${head.source}`, () => [make("p", { class: "note" }, head.source === "run" ? "Nothing was sent yet."
      : `A report made from ${head.source === "journal" ? "a journal" : "results"} does not know when each poll was sent. Write the report with the run to see the use of the budget, refusals and pauses.`)]);
    return;
  }
  const width = widthOf(box);
  redraw(box, `${head.version} ${width}`, () => {
    const used = (head.polls + head.submissions) / now();
    const words = [`${plural(head.polls, "poll")}, ${plural(head.submissions, "submission")}, ${used.toFixed(1)} requests a second on average`];
    if (head.limit) words.push(`of ${head.limit} that may be sent`);
    words.push(head.refusals ? `${plural(head.refusals, "refusal")} (429), paused for ${duration(head.paused)}` : "no refusal");
    if (model.outages.length) words.push(plural(model.outages.length, "outage"));
    const text = `${words[0]}${head.limit ? ` ${words.splice(1, 1)}` : ""}; ${words.slice(1).join("; ")}.`;
    const open = box.querySelector("details")?.open ?? false;
    const details = tableOf(["From", "Polls", "Submissions", "Refusals", "Paused, s"], () => budget.polls.map((_, index) => [
      tick(index * budget.width), ...["polls", "submissions", "refusals"].map((kind) => count(budget[kind][index] ?? 0)), (budget.paused[index] ?? 0).toFixed(1)]));
    details.open = open;
    return [budgetChart(width, text), budgetLegend(), make("p", { class: "note" }, text), details];
  });
}

function budgetChart(width, description) {
  const { budget, head, outages } = model;
  const height = 190;
  const left = 30;
  const base = height - 20;
  const end = Math.max(now(), 0.001);
  const number = Math.ceil(end / budget.width);
  const rate = (kind, index) => {
    const covered = Math.min(budget.width, Math.max(end - index * budget.width, budget.width / 2));
    return (budget[kind][index] ?? 0) / covered;
  };
  let most = (head.limit ?? 0) * 1.15;
  for (let index = 0; index < number; index += 1) most = Math.max(most, rate("polls", index) + rate("submissions", index), rate("refusals", index));
  most = most || 1;
  const x = (seconds) => left + Math.min(1, seconds / end) * (width - left - 1);
  const y = (perSecond) => base - (perSecond / most) * (base - 12);
  const box = (from, to, low, high) => `M${x(from).toFixed(1)} ${y(low).toFixed(1)}V${y(high).toFixed(1)}H${x(to).toFixed(1)}V${y(low).toFixed(1)}Z`;
  const shapes = { polls: "", submissions: "", refusals: "", paused: "" };
  for (let index = 0; index < number; index += 1) {
    const from = index * budget.width;
    const to = Math.min(end, from + budget.width);
    const polls = rate("polls", index);
    const all = polls + rate("submissions", index);
    if (polls) shapes.polls += box(from, to, 0, polls);
    if (all > polls) shapes.submissions += box(from, to, polls, all);
    if (budget.refusals[index]) shapes.refusals += box(from, to, 0, rate("refusals", index));
    // Narrower than its bucket where the pause was shorter.
    const paused = Math.min(to - from, budget.paused[index] ?? 0);
    if (paused > 0) shapes.paused += box(from, from + Math.max(paused, (end / width) * 2), 0, most);
  }
  const perSecond = most > 40 ? 20 : most > 16 ? 5 : most > 6 ? 2 : 1;
  const lines = [];
  const ticks = [];
  for (let value = 0; value <= most; value += perSecond) {
    lines.push(`M${left} ${Math.round(y(value)) + 0.5}H${width}`);
    ticks.push(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  const step = stepOf(end, Math.max(2, Math.floor(width / 90)));
  for (let value = 0; value <= end; value += step) {
    if (x(value) < width - 24 || !value) ticks.push(draw("text", { x: x(value), y: height - 5, "text-anchor": value ? "middle" : "start" }, tick(value)));
  }
  const silent = outages.map(({ began, ended }) => box(began, ended ?? end, 0, most)).join("");
  return chart(width, height, description,
    draw("path", { d: silent, fill: "var(--alarm)", opacity: 0.16 }),
    draw("path", { d: shapes.paused, fill: "var(--paused)", opacity: 0.3 }),
    draw("path", { class: "axis", d: lines.join("") }),
    draw("path", { d: shapes.polls, fill: "var(--polls)" }),
    draw("path", { d: shapes.submissions, fill: "var(--submissions)" }),
    draw("path", { d: shapes.refusals, fill: "var(--refusals)" }),
    head.limit ? draw("path", { d: `M${left} ${y(head.limit)}H${width}`, stroke: "var(--text)", "stroke-dasharray": "5 4", fill: "none", opacity: 0.7 }) : null,
    head.limit ? draw("text", { x: width - 2, y: y(head.limit) - 5, "text-anchor": "end" }, `limit ${head.limit} a second`) : null,
    ...ticks);
}

function budgetLegend() {
  const { head, outages } = model;
  const entries = [["var(--polls)", "polls a second"], ["var(--submissions)", "submissions a second"]];
  if (head.refusals) entries.push(["var(--refusals)", "refused (429)"], ["var(--paused)", "paused"]);
  if (outages.length) entries.push(["color-mix(in srgb, var(--alarm) 30%, transparent)", "outage"]);
  return make("ul", { class: "legend" }, ...entries.map(([paint, text]) => make("li", {}, swatch(paint), text)));
}
