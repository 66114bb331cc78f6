// One chart with axes as SVG, and a sparkline for lists.
import { drawMany } from "./manylines.js";
import { exact, logTicks, marked, ticks } from "./numbers.js";
import { curve, extent, extents, inside, positive, smooth, thin, within } from "./points.js";

const SVG = "http://www.w3.org/2000/svg";
export const WIDTH = 560, HEIGHT = 240;
const LEFT = 54, RIGHT = 10, TOP = 8, BOTTOM = 24;
const MOST_LINES = 12; // as SVG, with the raw line behind its smoothed form; more are drawn on a canvas

export function node(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const tenth = (value) => Math.round(value * 10) / 10; // far cheaper than toFixed, of which many curves need thousands

export function path(points, x, y) {
  let d = "";
  for (let i = 0; i < points.x.length; i += 1) d += `${i ? "L" : "M"}${tenth(x(points.x[i]))} ${tenth(y(points.y[i]))}`;
  return d;
}

export const canvas = (label) => node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, tabindex: "0" });

// Where a pointer is: on the x axis, as a share of its length that may lie outside 0 … 1, and how far below the chart's top.
export function placeOf(svg, { clientX, clientY }) {
  const box = svg.getBoundingClientRect();
  return [(((clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT), ((clientY - box.top) / box.height) * HEIGHT];
}

export function band(from, to) {
  const x = (share) => LEFT + Math.min(1, Math.max(0, share)) * (WIDTH - LEFT - RIGHT);
  const [low, high] = [x(Math.min(from, to)), x(Math.max(from, to))];
  return node("rect", { class: "band", x: low, y: TOP, width: high - low, height: HEIGHT - TOP - BOTTOM });
}

// lines: [{name, look, points: {x, y}}], look being the class that colours it; view: {log, smoothing, range}.
// Many lines go to `sheet`, a canvas over the chart. Returns what is shown: the range of x, scales and lines as they are drawn.
export function draw(svg, sheet, lines, view, xLabel) {
  const usable = lines.map(({ name, look, points, detail }) => {
    const near = detail && view.range && detail.range[0] <= view.range[0] && detail.range[1] >= view.range[1] ? detail.points : points;
    const known = view.log ? positive(near) : near;
    return { name, look, points: known, drawn: view.smoothing ? smooth(known, view.smoothing) : known };
  });
  const some = usable.some((line) => line.points.x.length);
  sheet.hidden = usable.length <= MOST_LINES || !some;
  if (!some) { svg.replaceChildren(); return null; }
  const range = view.range || extents(usable.map((line) => line.points.x));
  const x = scale(range, [LEFT, WIDTH - RIGHT]);
  const [y, marks] = vertical(usable, view);
  const parts = [];
  const texts = marked(marks);
  for (const [i, t] of marks.entries()) {
    parts.push(node("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(t), y2: y.at(t) }));
    parts.push(node("text", { class: "tick", x: LEFT - 6, y: y.at(t) + 4, "text-anchor": "end" }, texts[i]));
  }
  for (const t of ticks(range[0], range[1], 5)) {
    parts.push(node("text", { class: "tick", x: x.at(t), y: HEIGHT - 8, "text-anchor": x.at(t) > WIDTH - 2 * RIGHT ? "end" : "middle" }, exact(t, 6)));
  }
  svg.replaceChildren(...parts);
  if (!sheet.hidden) drawMany(sheet, usable, view, { width: WIDTH, height: HEIGHT, left: LEFT, right: RIGHT, x, y });
  else svg.append(plotted(usable, view, x, y));
  return { range, x, y, lines: usable, unit: xLabel };
}

function plotted(lines, view, x, y) {
  const plot = node("svg", { "aria-hidden": "true", x: LEFT, y: 0, width: WIDTH - LEFT - RIGHT, height: HEIGHT, viewBox: `${LEFT} 0 ${WIDTH - LEFT - RIGHT} ${HEIGHT}` });
  for (const { look, points, drawn } of lines) {
    const line = (shown, how) => node("path", { class: how, d: path(thin(within(shown, view.range), lines.length), x.at, y.at) });
    if (view.smoothing) plot.append(line(points, `line ${look} faint`));
    plot.append(line(drawn, `line ${look}`));
  }
  return plot;
}

function vertical(lines, { log, range }) {
  let [low, high] = extents(lines.map((line) => inside(line.points, range).y));
  if (!Number.isFinite(low)) [low, high] = extents(lines.map((line) => line.points.y));
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
  return [scale([low, high], [HEIGHT - BOTTOM, TOP], log), log ? logTicks(low, high) : ticks(low, high, 4)];
}

// A scale from values to places on an axis, linear in the values or in their logarithms.
function scale([low, high], [from, to], log = false) {
  const into = log ? Math.log : (v) => v;
  const slope = (to - from) / (into(high) - into(low) || 1), offset = from - slope * into(low);
  return { slope, offset, log, at: (v) => offset + slope * into(v) };
}

export function sparkline(values) {
  const svg = node("svg", { class: "spark", viewBox: "0 0 120 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return svg;
  const points = thin(curve(values.keys(), values));
  const [low, high] = extent(points.y);
  const x = (v) => (v / (values.length - 1)) * 118 + 1;
  const y = (v) => 2 + (1 - (v - low) / (high - low || 1)) * 26;
  svg.append(node("path", { class: "line", d: path(points, x, y) }));
  return svg;
}
