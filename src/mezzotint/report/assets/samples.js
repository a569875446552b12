/* Pictures: the same samples while the training goes on, and the way from noise to image. */

const PANELS = 12;

function samplesSection(content, state) {
  const having = content.runs.filter((run) => run.previews.length);
  if (!having.length) return null;
  const stops = [...new Set(having.flatMap((run) => run.previews.map((one) => one.images)))].sort((a, b) => a - b);
  const host = el("div.panels", {});
  const note = el("p.hint", {});
  let panels = [];
  const control = player("samples over time", stops.length, 450, (i) => {
    panels.forEach(({ run, canvas, said, cells }) => {
      const before = run.previews.filter((one) => one.images <= stops[i]);
      const one = before[before.length - 1] || run.previews[0];
      said.textContent = `after ${count(one.images)} images, step ${count(one.step)}`;
      canvas.setAttribute("aria-label", `samples of ${run.label} ${said.textContent}`);
      drawCells(canvas, one, cells(one));
    });
    return `${count(stops[i])} images`;
  });
  const build = () => {
    const runs = having.filter((run) => state.visible.has(run)).slice(0, PANELS);
    const alone = runs.length === 1;
    panels = runs.map((run) => ({
      run, canvas: el("canvas", { role: "img" }), said: el("span.note", {}),
      cells: (one) => (alone ? wide(one, host.clientWidth) : gridCells(one, Math.min(one.columns, 8)).slice(0, 8)),
    }));
    replace(host, panels.map(({ run, canvas, said }) => el("figure.panel", {},
      el("figcaption", {}, having.length > 1 ? el("h3", {}, swatch(run.look), run.label) : null, said),
      el("div.canvas", {}, canvas))));
    host.classList.toggle("alone", alone);
    const all = having.filter((run) => state.visible.has(run)).length;
    note.textContent = `Always the same noise and labels, drawn from the averaged weights.${all > PANELS ? ` The first ${PANELS} of ${all} runs.` : ""}`;
    control.show(Math.min(control.at(), stops.length - 1));
  };
  state.listen(build);
  onceSeen(host, () => { build(); control.show(stops.length - 1); });
  return section("samples", "Samples over time", note, control.node, host);
}

/* A single grid twice as broad where there is room, so that a column still holds one class where it did. */
function wide(picture, width) {
  const twice = 2 * picture.columns * Math.max(52, Math.min(128, picture.width)) <= width && picture.count > 2 * picture.columns;
  return gridCells(picture, twice ? 2 * picture.columns : picture.columns);
}

function filmSection(content) {
  const shows = content.runs.flatMap((run) => run.drawn.map((one) => ({ run, ...one })));
  if (!shows.length) return null;
  const host = el("div.film", {});
  const select = choose(content.runs.length > 1 ? "run and sampler" : "sampler",
    shows.map((one) => (content.runs.length > 1 ? `${one.run.label}: ${one.name}` : one.name)), (i) => open(shows[i]));
  const open = (one) => replace(host, one.film ? filmOf(one) : el("p.empty", {}, "Its film strip was left out or cannot be taken apart."), gridOf(one));
  onceSeen(host, () => open(shows[0]));
  return section("film", "From noise to image", shows.length > 1 ? select : null, host);
}

function filmOf({ run, name, film }) {
  const canvas = el("canvas", { role: "img" });
  const strip = el("canvas", { role: "img", "aria-label": `the way of the first sample, ${film.columns} frames` });
  const mark = el("div.mark", {});
  const control = player("frames of the film", film.columns, 140, (frame) => {
    drawCells(canvas, film, frameCells(film, frame));
    canvas.setAttribute("aria-label", `frame ${frame + 1} of ${film.columns} of ${run.label}, ${name}`);
    mark.style.left = `${(100 * frame) / film.columns}%`;
    mark.style.width = `${100 / film.columns}%`;
    const noise = film.noise[frame];
    return `frame ${frame + 1} of ${film.columns}${noise === undefined ? "" : `, ${Math.round(100 * noise)} % noise`}`;
  });
  const track = el("div.track", {}, strip, mark);
  const scrub = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = track.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    control.stop();
    control.show(Math.min(film.columns - 1, Math.max(0, Math.floor(share * film.columns))));
  };
  track.addEventListener("pointerdown", scrub);
  track.addEventListener("pointermove", scrub);
  requestAnimationFrame(() => {
    drawCells(strip, film, stripCells(film, 0), 64);
    control.show(film.columns - 1);
  });
  const rows = el("div.rows", { "aria-hidden": "true" }, el("span", {}, "what the sampler holds"), el("span", {}, "the clean image it expects"));
  strip.room = el("div.strip", {}, track);
  return [control.node, el("div.stage", {}, rows, el("div.canvas", {}, canvas)), strip.room];
}

function gridOf({ run, name, grid }) {
  const canvas = el("canvas", { role: "img", "aria-label": `${grid.count} samples of ${run.label}, ${name}` });
  const place = el("div.canvas", {}, canvas);
  requestAnimationFrame(() => drawCells(canvas, grid, wide(grid, place.clientWidth)));
  return el("figure.panel.alone", {}, el("figcaption", {}, el("h3", {}, "Samples drawn afterwards"), el("span.note", {}, name)), place);
}

/* Pictures are decoded when they come into view. */
function onceSeen(node, act) {
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    watch.disconnect();
    act();
  }, { rootMargin: "400px" });
  watch.observe(node);
}
