"use strict";
/* Elements, numbers and small controls. Every text becomes a text node, so nothing of a run is ever markup. */

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 7;
const DASHES = 4;

/* el("p.note", {title: "x"}, "text", child): an element with classes, properties or on… listeners, and children. */
function el(name, props, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, props, children);
}

function svg(name, props, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElementNS(SVG, tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return fill(node, props, children);
}

function fill(node, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean" && key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function replace(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
}

/* ---------------------------------------------------------------- numbers */

function count(value) {
  return value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en");
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 999.5e6) return digits(value, 3);
  if (size >= 999500) return `${trim((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${trim((value / 1e3).toPrecision(3))}k`;
  return digits(value, 3);
}

function digits(value, many = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return minus(value.toExponential(2).replace(/\.?0*e\+?/, "e"));
  const text = value.toPrecision(many);
  return minus(text.includes("e") ? value.toFixed(0) : trim(text));
}

function trim(text) {
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

function minus(text) {
  return text.replace(/^-/, "−");
}

function withError(value, error) {
  if (value === null || value === undefined || !error) return digits(value);
  const places = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error))));
  return minus(`${value.toFixed(places)} ± ${error.toFixed(places)}`);
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return `${seconds.toFixed(1)} s`;
  const [unit, size] = units[first];
  const whole = Math.floor(seconds / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[1]) : 0;
  return rest ? `${whole} ${unit} ${rest} ${next[0]}` : `${whole} ${unit}`;
}

function day(seconds) {
  if (!seconds) return "–";
  return new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/* The deviation of one of these (n − 1); null of fewer than two. */
function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/* --------------------------------------------------------------- controls */

function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), children);
}

/* A button that stays pressed. */
function toggle(text, pressed, act) {
  const button = el("button.toggle", { type: "button", "aria-pressed": String(pressed) }, text);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    act(now);
  });
  return button;
}

function choose(label, options, act) {
  const select = el("select", { onchange: () => act(Number(select.value)) },
    options.map((text, i) => el("option", { value: i }, text)));
  return el("label.choose", {}, el("span", {}, label), select);
}

/* A slider with a button that plays it; arrow keys move it, as they move every slider. */
function player(name, steps, pace, act) {
  const slider = el("input", { type: "range", min: 0, max: Math.max(0, steps - 1), value: 0, step: 1, "aria-label": name });
  const text = el("output.position", {});
  const button = el("button.play", { type: "button", "aria-label": `Play: ${name}` }, "▶");
  let timer = 0;
  const show = (i) => {
    slider.value = i;
    const said = act(i);
    text.textContent = said;
    slider.setAttribute("aria-valuetext", said);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "▶";
    button.setAttribute("aria-label", `Play: ${name}`);
  };
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === steps - 1) show(0);
    button.textContent = "❚❚";
    button.setAttribute("aria-label", `Pause: ${name}`);
    timer = setInterval(() => {
      if (!slider.isConnected || Number(slider.value) >= steps - 1) return stop();
      show(Number(slider.value) + 1);
    }, pace);
  });
  if (steps < 2) { button.disabled = true; slider.disabled = true; }
  return { node: el("div.player", {}, button, slider, text), show, stop, at: () => Number(slider.value) };
}
