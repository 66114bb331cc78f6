// Charts that belong together: one bar sets their log axis, smoothing and zoom.
import { band, canvas, draw, shareOf } from "./curve.js";
import { h } from "./dom.js";
import { number } from "./numbers.js";
import { extents } from "./points.js";

const REST_MS = 150; // without another zoom, after which more points of the part that is seen are asked for
const SMALLEST = 0.01; // share of the axis below which a drag is a click

// Returns {element, show(figures)}; figures: [{title, log, lines: [{name, look, points, detail}]}], log: whether its axis may
// be; detail: {range, points} of a part of a line, with more of its points. zoomed(range) is called when that is over.
export function charts(xLabel = "step", zoomed = () => {}) {
  const view = { log: false, smoothing: 0, range: null };
  const shown = new Map(); // title → its panel
  let figures = [], due = null, resting = null;
  const whole = h("button", { class: "small", hidden: true, onclick: () => zoom(null) }, "whole curve");
  const bar = h("div", { class: "tools", role: "group", "aria-label": "Curves" },
    h("label", { class: "inline" }, h("input", { type: "checkbox", onchange: (e) => { view.log = e.target.checked; soon(); } }), "log loss"),
    h("label", { class: "inline" }, "smoothing", h("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: "0", oninput: (e) => { view.smoothing = Number(e.target.value); soon(); } })),
    whole, h("span", { class: "soft hint" }, "drag over a curve to zoom in"));
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
      if (!shown.has(figure.title)) shown.set(figure.title, panel(figure.title, zoom));
      shown.get(figure.title).tell(figure, xLabel);
    }
    const wanted = figures.map((figure) => shown.get(figure.title).element);
    if (wanted.some((element, i) => grid.children[i] !== element) || grid.children.length !== wanted.length) grid.replaceChildren(...wanted);
  }
  return { element: h("div", {}, bar, grid), show(next) { figures = next; bar.hidden = !next.length; place(); redraw(); } };
}

function panel(title, zoom) {
  const svg = canvas(title), sheet = h("canvas", { class: "sheet", hidden: true, "aria-hidden": "true" }), caption = h("figcaption");
  let last = null, seen = true, range = null;
  const again = () => { if (last && !sheet.hidden && seen) range = draw(svg, sheet, ...last); };
  new IntersectionObserver(([{ isIntersecting }]) => { seen = isIntersecting; again(); }, { rootMargin: "100px" }).observe(svg);
  new ResizeObserver(again).observe(svg);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let full = null, from = null, marked = null;
  const at = (share) => range[0] + Math.min(1, Math.max(0, share)) * (range[1] - range[0]);
  const drop = () => { marked?.remove(); marked = from = null; };
  svg.addEventListener("pointerdown", (event) => {
    if (!range || event.button) return;
    from = shareOf(svg, event.clientX);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (from === null) return;
    marked?.remove();
    svg.append(marked = band(from, shareOf(svg, event.clientX)));
  });
  svg.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [a, b] = [from, shareOf(svg, event.clientX)].sort((p, q) => p - q);
    drop();
    if (b - a > SMALLEST) zoom([at(a), at(b)]);
  });
  svg.addEventListener("pointercancel", drop);
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("keydown", (event) => {
    const next = range && keyed(event.key, range, full);
    if (next === undefined) return;
    event.preventDefault();
    zoom(next);
  });
  return {
    element: h("figure", {}, caption, h("div", { class: "chart" }, svg, sheet)),
    tell(figure, xLabel) {
      caption.replaceChildren(h("strong", {}, title), ...(figure.legend === false ? [] : figure.lines.map(key)));
      svg.setAttribute("aria-label", `${title} by ${xLabel}: ${summary(figure.lines)}. Keys: + and - zoom, arrows move, Escape shows all.`);
    },
    draw(figure, view, xLabel) {
      if (from !== null) return; // what is being marked stays as it is
      full = figure.lines.some((line) => line.points.x.length) ? extents(figure.lines.map((line) => line.points.x)) : null;
      last = [figure.lines, view, xLabel];
      if (seen || sheet.hidden) range = draw(svg, sheet, ...last); // many lines wait until they are scrolled to
    },
  };
}

// The range that a key asks for: null for all of it, undefined for none of ours.
function keyed(name, [low, high], full) {
  const span = high - low;
  const kept = (a, b) => (a <= full[0] && b >= full[1] ? null : [Math.max(a, full[0]), Math.min(b, full[1])]);
  if (name === "+" || name === "=") return [low + span / 4, high - span / 4];
  if (name === "-") return kept(low - span / 2, high + span / 2);
  if (name === "ArrowLeft") { const by = Math.min(span / 4, low - full[0]); return by > 0 ? [low - by, high - by] : undefined; }
  if (name === "ArrowRight") { const by = Math.min(span / 4, full[1] - high); return by > 0 ? [low + by, high + by] : undefined; }
  return name === "Escape" ? null : undefined;
}

const MOST_TOLD = 12; // lines whose last values are all read out
const told = (line) => `${line.name} ${number(line.points.y.at(-1))}`;
function summary(lines) {
  if (lines.length <= MOST_TOLD) return lines.map(told).join(", ");
  const [low, high] = extents([Float64Array.from(lines, (line) => line.points.y.at(-1))]);
  return `${lines.length} curves, which end at ${number(low)} to ${number(high)}`;
}
const key = (line) => h("span", { class: `key ${line.look}` }, told(line));
