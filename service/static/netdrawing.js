// A drawing of a net: a column of dots for every layer, with how many units it has and how many parameters lead to it.
import { node } from "./curve.js";
import { h } from "./dom.js";

const MOST_DOTS = 9; // of a layer; more are told by a gap
const MOST_LAYERS = 7; // hidden ones; those between are told by a gap
const STEP = 15, RADIUS = 4, HEIGHT = MOST_DOTS * STEP + 46, GAP = 100, MARGIN = 54;

// net: {inputs, hidden, outputs, bias, batchNorm, activation, of}; `of`: what the outputs are called.
export function netDrawing(net) {
  const layers = layersOf(net);
  const total = layers.reduce((sum, layer) => sum + layer.parameters, 0);
  const shown = layers.length - 2 > MOST_LAYERS ? [...layers.slice(0, 4), null, ...layers.slice(-3)] : layers;
  const width = 2 * MARGIN + (shown.length - 1) * GAP;
  const svg = node("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, class: "net", role: "img", "aria-label": told(layers, total) });
  svg.style.width = `${width}px`; // a pixel is a unit of the drawing: narrower windows scroll it
  const x = (i) => MARGIN + i * GAP;
  shown.forEach((layer, i) => { if (i && layer && shown[i - 1]) svg.append(edges(shown[i - 1], layer, x(i - 1), x(i))); });
  shown.forEach((layer, i) => svg.append(...(layer ? column(layer, x(i)) : [node("text", { class: "tick", x: x(i), y: middle, "text-anchor": "middle" }, `+ ${layers.length - 7}`)])));
  shown.forEach((layer, i) => { if (i && layer) svg.append(node("text", { class: "tick", x: (x(i - 1) + x(i)) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, count(layer.parameters))); });
  return h("div", { class: "drawing" }, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Drawing of the net" }, svg), h("p", { class: "soft facts-line" }, h("strong", {}, count(total)), " parameters"));
}

const middle = 10 + (MOST_DOTS * STEP) / 2;
const count = (value) => value.toLocaleString("en");

function layersOf({ inputs, hidden, outputs, bias, batchNorm, activation, of }) {
  const widths = [inputs, ...hidden, outputs];
  return widths.map((width, i) => {
    const inner = i > 0 && i < widths.length - 1;
    const parameters = i ? width * (widths[i - 1] + (bias ? 1 : 0)) + (inner && batchNorm ? 2 * width : 0) : 0;
    return { width, parameters, label: i === 0 ? "inputs" : inner ? activation : of };
  });
}

function told(layers, total) {
  const parts = layers.map(({ width, label, parameters }) => `${count(width)} ${label}${parameters ? ` (${count(parameters)} parameters)` : ""}`);
  return `The net: ${parts.join(", then ")}; ${count(total)} parameters in all`;
}

// The places of a layer's dots; null is the gap that stands for those that are left out.
function places(width) {
  const dots = width <= MOST_DOTS ? Array(width).fill(true) : [...Array(MOST_DOTS - 4).fill(true), null, ...Array(3).fill(true)];
  return dots.map((dot, i) => [dot, middle + (i - (dots.length - 1) / 2) * STEP]);
}

function column({ width, label }, x) {
  const dots = places(width).map(([dot, y]) => (dot ? node("circle", { cx: x, cy: y, r: RADIUS, class: "unit" }) : node("text", { class: "tick", x, y: y + 4, "text-anchor": "middle" }, "⋮")));
  return [...dots, node("text", { class: "tick strong", x, y: HEIGHT - 20, "text-anchor": "middle" }, `${count(width)} ${label}`)];
}

function edges(from, to, x1, x2) {
  const ends = (layer) => places(layer.width).filter(([dot]) => dot).map(([, y]) => y);
  const d = ends(from).flatMap((a) => ends(to).map((b) => `M${x1} ${a}L${x2} ${b}`)).join("");
  return node("path", { class: "edges", d });
}
