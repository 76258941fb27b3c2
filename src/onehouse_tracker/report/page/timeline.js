// The timeline: one line for each request, however many there are.
//
// Only what can be seen is drawn, as one path for each colour.  Where a line is thinner than
// a pixel, not every success is drawn, but whatever went wrong is.

const HIGHEST = 18;
const AXIS = 22;
const NAMED = 13;
const timeline = { rows: [], height: null, stretch: 1, aimed: null };

function timelineHeight() {
  return Math.min(420, Math.max(96, AXIS + timeline.rows.length * 15));
}

// Two pixels are the border of the box: where all lines fit there is nothing to scroll.
const fittingHeight = () => Math.min(HIGHEST, (timelineHeight() - AXIS - 6) / Math.max(1, timeline.rows.length));
const rowHeight = () => timeline.height ?? fittingHeight();

function showTimeline() {
  timeline.rows = shownRows();
  const box = $("timeline");
  const high = timelineHeight();
  if (box.style.height !== `${high}px`) box.style.height = `${high}px`;
  const wide = box.clientWidth;
  const size = $("timeline-size");
  size.style.width = `${Math.floor(wide * timeline.stretch)}px`;
  size.style.height = `${Math.max(box.clientHeight, Math.ceil(AXIS + rowHeight() * timeline.rows.length + 4))}px`;
  paintTimeline();
  $("rows-fit").setAttribute("aria-pressed", String(timeline.height === null && timeline.stretch === 1));
  $("rows-in").disabled = rowHeight() >= HIGHEST;
  $("rows-out").disabled = timeline.height === null;
  $("time-out").disabled = timeline.stretch === 1;
  $("time-in").disabled = timeline.stretch >= 64;
  const states = countStates(timeline.rows);
  redraw($("legend"), JSON.stringify(Object.keys(states)), () => [
    ...STATES.filter((state) => states[state]).map((state) => make("span", {}, swatch(color(state)), state)),
  ]);
}

// Seconds at the left edge, and how many a pixel is worth.
function timelineScale() {
  const box = $("timeline");
  const span = Math.max(now(), 0.001) * 1.005;
  // Where lines are high enough to be named, the names stand on the left.
  const names = rowHeight() < NAMED ? 0 : Math.min(260, Math.floor(box.clientWidth * 0.36));
  const content = Math.max(1, Math.floor(box.clientWidth * timeline.stretch) - 2 - names);
  return { span, content, names, at: (seconds) => names + (seconds / span) * content - box.scrollLeft };
}

function paintTimeline() {
  const box = $("timeline");
  const width = box.clientWidth;
  const height = box.clientHeight;
  const scale = timelineScale();
  const high = rowHeight();
  const top = box.scrollTop;
  const begin = Math.max(0, Math.floor(top / high));
  const end = Math.min(timeline.rows.length, Math.ceil((top + height - AXIS) / high) + 1);
  const skip = Math.max(1, Math.floor(0.25 / high));
  const paths = {};
  const names = [];
  const until = now();
  const edge = (x) => Math.max(-4, Math.min(width + 4, x)).toFixed(1);
  for (let index = begin; index < end; index += 1) {
    const row = timeline.rows[index];
    const bad = isBad(row.state);
    if (row.joined === null || (!bad && index % skip)) continue;
    const y = (AXIS + (index + 0.5) * high - top).toFixed(2);
    const x0 = scale.at(row.joined);
    const x1 = scale.at(row.first ?? row.ended ?? until);
    const x2 = Math.max(x1 + 1.5, scale.at(row.ended ?? until));
    const path = (paths[row.state] ??= { before: [], after: [] });
    if (x1 - x0 > 0.5) path.before.push(`M${edge(x0)} ${y}H${edge(x1)}`);
    if (row.first !== null || row.ended !== null) path.after.push(`M${edge(x1)} ${y}H${edge(x2)}`);
    if (scale.names) names.push(draw("text", { class: "name", x: 4, y: Number(y) + 3.5 }, row.label ? `${row.label} · ${row.request_id}` : row.request_id));
  }
  const step = stepOf(scale.span, Math.max(2, Math.floor(scale.content / 90)));
  const grid = [];
  const ticks = [];
  const first = Math.floor((box.scrollLeft / scale.content) * scale.span / step);
  for (let n = first; n * step <= scale.span && scale.at(n * step) < width; n += 1) {
    const x = scale.at(n * step);
    if (x < scale.names) continue;
    grid.push(`M${x.toFixed(1)} ${AXIS - 4}V${height}`);
    if (x < width - 30) ticks.push(draw("text", { x: x + 4, y: 14 }, tick(n * step)));
  }
  const gap = high > 5 ? Math.min(4, high * 0.25) : 0;
  const lines = [];
  for (const state of [...STATES.filter((other) => !isBad(other)), ...STATES.filter(isBad)]) {
    if (!paths[state]) continue;
    const thick = isBad(state) ? Math.max(1.6, high - gap) : Math.min(HIGHEST, high * skip - gap);
    const stroke = { stroke: color(state), "stroke-width": thick };
    lines.push(draw("path", { ...stroke, d: paths[state].before.join(""), opacity: 0.32 }), draw("path", { ...stroke, d: paths[state].after.join("") }));
  }
  const described = `Timeline of ${plural(timeline.rows.length, "request")} over ${duration(scale.span)}`;
  const aim = timeline.aimed === null ? null
    : draw("rect", { x: 0, y: AXIS + (timeline.aimed + 0.5) * high - top - Math.max(high, 2) / 2, width, height: Math.max(high, 2), fill: "var(--accent)", opacity: 0.25 });
  const picture = chart(width, height, described,
    draw("path", { class: "axis", d: grid.join("") }), draw("g", {}, ...lines),
    draw("clipPath", { id: "names" }, draw("rect", { x: 0, y: 0, width: Math.max(0, scale.names - 6), height })),
    scale.names ? draw("rect", { x: 0, y: 0, width: scale.names - 2, height, fill: "var(--card)" }) : null,
    draw("g", { "clip-path": "url(#names)" }, ...names),
    draw("rect", { x: 0, y: 0, width, height: AXIS - 3, fill: "var(--card)" }), draw("g", {}, ...ticks), aim);
  $("timeline-size").replaceChildren(picture);
}

