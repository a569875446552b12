/* The page: its sections, and what they share - which runs are shown, and whether seeds stand together. */

const FEW = 8; // runs that are shown at first, of very many
const WIDE = 4; // columns that stand before the results
const STATES = { finished: "✓", running: "●", failed: "✕", preempted: "❚❚", interrupted: "❚❚", unknown: "?" };

class State {
  constructor(visible) {
    this.visible = new Set(visible);
    this.together = false;
    this.acts = [];
  }
  listen(act) { this.acts.push(act); }
  set(changes) { Object.assign(this, changes); this.acts.forEach((act) => act()); }
  flip(run) {
    if (!this.visible.delete(run)) this.visible.add(run);
    this.set({});
  }
}

function badge(run) {
  return el(`span.badge.${run.state in STATES ? run.state : "unknown"}`, {}, `${STATES[run.state] || "?"} ${run.state}`);
}

function header(content) {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = el("button.toggle", { type: "button" }, "light or dark");
  theme.addEventListener("click", () => {
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });
  const runs = content.runs;
  const states = [...new Set(runs.map((run) => run.state))].map((state) => `${runs.filter((run) => run.state === state).length} ${state}`);
  return el("header", {},
    el("div.top", {}, el("span.maker", {}, content.version), theme),
    el("h1", {}, content.title, runs.length === 1 ? badge(runs[0]) : null),
    el("p.note", {}, runs.length > 1 ? `${states.join(", ")}. ` : "", `Written ${day(content.written)}.`,
      runs.some((run) => run.state === "running") ? " Training goes on: write the page again to see more." : ""));
}

/* The figures of one run that people ask for first. */
function cards(content, run) {
  const last = (curve) => (curve ? curve.y[curve.y.length - 1] : null);
  const share = run.budget ? Math.min(100, Math.floor((100 * run.images) / run.budget)) : null;
  const first = content.metrics[0];
  const judged = run.evaluations.filter((one) => first && Number.isFinite(one.values[first.name]));
  const best = judged.sort((a, b) => (first.higher ? -1 : 1) * (a.values[first.name] - b.values[first.name]))[0];
  const list = [
    ["images seen", count(run.images), share === null ? "" : `${share} % of ${count(run.budget)}`],
    ["time", span(run.seconds), run.left ? `about ${span(run.left)} left` : run.rate ? `${short(run.rate)} images/s` : ""],
    run.curves.validation && ["validation loss", digits(last(run.curves.validation)), "last look"],
    !run.curves.validation && run.curves.loss && ["training loss", digits(last(run.curves.loss)), "last line of the log"],
    best && [first.name, withError(best.values[first.name], best.errors[first.name]), `${digits(best.calls)} network calls, ${best.sampler}`],
  ];
  return el("div.cards", {}, list.filter(Boolean).map(([name, value, note]) =>
    el("div.card", {}, el("span.name", {}, name), el("b", {}, value), el("span.note", {}, note))));
}

/* What a run was and how it went. */
function story(content, run) {
  const when = [["started", day(run.started)], run.ended ? [run.state, day(run.ended)] : null, run.host ? ["host", run.host] : null];
  const error = run.error ? el("div.error", { role: "alert" }, el("b", {}, "It ended with an error"), el("pre", {}, run.error)) : null;
  return [
    cards(content, run), error,
    el("dl.plan", {}, [...run.plan, ...when.filter((one) => one && one[1] !== "–")].map(([key, value]) =>
      el("div", {}, el("dt", {}, key), el("dd", {}, value)))),
    el("details.config", {}, el("summary", {}, "The whole config"), tree(whole(content.config, run.config))),
    run.log ? el("details.config", {}, el("summary", {}, "The end of train.log"), el("pre", {}, run.log)) : null,
  ];
}

function comparison(content, state) {
  const last = (run, key) => { const curve = run.curves[key]; return curve ? curve.y[curve.y.length - 1] : null; };
  const shown = (run) => {
    const box = el("input", { type: "checkbox", "aria-label": `show ${run.name}`, onchange: () => state.flip(run) });
    const follow = () => { box.checked = state.visible.has(run); };
    state.listen(follow);
    follow();
    return [box, swatch(run.look)];
  };
  const name = (run) => el("button.link", { type: "button", onclick: () => content.open(run) }, run.name);
  const columns = [
    { title: "shown", value: (run) => (state.visible.has(run) ? 0 : 1), cell: shown },
    { title: "run", value: (run) => run.name, cell: name },
    { title: "state", value: (run) => run.state, cell: badge },
    ...results(content).map(({ title, measure }) => ({
      title, number: true, down: measure.higher, hint: hint(measure), value: (run) => resultOf(run, measure), cell: (run) => digits(resultOf(run, measure)),
    })),
    { title: "validation", number: true, hint: "the last validation loss", value: (run) => last(run, "validation"), cell: (run) => digits(last(run, "validation")) },
    ...content.keys.map((key, i) => ({ title: key, value: (run) => asNumber(run.values[i]), text: true, cell: (run) => run.values[i] })),
    { title: "images", number: true, down: true, value: (run) => run.images, cell: (run) => short(run.images) },
    { title: "time", number: true, value: (run) => run.seconds, cell: (run) => span(run.seconds) },
  ];
  const [first] = results(content);
  const sort = columns.findIndex((column) => column.title === (first.measure.name ? first.title : "run"));
  return section("runs", "The runs", table(columns, content.runs, { sort, down: first.measure.higher, label: "runs" }), content.seeds ? seeds(content) : null);
}

