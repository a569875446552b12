/* What was measured: every evaluation with its protocol, and quality against network calls. */

function evaluationSection(content) {
  const rows = content.runs.flatMap((run) => run.evaluations.map((one) => ({ run, ...one })));
  if (!rows.length || !content.metrics.length) return null;
  const many = content.runs.length > 1;
  const first = content.metrics[0].name;
  const columns = [
    many && { title: "run", value: (row) => row.run.label, cell: (row) => [swatch(row.run.look), row.run.label] },
    { title: "sampler", text: true, value: (row) => row.sampler, cell: (row) => row.sampler },
    { title: "grid", text: true, value: (row) => row.grid, cell: (row) => `${row.grid}${row.steps ? `, ${count(row.steps)} steps` : ""}` },
    rows.some((row) => row.guidance !== "none") && { title: "guidance", text: true, value: (row) => row.guidance, cell: (row) => row.guidance },
    new Set(rows.map((row) => row.weights)).size > 1 && { title: "weights", value: (row) => row.weights, cell: (row) => row.weights },
    { title: "calls", number: true, hint: "network calls a sample", value: (row) => row.calls, cell: (row) => digits(row.calls) },
    { title: "images", number: true, hint: "images judged, and of how many seeds", value: (row) => row.n, cell: (row) => count(row.n) + (row.many > 1 ? ` × ${row.many}` : "") },
    ...content.metrics.map(({ name, higher, compared }) => ({
      title: `${name} ${higher ? "↑" : "↓"}${compared && ` (${compared})`}`, number: true, down: higher, hint: higher ? "higher is better" : "lower is better",
      value: (row) => row.values[name], cell: (row) => withError(row.values[name], row.errors[name]),
    })),
  ].filter(Boolean);
  const more = {
    title: "protocol",
    show: (row) => [row.notes.map((note) => el("p.note", {}, note)), tree(whole(content.protocol, row.protocol))],
  };
  const sort = columns.findIndex((column) => column.title.startsWith(`${first} `));
  const notes = [...new Set(rows.flatMap((row) => row.notes))];
  return section("evaluation", "Evaluation",
    new Pareto(content, rows).node,
    table(columns, rows, { sort, down: content.metrics[0].higher, more, label: "evaluations" }),
    notes.slice(0, 8).map((note) => el("p.note", {}, note)));
}

/* One point for each way of drawing: evaluations that differ in nothing but seeds are one, with their deviation. */
function merged(rows, metric) {
  const alike = new Map();
  rows.filter((row) => row.calls && Number.isFinite(row.values[metric])).forEach((row) => {
    alike.set(row.key, [...(alike.get(row.key) || []), row]);
  });
  return [...alike.values()].map((group) => {
    const summary = group.find((row) => row.many > 1 && row.many === Math.max(...group.map((one) => one.many)));
    if (summary) return { ...summary, x: summary.calls, y: summary.values[metric], error: summary.errors[metric] };
    const values = group.map((row) => row.values[metric]);
    return { ...group[0], many: group.length, x: group[0].calls, y: mean(values), error: deviation(values) ?? group[0].errors[metric] };
  });
}

/* Those that no other point beats in both, fewest calls first. */
function front(points, higher) {
  const sign = higher ? -1 : 1;
  const kept = [];
  [...points].sort((a, b) => a.x - b.x || sign * (a.y - b.y)).forEach((p) => {
    if (!kept.length || sign * p.y < sign * kept[kept.length - 1].y) kept.push(p);
  });
  return kept;
}

