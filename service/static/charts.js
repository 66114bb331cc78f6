// Charts that belong together: one bar sets their log axis, smoothing and zoom.
import { band, canvas, draw } from "./curve.js";
import { h } from "./dom.js";
import { gestures } from "./gestures.js";
import { number } from "./numbers.js";
import { extents } from "./points.js";
import { readout } from "./readout.js";

const REST_MS = 150; // without another zoom, after which more points of the part that is seen are asked for
const FINGERS = matchMedia("(pointer: coarse)");

// Returns {element, show(figures)}; figures: [{title, log, lines: [{name, look, points, detail}]}], log: whether its axis may
// be; detail: {range, points} of a part of a line, with more of its points. zoomed(range) is called when that is over. signal:
// of the end of their view.
export function charts(signal, xLabel = "step", zoomed = () => {}) {
  const view = { log: false, smoothing: 0, range: null };
  const shown = new Map(); // title → its panel
  let figures = [], due = null, resting = null;
  const whole = h("button", { class: "small", hidden: true, onclick: () => zoom(null) }, "whole curve");
  const bar = h("div", { class: "tools", role: "group", "aria-label": "Curves" },
    h("label", { class: "inline" }, h("input", { type: "checkbox", onchange: (e) => { view.log = e.target.checked; soon(); } }), "log loss"),
    h("label", { class: "inline" }, "smoothing", h("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: "0", oninput: (e) => { view.smoothing = Number(e.target.value); soon(); } })),
    whole, h("span", { class: "soft hint" }, FINGERS.matches ? "mark a part with two fingers to zoom in" : "point at a curve to read it, drag over it to zoom in"));
  const grid = h("div", { class: "charts" });

  function zoom(range) {
    view.range = range;
    whole.hidden = !range;
    clearTimeout(resting);
    if (range) resting = setTimeout(() => zoomed(range), REST_MS);
    soon();
  }
  function soon() { due ??= requestAnimationFrame(redraw); }
  function redraw() {
    cancelAnimationFrame(due);
    due = null;
    for (const figure of figures) shown.get(figure.title).draw(figure, { ...view, log: view.log && figure.log }, xLabel);
  }
  function place() {
    for (const figure of figures) {
      if (!shown.has(figure.title)) shown.set(figure.title, panel(figure.title, zoom, signal));
      shown.get(figure.title).tell(figure, xLabel);
    }
    const wanted = figures.map((figure) => shown.get(figure.title).element);
    if (wanted.some((element, i) => grid.children[i] !== element) || grid.children.length !== wanted.length) grid.replaceChildren(...wanted);
  }
  return { element: h("div", {}, bar, grid), show(next) { figures = next; bar.hidden = !next.length; place(); redraw(); } };
}

function panel(title, zoom, signal) {
  const svg = canvas(title), sheet = h("canvas", { class: "sheet", hidden: true, "aria-hidden": "true" }), caption = h("figcaption");
  const reading = readout(svg);
  let last = null, seen = true, range = null, full = null, shaded = null;
  function paint() {
    const plot = draw(svg, sheet, ...last);
    range = plot?.range ?? null;
    reading.shows(plot);
  }
  const again = () => { if (last && !sheet.hidden && seen) paint(); };
  new IntersectionObserver(([{ isIntersecting }]) => { seen = isIntersecting; again(); }, { rootMargin: "100px" }).observe(svg);
  new ResizeObserver(again).observe(svg);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again, { signal });
  const at = (share) => range[0] + Math.min(1, Math.max(0, share)) * (range[1] - range[0]);
  const shade = (next = null) => { shaded?.remove(); shaded = next; if (next) svg.append(next); };
  const hands = gestures(svg, {
    ready: () => range !== null, read: reading.at, unread: reading.clear,
    marking: (from, to) => shade(band(from, to)), marked: (from, to) => zoom([at(from), at(to)]), dropped: () => shade(),
  });
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("blur", reading.clear);
  svg.addEventListener("keydown", (event) => {
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    const read = reading.key(event.key), next = read === null ? keyed(event.key, range, full) : reached(read, range, full);
    if (read === null && next === undefined) return;
    event.preventDefault();
    if (event.key === "Escape") reading.clear();
    if (next !== undefined) zoom(next);
  });
  return {
    element: h("figure", {}, caption, h("div", { class: "chart" }, svg, sheet, reading.element)),
    tell(figure, xLabel) {
      caption.replaceChildren(h("strong", {}, title), ...(figure.legend === false ? [] : figure.lines.map(key)));
      svg.setAttribute("aria-label", `${title} by ${xLabel}: ${summary(figure.lines)}. Keys: arrows and page keys read values, + and - zoom, Escape shows all.`);
    },
    draw(figure, view, xLabel) {
      if (hands.busy) return; // what is being marked stays as it is
      full = figure.lines.some((line) => line.points.x.length) ? extents(figure.lines.map((line) => line.points.x)) : null;
      last = [figure.lines, view, xLabel];
      if (seen || sheet.hidden) paint(); // many lines wait until they are scrolled to
    },
  };
}

// The range that a key asks for: null for all of it, undefined for none of ours.
function keyed(name, [low, high], full) {
  const span = high - low;
  if (name === "+" || name === "=") return [low + span / 4, high - span / 4];
  if (name === "-") return low - span / 2 <= full[0] && high + span / 2 >= full[1] ? null : [Math.max(low - span / 2, full[0]), Math.min(high + span / 2, full[1])];
  return name === "Escape" ? null : undefined;
}

// The range that has a place which is read; undefined where the one that is shown has it.
function reached(place, [low, high], full) {
  const by = place < low ? place - low - (high - low) / 4 : place > high ? place - high + (high - low) / 4 : 0;
  const kept = Math.min(full[1] - high, Math.max(full[0] - low, by));
  return by ? [low + kept, high + kept] : undefined;
}

const MOST_TOLD = 12; // lines whose last values are all read out
const told = (line) => `${line.name} ${number(line.points.y.at(-1))}`;
function summary(lines) {
  if (lines.length <= MOST_TOLD) return lines.map(told).join(", ");
  const [low, high] = extents([Float64Array.from(lines, (line) => line.points.y.at(-1))]);
  return `${lines.length} curves, which end at ${number(low)} to ${number(high)}`;
}
const key = (line) => h("span", { class: `key ${line.look}` }, told(line));