function aimAt(event) {
  const box = $("timeline").getBoundingClientRect();
  const high = rowHeight();
  const y = event.clientY - box.top - AXIS + $("timeline").scrollTop;
  let index = Math.floor(y / high);
  // A thin line is hard to hit: what went wrong within two pixels is what was meant.
  const reach = Math.ceil(2 / high);
  for (let near = 0; high < 4 && near <= reach; near += 1) {
    const hit = [index - near, index + near].find((other) => timeline.rows[other] && isBad(timeline.rows[other].state));
    if (hit !== undefined) {
      index = hit;
      break;
    }
  }
  const row = timeline.rows[index];
  timeline.aimed = row ? index : null;
  $("pointed").textContent = row
    ? [row.label, row.request_id, row.state, row.ended === null ? "" : `after ${duration(row.waited)}`, row.reason].filter(Boolean).join(" · ") : "";
  paintTimeline();
  return row;
}

function zoomRows(factor) {
  const box = $("timeline");
  const middle = (box.scrollTop + (box.clientHeight - AXIS) / 2) / rowHeight();
  const wanted = rowHeight() * factor;
  timeline.height = wanted <= fittingHeight() * 1.01 ? null : Math.min(HIGHEST, wanted);
  showTimeline();
  box.scrollTop = middle * rowHeight() - (box.clientHeight - AXIS) / 2;
  paintTimeline();
}

function zoomTime(factor) {
  const box = $("timeline");
  const middle = (box.scrollLeft + box.clientWidth / 2) / (box.clientWidth * timeline.stretch);
  timeline.stretch = Math.max(1, Math.min(64, timeline.stretch * factor));
  showTimeline();
  box.scrollLeft = middle * box.clientWidth * timeline.stretch - box.clientWidth / 2;
  paintTimeline();
}

function startTimeline() {
  const box = $("timeline");
  $("rows-fit").addEventListener("click", () => {
    timeline.height = null;
    timeline.stretch = 1;
    box.scrollTo(0, 0);
    showTimeline();
  });
  $("rows-in").addEventListener("click", () => zoomRows(rowHeight() < 1 ? 4 : 2));
  $("rows-out").addEventListener("click", () => zoomRows(rowHeight() < 1 ? 0.25 : 0.5));
  $("time-in").addEventListener("click", () => zoomTime(2));
  $("time-out").addEventListener("click", () => zoomTime(0.5));
  let waiting = false;
  box.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      paintTimeline();
    });
  });
  box.addEventListener("pointermove", aimAt);
  box.addEventListener("pointerleave", () => {
    timeline.aimed = null;
    $("pointed").textContent = "";
    paintTimeline();
  });
  box.addEventListener("click", (event) => {
    // Clicks come in whole pixels: what was pointed at is what is meant.
    const row = timeline.aimed === null ? aimAt(event) : timeline.rows[timeline.aimed];
    if (row) searchFor(row.request_id);
  });
}
