/* The curves of the runs that are ticked, by images seen; seeds apart, or as their mean within lowest and highest. */

const QUANTITIES = [
  { key: "loss", title: "Training loss", log: true, note: "means between two lines of the log" },
  { key: "validation", title: "Validation loss", log: true, points: true, note: "averaged weights, held-out images" },
  { key: "sample_metrics", title: "Sample metrics during training", points: true },
  { key: "grad_norm", title: "Gradient norm", log: true, note: "before it is clipped" },
  { key: "lr", title: "Learning rate" },
  { key: "rate", title: "Images per second" },
];

function curvesSection(content, state) {
  const link = new Link();
  const there = QUANTITIES.filter((one) => content.runs.some((run) => run.curves[one.key]));
  const named = (key) => content.runs.map((run) => run.curves[key]?.name).find(Boolean);
  const charts = there.map((one) => new Chart({ note: named(one.key), ...one, x: "images seen", link, series: [] }));
  const levels = levelsChart(content, state);
  const show = () => charts.forEach((chart, i) => chart.show(series(content, state, there[i].key)));
  state.listen(show);
  show();
  const logged = charts.filter((chart) => chart.log);
  const log = toggle("log scale", true, (on) => logged.forEach((chart) => { chart.log = on; chart.draw(); }));
  const reset = el("button.toggle", { type: "button", onclick: () => link.zoom(null) }, "whole range");
  const seeds = content.seeds ? toggle("seeds together", false, (on) => state.set({ together: on })) : null;
  const legend = content.runs.length > 1 ? legendOf(content, state) : null;
  const nodes = charts.map((chart) => chart.node);
  nodes.splice(2, 0, ...(levels ? [levels.node] : []));
  return section("curves", "Curves",
    el("p.hint", {}, "Drag to zoom, double-click for the whole range. With the keyboard: Tab to a curve, arrow keys read it, + and − zoom, Escape resets."),
    el("div.controls", {}, logged.length ? log : null, charts.length ? reset : null, seeds), legend,
    nodes.length ? el("div.charts", {}, nodes) : el("p.empty", {}, "There are no curves yet: no line of metrics.jsonl is written."));
}

/* What a chart shows of a quantity: a curve of each run, or one of each group of seeds. */
function series(content, state, key) {
  const runs = content.runs.filter((run) => state.visible.has(run) && run.curves[key]);
  if (!state.together) return runs.map((run) => ({ ...run.curves[key], name: run.label, look: run.look }));
  return grouped(runs).map((group) => together(group.map((run) => run.curves[key]), {
    name: content.nameOf(group), look: group[0].look }));
}

function grouped(runs) {
  const groups = new Map();
  runs.forEach((run) => groups.set(run.group, [...(groups.get(run.group) || []), run]));
  return [...groups.values()];
}

/* Mean, lowest and highest of several curves, at the images that the first was measured at and all have reached. */
function together(curves, about) {
  const last = Math.min(...curves.map((curve) => curve.x[curve.x.length - 1]));
  const first = Math.max(...curves.map((curve) => curve.x[0]));
  const x = curves[0].x.filter((at) => at >= first && at <= last);
  const rows = x.map((at) => curves.map((curve) => between(curve, at)));
  return {
    ...about, x, y: rows.map(mean),
    low: curves.length > 1 ? rows.map((row) => Math.min(...row)) : null,
    high: curves.length > 1 ? rows.map((row) => Math.max(...row)) : null,
  };
}

/* The value of a curve between two of its points. */
function between(curve, at) {
  const i = curve.x.findIndex((x) => x >= at);
  if (i <= 0 || curve.x[i] === at) return curve.y[Math.max(0, i)];
  const share = (at - curve.x[i - 1]) / (curve.x[i] - curve.x[i - 1]);
  return curve.y[i - 1] + share * (curve.y[i] - curve.y[i - 1]);
}

/* Validation loss in equal shares of the training times: every look of a single run, later ones stronger; else the last of each. */
function levelsChart(content, state) {
  const having = content.runs.filter((run) => run.curves.levels);
  if (!having.length) return null;
  const many = Math.max(...having.flatMap((run) => run.curves.levels.y.map((shares) => shares.length)));
  const places = Array.from({ length: many }, (_, i) => i);
  const chart = new Chart({
    title: "Validation loss by noise level", x: "share of the training times, cleanest first", log: true, fixed: true, points: true,
    note: having.length > 1 ? "the last look of each run" : "faint lines are earlier looks",
    names: places.map((i) => `${i + 1}`), tipTitle: (i) => `share ${i + 1} of ${many}`, series: [],
  });
  const show = () => {
    const runs = having.filter((run) => state.visible.has(run));
    const last = (run) => run.curves.levels.y[run.curves.levels.y.length - 1];
    const line = (shares) => ({ x: shares.map((_, i) => i), y: shares });
    if (having.length > 1) return chart.show(runs.map((run) => ({ name: run.label, look: run.look, ...line(last(run)) })));
    const { x, y } = having[0].curves.levels;
    return chart.show(y.map((shares, i) => ({
      name: `${short(x[i])} images`, look: 0, ...line(shares), faint: i === y.length - 1 ? 1 : 0.15 + (0.4 * i) / y.length,
    })).reverse());
  };
  state.listen(show);
  show();
  return chart;
}

/* A name tag for each run: a click hides its curve or shows it. */
function legendOf(content, state) {
  const tags = content.runs.map((run) => {
    const button = el("button.tag", { type: "button" }, swatch(run.look), run.label);
    button.addEventListener("click", () => state.flip(run));
    return [run, button];
  });
  const show = () => tags.forEach(([run, button]) => button.setAttribute("aria-pressed", String(state.visible.has(run))));
  state.listen(show);
  show();
  return el("div.legend", { role: "group", "aria-label": "runs that are shown" }, tags.map(([, button]) => button));
}
