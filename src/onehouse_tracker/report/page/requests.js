// The table of requests, and the filter that it shares with the timeline.

const PAGE = 25;
const PRINTED = 1000;
const filter = { text: "", state: "", label: null, group: null };
const table = { page: 0, sort: null, descending: false, size: PAGE };
const isNumber = ({ kind }) => kind === "count" || kind === "seconds";

let shown = { key: "", rows: [] };

// Rows that the filter leaves; computed once for each change of rows or filter.
function shownRows() {
  const key = JSON.stringify([model.head.version, model.rows.length, filter]);
  if (shown.key === key) return shown.rows;
  const text = filter.text.toLowerCase();
  shown = { key, rows: model.rows.filter((row) => matches(row, text)) };
  return shown.rows;
}

function matches(row, text) {
  if (filter.state === "not ok" ? !isBad(row.state) : filter.state && row.state !== filter.state) return false;
  if (filter.label !== null && row.label !== filter.label) return false;
  if (filter.group !== null && (!isBad(row.state) || groupKey(row) !== filter.group.key)) return false;
  return !text || row.request_id.toLowerCase().includes(text) || row.label.toLowerCase().includes(text)
    || row.reason.toLowerCase().includes(text);
}

function showRequests() {
  showChoices();
  const rows = shownRows();
  $("found").textContent = rows.length === model.rows.length ? plural(rows.length, "request")
    : `${count(rows.length)} of ${plural(model.rows.length, "request")}`;
  const sorted = table.sort === null ? badFirst(rows) : rows.toSorted(compare);
  const pages = Math.max(1, Math.ceil(sorted.length / table.size));
  table.page = Math.min(table.page, pages - 1);
  const columns = model.columns.filter(({ name, title, detail }) => title !== null && (!detail || model.rows.some((row) => row[name] !== null)));
  redraw($("columns"), JSON.stringify([table.sort, table.descending, columns]), () => columns.map(columnHead));
  showLines(sorted.slice(table.page * table.size, (table.page + 1) * table.size), columns);
  $("page").textContent = rows.length ? `page ${count(table.page + 1)} of ${count(pages)}` : "no request matches";
  $("previous").disabled = table.page === 0;
  $("next").disabled = table.page >= pages - 1;
}

// Only the lines that changed are built anew.
function showLines(rows, columns) {
  const body = $("lines");
  const known = new Map([...body.children].map((line) => [line.dataset.key, line]));
  const lines = rows.map((row) => {
    const key = JSON.stringify([columns.length, ...Object.values(row)]);
    return known.get(key) ?? tableLine(row, columns, key);
  });
  if (lines.length !== body.children.length || lines.some((line, index) => body.children[index] !== line)) body.replaceChildren(...lines);
}

function tableLine(row, columns, key) {
  // The roles are said, because on a narrow screen the style makes cards of the lines.
  const line = make("tr", { role: "row" }, ...columns.map((column) => {
    const value = row[column.name];
    if (column.name === "request_id") return make("th", { scope: "row", role: "rowheader", class: "id" }, value);
    if (column.kind === "state") return make("td", { role: "cell" }, stateMark(value));
    if (column.kind === "text") return make("td", { role: "cell", class: column.name }, value);
    return make("td", { role: "cell", class: `number${column.detail ? " spare" : ""}` }, column.kind === "count" ? count(value) : duration(value));
  }));
  line.dataset.key = key;
  return line;
}

function columnHead(column) {
  const chosen = table.sort === column.name;
  const arrow = chosen ? (table.descending ? " ▼" : " ▲") : "";
  return make("th", {
    scope: "col", class: `${isNumber(column) ? "number" : ""}${column.detail ? " spare" : ""}`,
    "aria-sort": chosen ? (table.descending ? "descending" : "ascending") : null,
  }, make("button", { type: "button", class: "button", id: `by-${column.name}`, onclick: () => sortBy(column) }, column.title, make("span", { "aria-hidden": "true" }, arrow)));
}

