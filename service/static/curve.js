// Curves as SVG: a sparkline for lists, a chart with axes for one job.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 560, HEIGHT = 240, LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 24;
const MOST_POINTS = 1000; // more than the pixels of the chart: thinned by keeping each bucket's extremes

function node(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export function thin(points) {
  if (points.length <= MOST_POINTS) return points;
  const size = Math.ceil(points.length / (MOST_POINTS / 2));
  const kept = [];
  for (let start = 0; start < points.length; start += size) {
    const bucket = points.slice(start, start + size);
    const low = bucket.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = bucket.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

export function ticks(low, high, count) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const marks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) marks.push(Number(t.toPrecision(12)));
  return marks;
}

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en");
}

function path(points, x, y) {
  return points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
}

// lines: [{name, points: [[x, y], …]}]; the first is drawn in the accent colour, the second in its companion.
export function chart(title, lines, xLabel) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.append(Object.assign(document.createElement("strong"), { textContent: title }));
  lines.forEach((line, i) => {
    const last = line.points.at(-1);
    const key = Object.assign(document.createElement("span"), { className: i ? "key second" : "key" });
    key.textContent = last ? `${line.name} ${number(last[1])}` : line.name;
    caption.append(key);
  });
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${caption.textContent}` });
  const all = lines.flatMap((line) => line.points);
  if (all.length) draw(svg, lines, all, xLabel);
  figure.append(caption, svg);
  return figure;
}

function draw(svg, lines, all, xLabel) {
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (y0 === y1) [y0, y1] = [y0 - 0.5, y1 + 0.5];
  const x = (v) => LEFT + ((v - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (v) => TOP + (1 - (v - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  for (const t of ticks(y0, y1, 4)) {
    svg.append(node("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(t), y2: y(t) }));
    svg.append(node("text", { class: "tick", x: LEFT - 6, y: y(t) + 4, "text-anchor": "end" }, number(t, 3)));
  }
  for (const t of ticks(x0, x1, 5)) {
    svg.append(node("text", { class: "tick", x: x(t), y: HEIGHT - 8, "text-anchor": "middle" }, number(t, 6)));
  }
  svg.append(node("title", {}, `by ${xLabel}`));
  lines.forEach((line, i) => svg.append(node("path", { class: i ? "line second" : "line", d: path(thin(line.points), x, y) })));
}

export function sparkline(values) {
  const svg = node("svg", { class: "spark", viewBox: "0 0 120 30", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return svg;
  const low = Math.min(...values), high = Math.max(...values);
  const points = thin(values.map((v, i) => [i, v]));
  const x = (v) => (v / (values.length - 1)) * 118 + 1;
  const y = (v) => 2 + (1 - (v - low) / (high - low || 1)) * 26;
  svg.append(node("path", { class: "line", d: path(points, x, y) }));
  return svg;
}
