/* Axes: their ticks, the places of values on them, and what stands for a curve beside it. */

const MARGIN = { left: 52, right: 14, top: 10, bottom: 38 };
const TALL = 230;
const MARKS = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-4,-4h8v8h-8z", "M0,-5.5L5,4H-5z", "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
  "M0,5.5L5,-4H-5z", "M-5,-1.7h3.3v-3.3h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3z", "M-5,-3L-3,-5L5,3L3,5z",
];

/* What charts side by side share: the range of x that is seen, and the x that is pointed at. */
class Link {
  constructor() {
    this.range = null;
    this.charts = [];
  }
  zoom(range) {
    this.range = range;
    this.charts.forEach((chart) => chart.draw());
  }
  point(x, source) {
    this.charts.forEach((chart) => chart.point(x, chart === source));
  }
}

function ticks(low, high, many) {
  const rough = (high - low) / many || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step);
}

function logTicks(low, high) {
  const found = [];
  const wide = Math.log10(high / low);
  const parts = wide > 3 ? [1] : wide > 1.2 ? [1, 3] : wide > 0.5 ? [1, 2, 3, 5] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
  const every = Math.max(1, Math.ceil(wide / 6)); // a loss that runs away passes many powers of ten
  for (let p = Math.floor(Math.log10(low) / every) * every; p <= Math.log10(high); p += every) {
    found.push(...parts.map((m) => m * 10 ** p).filter((v) => v >= low * 0.999 && v <= high * 1.001));
  }
  return found.length >= 2 ? found : ticks(low, high, 4).filter((v) => v > 0);
}

/* A function from values to pixels, with its ticks; `back` goes the other way. */
function scale(low, high, from, to, log, many) {
  const f = log ? Math.log10 : (v) => v;
  const [a, b] = [f(low), f(high)];
  const place = (v) => from + ((f(v) - a) / (b - a || 1)) * (to - from);
  place.back = (pixel) => {
    const v = a + ((pixel - from) / (to - from)) * (b - a);
    return log ? 10 ** v : v;
  };
  place.ticks = log ? logTicks(low, high) : ticks(low, high, many);
  return place;
}

function pad(low, high, log) {
  if (low !== high) return log ? [low / 1.25, high * 1.25] : [low, high];
  return log ? [low / 2, high * 2] : [low - 1, high + 1];
}

/* The point of a curve whose x is nearest. */
function nearestPoint(one, x) {
  let best = null;
  one.x.forEach((at, i) => {
    if (one.y[i] !== null && (best === null || Math.abs(at - x) < Math.abs(one.x[best] - x))) best = i;
  });
  return best === null ? null : { one, x: one.x[best], y: one.y[best] };
}

/* A short piece of a curve's line, as its name tag. */
function swatch(look) {
  return svg(`svg.swatch.look.c${look % COLOURS}.d${look % DASHES}`, { viewBox: "0 0 22 10", "aria-hidden": "true" },
    svg("line.line", { x1: 1, x2: 21, y1: 5, y2: 5 }));
}