class Pareto {
  constructor(content, rows) {
    this.content = content;
    this.rows = rows;
    const points = ({ name }) => merged(rows, name).length;
    this.metrics = content.metrics.filter((one) => points(one) && !one.name.startsWith("halves_")).sort((a, b) => points(b) - points(a));
    this.log = false;
    this.svg = svg("svg.chart", { role: "group", "aria-label": "quality against network calls" });
    this.tip = el("div.tip", { role: "status", hidden: true });
    this.plot = el("div.plot", {}, this.svg, this.tip);
    this.legend = el("div.legend", {});
    const pick = choose("metric", this.metrics.map(({ name }) => name), (i) => { this.metric = this.metrics[i]; this.draw(); });
    const log = toggle("log scale", false, (on) => { this.log = on; this.draw(); });
    this.metric = this.metrics[0];
    const worth = this.metric && points(this.metric) > 1;
    this.node = !worth ? null : el("figure.pareto", {},
      el("figcaption", {}, el("h3", {}, "Quality against network calls"), el("span.note", {}, "a line joins what nothing else beats; bars are one deviation")),
      el("div.controls", {}, this.metrics.length > 1 ? pick : null, log), this.legend, this.plot);
    if (worth) new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  draw() {
    this.width = this.plot.clientWidth;
    const { name, higher } = this.metric;
    const points = merged(this.rows, name);
    if (!this.width || !points.length) return;
    const tall = 300;
    const bars = points.flatMap((p) => [p.y - (p.error || 0), p.y + (p.error || 0)]);
    const log = this.log && bars.every((y) => y > 0);
    const [left, right] = pad(Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x)), true);
    const [low, high] = [Math.min(...bars), Math.max(...bars)];
    const room = (high - low || Math.abs(high) || 1) * 0.12;
    this.toX = scale(left, right, MARGIN.left, this.width - MARGIN.right, true);
    this.toY = log ? scale(low / 1.15, high * 1.15, tall - MARGIN.bottom, MARGIN.top, true)
      : scale(low >= 0 && low < 0.5 * high ? 0 : low - room, high + room, tall - MARGIN.bottom, MARGIN.top, false, 5);
    const best = front(points, higher);
    const kinds = [...new Set(points.map((p) => `${p.sampler}, ${p.grid}`))];
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${tall}`);
    replace(this.svg, this.frame(points, tall), svg("polyline.front", { points: best.map((p) => `${this.toX(p.x)},${this.toY(p.y)}`).join(" ") }),
      points.map((p) => this.point(p, kinds.indexOf(`${p.sampler}, ${p.grid}`), best.includes(p))));
    replace(this.legend, kinds.map((kind, i) => el("span.tag", {}, svg("svg.swatch", { viewBox: "-7 -7 14 14", "aria-hidden": "true" },
      svg("path.shape", { d: MARKS[i % MARKS.length] })), kind)), this.groups(points));
  }

  /* Whose the colours are, where there are several. */
  groups(points) {
    const found = grouped([...new Set(points.map((p) => p.run))]);
    const all = (run) => this.content.runs.filter((one) => one.group === run.group);
    return found.length < 2 ? [] : found.map(([run]) => el(`span.tag.look.c${run.look % COLOURS}`, {},
      svg("svg.swatch", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, svg("path.shape.best", { d: MARKS[1] })), this.content.nameOf(all(run))));
  }

  frame(points, tall) {
    const { name, higher } = this.metric;
    const [left, right, bottom] = [MARGIN.left, this.width - MARGIN.right, tall - MARGIN.bottom];
    const calls = [...new Set(points.map((p) => p.x))].sort((a, b) => a - b);
    const shown = calls.length <= 8 ? calls : this.toX.ticks;
    return svg("g", {},
      this.toY.ticks.map((v) => [svg("line.grid", { x1: left, x2: right, y1: this.toY(v), y2: this.toY(v) }),
        svg("text.tick", { x: left - 8, y: this.toY(v) + 4, "text-anchor": "end" }, short(v))]),
      shown.map((v) => svg("text.tick", { x: this.toX(v), y: bottom + 16, "text-anchor": "middle" }, short(v))),
      svg("line.axis", { x1: left, x2: right, y1: bottom, y2: bottom }),
      svg("text.title", { x: (left + right) / 2, y: tall - 4, "text-anchor": "middle" }, "network calls a sample"),
      svg("text.title", { x: left + 4, y: MARGIN.top + 2 }, `${name}, ${higher ? "higher" : "lower"} is better`));
  }

  point(p, kind, best) {
    const [x, y] = [this.toX(p.x), this.toY(p.y)];
    const about = `${this.content.nameOf(p.many > 1 ? this.content.runs.filter((run) => run.group === p.run.group) : [p.run])}: ${p.sampler}, ${p.grid}`;
    const value = `${withError(p.y, p.error)}${p.many > 1 ? ` of ${p.many} seeds` : ""} at ${digits(p.x)} calls`;
    const node = svg(`g.look.place.c${p.run.look % COLOURS}`, { tabindex: 0, role: "img", "aria-label": `${about}: ${value}` },
      p.error ? svg("path.error", { d: `M${x},${this.toY(p.y - p.error)}V${this.toY(p.y + p.error)}M${x - 4},${this.toY(p.y - p.error)}h8M${x - 4},${this.toY(p.y + p.error)}h8` }) : null,
      svg(best ? "path.shape.best" : "path.shape", { d: MARKS[Math.max(0, kind) % MARKS.length], transform: `translate(${x},${y})` }));
    const tell = () => {
      replace(this.tip, el("div.where", {}, about), el("b", {}, value), p.guidance === "none" ? null : el("div", {}, p.guidance));
      this.tip.hidden = false;
      const half = this.tip.offsetWidth / 2;
      this.tip.style.left = `${Math.min(this.width - half, Math.max(half, x))}px`;
    };
    const hide = () => { this.tip.hidden = true; };
    for (const [when, act] of [["pointerenter", tell], ["focus", tell], ["pointerleave", hide], ["blur", hide]]) node.addEventListener(when, act);
    return node;
  }
}
