// Many curves of one chart, on a canvas that lies over it: there a browser strokes them many times faster than as SVG.
import { smooth, thin, within } from "./points.js";

const STROKE = 1.5; // CSS pixels
const DASHES = [6, 4];

// frame: {width, height, left, right} of the chart in its own units, with its scales x and y.
export function drawMany(canvas, lines, view, { width, height, left, right, x, y }) {
  const unit = canvas.clientWidth / width; // CSS pixels of one
  if (!unit) return;
  canvas.width = Math.round(width * unit * devicePixelRatio);
  canvas.height = Math.round(height * unit * devicePixelRatio);
  const to = canvas.getContext("2d");
  to.scale(unit * devicePixelRatio, unit * devicePixelRatio);
  to.rect(left, 0, width - left - right, height);
  to.clip();
  to.lineWidth = STROKE / unit;
  to.lineJoin = "round";
  const colour = colours(canvas);
  for (const { look, points } of lines) {
    const shown = thin(within(view.smoothing ? smooth(points, view.smoothing) : points, view.range), lines.length);
    to.beginPath();
    for (const [a, b] of shown) to.lineTo(x(a), y(b));
    to.strokeStyle = colour(look);
    to.setLineDash(look.includes("dashed") ? DASHES : []);
    to.stroke();
  }
  canvas.dataset.lines = lines.length;
}

// What colour a look is now, in light or dark: the browser resolves it, once for each.
function colours(canvas) {
  const known = new Map();
  const probe = canvas.parentElement.appendChild(document.createElement("i"));
  probe.style.color = "var(--look)";
  queueMicrotask(() => probe.remove());
  return (look) => {
    if (!known.has(look)) {
      probe.className = look;
      known.set(look, getComputedStyle(probe).color);
    }
    return known.get(look);
  };
}
