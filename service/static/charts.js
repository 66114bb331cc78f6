// Charts that belong together: one bar sets their log axis, smoothing and zoom.
import { band, canvas, draw, shareOf } from "./curve.js";
import { h } from "./dom.js";
import { number } from "./numbers.js";
import { extents } from "./points.js";

const SMALLEST = 0.01; // share of the axis below which a drag is a click

// Returns {element, show(figures)}; figures: [{title, log, lines: [{name, look, points}]}], log: whether its axis may be.
export function charts(xLabel = "step") {
  const view = { log: false, smoothing: 0, range: null };
  const shown = new Map();
  let figures = [], due = null;
  const whole = h("button", { class: "small", hidden: true, onclick: () => zoom(null) }, "whole curve");
  const bar = h("div", { class: "tools", role: "group", "aria-label": "Curves" },
    h("label", { class: "inline" }, h("input", { type: "checkbox", onchange: (e) => { view.log = e.target.checked; soon(); } }), "log loss"),
    h("label", { class: "inline" }, "smoothing", h("input", { type: "range", min: "0", max: "0.98", step: "0.02", value: "0", oninput: (e) => { view.smoothing = Number(e.target.value); soon(); } })),
    whole, h("span", { class: "soft hint" }, "drag over a curve to zoom in"));
  const grid = h("div", { class: "charts" });

  function zoom(range) {
    view.range = range;
    whole.hidden = !range;
    soon();
  }
  function soon() { due ??= requestAnimationFrame(redraw); }
  function redraw() {
    cancelAnimationFrame(due);
    due = null;
    for (const figure of figures) {
      if (!shown.has(figure.title)) shown.set(figure.title, panel(figure.title, zoom));
      shown.get(figure.title).draw(figure, { ...view, log: view.log && figure.log }, xLabel);
    }
    const wanted = figures.map((figure) => shown.get(figure.title).element);
    if (wanted.some((element, i) => grid.children[i] !== element) || grid.children.length !== wanted.length) grid.replaceChildren(...wanted);
  }
  return { element: h("div", {}, bar, grid), show(next) { figures = next; bar.hidden = !next.length; redraw(); } };
}

function panel(title, zoom) {
  const svg = canvas(title), sheet = h("canvas", { class: "sheet", hidden: true, "aria-hidden": "true" }), caption = h("figcaption");
  let last = null;
  const again = () => { if (last && !sheet.hidden) draw(svg, sheet, ...last); };
  new ResizeObserver(again).observe(svg);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let range = null, full = null, from = null, marked = null;
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
    draw(figure, view, xLabel) {
      caption.replaceChildren(h("strong", {}, title), ...(figure.legend === false ? [] : figure.lines.map(key)));
      svg.setAttribute("aria-label", `${title} by ${xLabel}: ${figure.lines.map(told).join(", ")}. Keys: + and - zoom, arrows move, Escape shows all.`);
      if (from !== null) return; // what is being marked stays as it is
      full = figure.lines.some((line) => line.points.length) ? extents(figure.lines, 0) : null;
      last = [figure.lines, view, xLabel];
      range = draw(svg, sheet, ...last);
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

const told = (line) => `${line.name} ${number(line.points.at(-1)?.[1])}`;
const key = (line) => h("span", { class: `key ${line.look}` }, told(line));
