/* Curves and points with axes: hover or arrow keys read values, a drag or + and - zoom, double-click or Escape resets. */

class Chart {
  /* options: {title, note, x: title, series, log, logX, link, names: of x, points: whether x are few places, every: y from 0}
     series: [{name, look, x, y, low, high, faint}] */
  constructor(options) {
    Object.assign(this, options);
    this.link = this.link || new Link();
    this.link.charts.push(this);
    this.svg = svg("svg.chart", { tabindex: 0, role: "img" });
    this.tip = el("div.tip", { role: "status", hidden: true });
    this.plot = el("div.plot", {}, this.svg, this.tip);
    this.head = el("figcaption", {}, el("h3", {}, this.title), this.note ? el("span.note", {}, this.note) : null);
    this.node = el("figure", {}, this.head, this.plot);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(series) {
    this.series = series;
    this.draw();
  }

  /* ------------------------------------------------------------ drawing */

  draw() {
    const width = this.plot.clientWidth;
    if (!width) return;
    this.width = width;
    const seen = this.series.filter((one) => one.x.length);
    const label = `${this.title}: ${seen.map((one) => one.name).slice(0, 12).join(", ") || "nothing yet"}`;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${TALL}`);
    this.svg.setAttribute("aria-label", label);
    this.axes(seen);
    replace(this.svg, this.frame(), seen.map((one) => this.mark(one)), (this.cursor = svg("g.cursor", {})));
    this.tip.hidden = true;
  }

  axes(seen) {
    const log = (this.logged = this.log && seen.every((one) => one.y.some((y) => y > 0)));
    const xs = seen.flatMap((one) => [one.x[0], one.x[one.x.length - 1]]);
    const [left, right] = this.link.range || this.range || pad(Math.min(...xs), Math.max(...xs), this.logX);
    const parts = (one) => [one.y, one.low, one.high].filter(Boolean);
    const ys = seen.flatMap((one) => parts(one).flatMap((side) => this.visible(one.x, side).map(([, y]) => y)));
    let [low, high] = ys.length ? [Math.min(...ys), Math.max(...ys)] : [log ? 0.1 : 0, 1]; // nothing, where no run is shown
    if (low === high) [low, high] = low ? [low - Math.abs(low) / 10, high + Math.abs(low) / 10] : [-1, 1];
    if (log) [low, high] = [low / (high / low) ** 0.06, high * (high / low) ** 0.06];
    else [low, high] = [low >= 0 && low < 0.3 * high ? 0 : low - 0.06 * (high - low), high + 0.06 * (high - low)];
    const across = Math.max(3, Math.min(8, Math.floor(this.width / 62)));
    this.toX = scale(xs.length ? left : 0, xs.length ? right : 1, MARGIN.left, this.width - MARGIN.right, this.logX, across);
    this.toY = scale(low, high, TALL - MARGIN.bottom, MARGIN.top, log, 4);
  }

  frame() {
    const [left, right, bottom] = [MARGIN.left, this.width - MARGIN.right, TALL - MARGIN.bottom];
    const rows = this.toY.ticks.map((v) => [
      svg("line.grid", { x1: left, x2: right, y1: this.toY(v), y2: this.toY(v) }),
      svg("text.tick", { x: left - 8, y: this.toY(v) + 4, "text-anchor": "end" }, short(v)),
    ]);
    const names = this.names;
    const marks = names ? names.map((_, i) => i) : this.toX.ticks;
    const columns = marks.map((v) =>
      svg("text.tick", { x: this.toX(v), y: bottom + 16, "text-anchor": "middle" }, names ? names[v] : short(v)));
    const title = svg("text.title", { x: (left + right) / 2, y: TALL - 4, "text-anchor": "middle" }, this.x);
    const empty = this.series.some((one) => one.x.length) ? null
      : svg("text.title", { x: (left + right) / 2, y: TALL / 2, "text-anchor": "middle" }, this.empty || "nothing yet");
    return svg("g", {}, rows, svg("line.axis", { x1: left, x2: right, y1: bottom, y2: bottom }), columns, title, empty);
  }

  mark(one) {
    const at = ([x, y]) => `${this.toX(x).toFixed(1)},${this.toY(y).toFixed(1)}`;
    const group = svg(`g.look.c${one.look % COLOURS}.d${one.look % DASHES}`, {});
    if (one.faint !== undefined) group.setAttribute("opacity", one.faint);
    if (one.low) {
      const [under, over] = [one.low, one.high].map((side) => this.visible(one.x, side).map(at));
      group.append(svg("polygon.band", { points: [...over, ...under.reverse()].join(" ") }));
    }
    const visible = this.visible(one.x, one.y);
    group.append(svg("polyline.line", { points: visible.map(at).join(" ") }));
    if (this.points || visible.length < 2) {
      const measured = visible.filter(([, , cut]) => !cut);
      group.append(...measured.map((p) => svg("circle.dot", { cx: this.toX(p[0]), cy: this.toY(p[1]), r: 3 })));
    }
    return group;
  }

  /* The points [x, y] that can be drawn: in the range, and [x, y, true] where a line between two is cut at its edge. */
  visible(x, y) {
    const list = x.map((at, i) => [at, y[i]]).filter(([, value]) => value !== null && (value > 0 || !this.logged));
    const range = this.link.range || this.range;
    if (!range) return list;
    const [left, right] = range;
    const kept = [];
    list.forEach((p, i) => {
      const before = list[i - 1];
      for (const edge of [left, right]) {
        if (before && (before[0] - edge) * (p[0] - edge) < 0) {
          kept.push([edge, before[1] + ((p[1] - before[1]) * (edge - before[0])) / (p[0] - before[0]), true]);
        }
      }
      if (p[0] >= left && p[0] <= right) kept.push(p);
    });
    return kept;
  }

  /* ------------------------------------------------------------ reading */

  point(x, here) {
    if (!this.cursor) return;
    const places = this.toX && x !== null ? this.series.map((one) => nearestPoint(one, x)).filter(Boolean) : [];
    replace(this.cursor);
    this.tip.hidden = !places.length || !here;
    if (!places.length) return;
    const first = places.reduce((a, b) => (Math.abs(a.x - x) <= Math.abs(b.x - x) ? a : b)).x;
    const at = Math.min(this.width - MARGIN.right, Math.max(MARGIN.left, this.toX(first)));
    this.cursor.append(svg("line", { x1: at, x2: at, y1: MARGIN.top, y2: TALL - MARGIN.bottom }));
    places.forEach((p) => {
      const inside = this.toX(p.x) >= MARGIN.left - 1 && this.toX(p.x) <= this.width - MARGIN.right + 1 && (p.y > 0 || !this.logged);
      if (inside) this.cursor.append(svg(`circle.look.c${p.one.look % COLOURS}`, { cx: this.toX(p.x), cy: this.toY(p.y), r: 4 }));
    });
    if (here) this.tell(first, places, at);
  }

  tell(x, places, at) {
    const shown = places.slice(0, 10);
    const head = this.names ? this.names[x] : `${count(x)} images`;
    replace(this.tip, el("div.where", {}, this.tipTitle ? this.tipTitle(x) : head), shown.map((p) =>
      el(`div.look.c${p.one.look % COLOURS}.d${p.one.look % DASHES}`, {},
        places.length > 1 ? [swatch(p.one.look), el("span.name", {}, p.one.name)] : null, el("b", {}, digits(p.y)))));
    if (places.length > shown.length) this.tip.append(el("div.note", {}, `and ${places.length - shown.length} more`));
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(this.width - half, Math.max(half, at))}px`;
  }

  listen() {
    let start = null;
    const place = (event) => event.clientX - this.svg.getBoundingClientRect().left;
    const xs = () => {
      const [left, right] = this.link.range || [-Infinity, Infinity];
      const all = this.series.flatMap((one) => one.x).filter((x) => x >= left && x <= right);
      return [...new Set(all)].sort((a, b) => a - b);
    };
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && !this.fixed) start = place(event);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (start !== null && Math.abs(place(event) - start) > 4) this.select(start, place(event));
      else if (this.toX) this.link.point((this.pointed = this.toX.back(place(event))), this);
    });
    const release = (event) => {
      const from = start;
      start = null;
      if (from !== null && Math.abs(place(event) - from) > 8) this.zoom(this.toX.back(from), this.toX.back(place(event)));
    };
    this.svg.addEventListener("pointerup", release);
    this.svg.addEventListener("pointerleave", (event) => { release(event); this.link.point(null, this); });
    this.svg.addEventListener("dblclick", () => this.link.zoom(null));
    this.svg.addEventListener("blur", () => this.link.point(null, this));
    this.svg.addEventListener("keydown", (event) => {
      const all = xs();
      const i = all.findIndex((x) => x >= (this.pointed ?? -Infinity));
      const step = Math.max(1, Math.round(all.length / 50));
      const to = { ArrowRight: i + step, ArrowLeft: (i < 0 ? all.length : i) - step, Home: 0, End: all.length - 1 }[event.key];
      if (to !== undefined && all.length) {
        event.preventDefault();
        this.link.point((this.pointed = all[Math.min(all.length - 1, Math.max(0, to))]), this);
      } else if ("+=-".includes(event.key) && this.toX && !this.fixed) {
        const middle = this.pointed ?? this.toX.back(this.width / 2);
        const by = event.key === "-" ? 2 : 0.5;
        const [left, right] = [this.toX.back(MARGIN.left), this.toX.back(this.width - MARGIN.right)];
        this.zoom(middle - (middle - left) * by, middle + (right - middle) * by);
      } else if (event.key === "Escape" || event.key === "0") this.link.zoom(null);
    });
  }

  select(from, to) {
    const [left, right] = [from, to].sort((a, b) => a - b);
    replace(this.cursor, svg("rect.select", { x: left, width: right - left, y: MARGIN.top, height: TALL - MARGIN.top - MARGIN.bottom }));
    this.tip.hidden = true;
  }

  zoom(from, to) {
    const ends = this.series.filter((one) => one.x.length).flatMap((one) => [one.x[0], one.x[one.x.length - 1]]);
    const [left, right] = [Math.max(Math.min(from, to), Math.min(...ends)), Math.min(Math.max(from, to), Math.max(...ends))];
    const whole = left <= Math.min(...ends) && right >= Math.max(...ends);
    if (right > left) this.link.zoom(whole ? null : [left, right]);
  }
}