// Unless somebody wants another order: what went wrong is what people look for.
const badFirst = (rows) => [...rows.filter((row) => isBad(row.state)), ...rows.filter((row) => !isBad(row.state))];

function sortBy(column) {
  if (table.sort !== column.name) Object.assign(table, { sort: column.name, descending: isNumber(column) });
  else if (table.descending === isNumber(column)) table.descending = !table.descending;
  else Object.assign(table, { sort: null, descending: false });
  table.page = 0;
  showRequests();
  $(`by-${column.name}`).focus();
}

function compare(a, b) {
  const [x, y] = [a[table.sort], b[table.sort]];
  const order = x === y ? 0 : x === null || x === "" ? 1 : y === null || y === "" ? -1 : x < y ? -1 : 1;
  return (table.descending && x !== null && y !== null ? -order : order) || a.number - b.number;
}

// --- The filter ---------------------------------------------------------------------------

function showChoices() {
  const counts = countStates(model.rows);
  const bad = countKind(counts, "not ok");
  if (filter.state && filter.state !== "not ok") counts[filter.state] ??= 0;
  const states = [["", `all (${count(model.rows.length)})`]];
  if (bad || filter.state === "not ok") states.push(["not ok", `not ok (${count(bad)})`]);
  for (const state of STATES) if (state in counts) states.push([state, `${state} (${count(counts[state])})`]);
  choices($("state"), states, filter.state);

  const labels = [...new Set(model.rows.map((row) => row.label))].sort();
  if (filter.label !== null && !labels.includes(filter.label)) labels.push(filter.label);
  choices($("label"), [["", "all"], ...labels.map((label) => [`=${label}`, label || "no label"])], filter.label === null ? "" : `=${filter.label}`);

  const { group } = filter;
  $("group").hidden = group === null;
  if (group !== null) $("group").textContent = `✕ ${[group.label || "no label", group.state, group.reason].filter(Boolean).join(" · ")}`;
  $("group").setAttribute("aria-label", group === null ? "" : `Do not show only: ${group.label}, ${group.state}, ${group.reason}`);
}

// An open list must not be rebuilt under the hand of whoever chooses, unless it has changed.
function choices(select, entries, value) {
  redraw(select, JSON.stringify(entries), () => entries.map(([key, text]) => make("option", { value: key }, text)));
  if (select.value !== value) select.value = value;
}

function refilter(changes) {
  Object.assign(filter, changes);
  table.page = 0;
  timeline.aimed = null;
  showRequests();
  $("timeline").scrollTop = 0;
  showTimeline();
}

function searchFor(text) {
  $("search").value = text;
  refilter({ text });
}

function showGroup(group) {
  $("search").value = "";
  refilter({ text: "", state: "", label: null, group: { key: group.key, label: group.label, state: group.state, reason: group.reason } });
  $("requests").scrollIntoView();
  $("requests").focus({ preventScroll: true });
}

function startRequests() {
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter").addEventListener("reset", () => refilter({ text: "", state: "", label: null, group: null }));
  $("search").addEventListener("input", () => refilter({ text: $("search").value.trim() }));
  $("state").addEventListener("change", () => refilter({ state: $("state").value }));
  $("label").addEventListener("change", () => refilter({ label: $("label").value === "" ? null : $("label").value.slice(1) }));
  $("group").addEventListener("click", () => {
    refilter({ group: null });
    $("search").focus();
  });
  const turn = (by) => {
    table.page += by;
    showRequests();
  };
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  // On paper there is no next page: print what the filter leaves, and the whole timeline.
  window.addEventListener("beforeprint", () => {
    Object.assign(table, { size: PRINTED, page: 0 });
    Object.assign(timeline, { height: null, stretch: 1 });
    showAll();
  });
  window.addEventListener("afterprint", () => {
    table.size = PAGE;
    showAll();
  });
}