/* What the results of the runs are: several measures stand in columns of their own, and are never ranked together. */
function results(content) {
  const found = new Map(content.runs.filter((run) => run.objective !== null).map((run) => [run.measure.name, run.measure]));
  const all = found.size ? [...found.values()] : [{ name: "", higher: false }];
  return all.map((measure) => ({ title: all.length > 1 ? measure.name : "result", measure }));
}

function resultOf(run, measure) {
  return run.measure.name === measure.name ? run.objective : null;
}

function hint({ name, higher }) {
  return `${name || "the number that a sweep minimises"}, ${higher ? "higher" : "lower"} is better`;
}

/* Runs that differ in nothing but the seed as one line: mean and deviation. */
function seeds(content) {
  const all = results(content);
  const of = (group, { title, measure }) => {
    const done = group.map((run) => resultOf(run, measure)).filter((value) => value !== null);
    return { title, measure, group, done, mean: done.length ? mean(done) : null, deviation: deviation(done) };
  };
  const rows = all.flatMap((one) => grouped(content.runs).map((group) => of(group, one))).filter((row) => row.done.length || all.length === 1);
  const keys = content.keys.map((key, i) => [key, i]).filter(([key]) => key !== "seed");
  const about = [
    ...(keys.length ? keys.map(([key, i]) => ({ title: key, value: (row) => asNumber(row.group[0].values[i]), text: true, cell: (row) => row.group[0].values[i] }))
      : [{ title: "runs", value: (row) => row.group.length, cell: (row) => content.nameOf(row.group) }]),
  ];
  const told = [
    all.length > 1 && { title: "of", value: (row) => row.title, cell: (row) => row.title },
    { title: "seeds", number: true, value: (row) => row.done.length, cell: (row) => `${row.done.length} of ${row.group.length}` },
    ...all.map(({ title, measure }) => ({
      title: all.length > 1 ? `mean ${title}` : "mean result", number: true, down: measure.higher, hint: hint(measure),
      value: (row) => (row.measure === measure ? row.mean : null), cell: (row) => digits(row.measure === measure ? row.mean : null),
    })),
    { title: "deviation", number: true, hint: "of one seed", value: (row) => row.deviation, cell: (row) => digits(row.deviation, 2) },
  ].filter(Boolean);
  const columns = about.length > WIDE ? [...told, ...about] : [...about, ...told];
  const sort = columns.findIndex((column) => column.title.startsWith("mean "));
  return [el("h3", {}, "Seeds together"), table(columns, rows, { sort, down: all[0].measure.higher, label: "seeds together" })];
}

function asNumber(text) {
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function details(content) {
  const host = el("div", {});
  const order = content.runs;
  const select = choose("run", order.map((run) => (run.label === run.name ? run.name : `${run.name}: ${run.label}`)), (i) => show(order[i]));
  const show = (run) => replace(host, el("p.state", {}, badge(run)), story(content, run));
  content.open = (run) => {
    select.querySelector("select").value = order.indexOf(run);
    show(run);
    document.getElementById("what").scrollIntoView({ block: "start" });
  };
  show(order[0]);
  return section("what", "One run in full", select, host);
}

/* What the page does not show for want of room. */
function leftOut(content) {
  const lines = [...content.left_out, ...content.runs.flatMap((run) => run.left_out.map((what) => (content.runs.length > 1 ? `${run.name}: ${what}` : what)))];
  if (!lines.length) return null;
  return el("details.left-out", {}, el("summary", {}, "Left out or shrunk, to keep this page small"), el("ul", {}, lines.map((text) => el("li", {}, text))));
}

function prepare(content) {
  content.runs.forEach((run, i) => { run.look = i; });
  const groups = grouped(content.runs);
  content.seeds = groups.some((group) => group.length > 1) && content.runs.length > 1;
  content.nameOf = (group) => {
    const said = content.keys.map((key, i) => [key, group[0].values[i]]).filter(([key, value]) => key !== "seed" && value !== "");
    if (group.length === 1) return group[0].label;
    const text = said.map(([key, value]) => `${key}=${value}`).join(" ");
    return text && text.length < 60 ? text : `${group[0].label} and ${group.length - 1} more seeds`;
  };
  label(content);
  const [{ measure }] = results(content);
  const best = [...content.runs].sort((a, b) => compare(resultOf(a, measure), resultOf(b, measure), measure.higher));
  return new State(content.runs.length <= 2 * COLOURS ? content.runs : best.slice(0, FEW));
}

/* Runs of a sweep, whose names are digests, are called by what tells them apart where that is short. */
function label(content) {
  const said = content.runs.map((run) => content.keys.map((key, i) => `${key.split(".").pop()}=${run.values[i]}`).join(" "));
  const digests = content.runs.every((run) => /(^|\/)[0-9a-f]{8}$/.test(run.name));
  const clear = digests && new Set(said).size === said.length && said.every((text) => text && text.length < 60);
  content.runs.forEach((run, i) => { run.label = clear ? said[i] : run.name; });
}

function main() {
  const content = JSON.parse(document.getElementById("content").textContent);
  const state = prepare(content);
  const many = content.runs.length > 1;
  const parts = [
    many ? comparison(content, state) : section("what", "What was run", story(content, content.runs[0])),
    curvesSection(content, state), samplesSection(content, state), filmSection(content), evaluationSection(content),
    many ? details(content) : null,
  ].filter(Boolean);
  const links = parts.map((part) => el("a", { href: `#${part.id}` }, part.querySelector("h2").textContent));
  replace(document.getElementById("page"), header(content), el("nav", { "aria-label": "sections" }, links), parts, leftOut(content) || "");
}

main();
