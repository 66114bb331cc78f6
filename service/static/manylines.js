// Many curves of one chart as pixels of a canvas that lies over it. A browser strokes a noisy line segment by segment; here
// a line is one upright span in each column of pixels, so that what it costs is the chart's size, whatever its points.
import { within } from "./points.js";

const STROKE = 1.5; // CSS pixels
const DASH = 6, DASHES = 10; // CSS pixels that are drawn, of how many

const sheets = new WeakMap(); // canvas → its pixels, made once for a size

// frame: {width, height, left, right} of the chart in its own units, with its scales x and y.
export function drawMany(canvas, lines, view, { width, height, left, right, x, y }) {
  const unit = (canvas.clientWidth * devicePixelRatio) / width; // pixels of one
  if (!unit) return;
  const sheet = sheetOf(canvas, Math.round(width * unit), Math.round(height * unit));
  const spans = { low: new Float64Array(sheet.width), high: new Float64Array(sheet.width), from: Math.floor(left * unit), to: Math.ceil((width - right) * unit) };
  sheet.pixels.fill(0);
  for (const { look, drawn } of lines) {
    cover(spans, within(drawn, view.range), x, y, unit);
    fill(sheet, spans, colourOf(canvas, look), look.includes("dashed"));
  }
  sheet.to.putImageData(sheet.image, 0, 0);
  canvas.dataset.lines = lines.length;
}

function sheetOf(canvas, width, height) {
  const found = sheets.get(canvas);
  if (found?.width === width && found.height === height) return found;
  Object.assign(canvas, { width, height });
  const to = canvas.getContext("2d"), image = to.createImageData(width, height);
  const made = { width, height, to, image, pixels: new Uint32Array(image.data.buffer) };
  sheets.set(canvas, made);
  return made;
}

// The lowest and the highest place of a line in every column of pixels that it runs through.
function cover({ low, high, from, to }, points, x, y, unit) {
  low.fill(Infinity);
  high.fill(-Infinity);
  const mark = (column, value) => {
    if (value < low[column]) low[column] = value;
    if (value > high[column]) high[column] = value;
  };
  let left = 0, above = 0, first = 0; // the point before, and its column
  for (let i = 0; i < points.x.length; i += 1) {
    const right = (x.offset + x.slope * points.x[i]) * unit, last = Math.floor(right);
    const value = (y.offset + y.slope * (y.log ? Math.log(points.y[i]) : points.y[i])) * unit;
    if (i === 0 || first === last) mark(last, value);
    else {
      const slope = (value - above) / (right - left);
      for (let column = Math.max(first, from); column <= Math.min(last, to - 1); column += 1) {
        mark(column, column === first ? above : above + slope * (column - left));
        mark(column, column === last ? value : above + slope * (column + 1 - left));
      }
    }
    left = right;
    above = value;
    first = last;
  }
}

function fill({ pixels, width, height }, { low, high, from, to }, colour, dashed) {
  const half = (STROKE * devicePixelRatio) / 2, opaque = (255 << 24) | colour;
  const every = DASHES * devicePixelRatio, drawn = dashed ? DASH * devicePixelRatio : every;
  for (let column = from; column < to; column += 1) {
    if (low[column] > high[column] || column % every >= drawn) continue;
    const top = Math.max(0, low[column] - half), bottom = Math.min(height - 1e-6, high[column] + half);
    const first = top | 0, last = bottom | 0;
    let i = first * width + column;
    if (first === last) { blend(pixels, i, colour, bottom - top); continue; }
    blend(pixels, i, colour, first + 1 - top);
    const end = last * width + column;
    for (i += width; i < end; i += width) pixels[i] = opaque;
    blend(pixels, end, colour, bottom - last);
  }
}

// Lay a colour over a pixel that it covers in part: an empty one, an opaque one, or one that is covered in part itself.
function blend(pixels, i, colour, share) {
  const there = pixels[i], alpha = there >>> 24;
  if (alpha === 0) pixels[i] = ((share * 255) << 24) | colour;
  else if (alpha === 255) pixels[i] = (255 << 24) | mixed(there, colour, (share * 256) | 0);
  else {
    const both = share * 255 + alpha * (1 - share);
    pixels[i] = (both << 24) | mixed(there, colour, ((share * 255 * 256) / both) | 0);
  }
}

// Two colours, the second with a weight of 0 … 256; red and blue in one go.
function mixed(one, other, weight) {
  const rest = 256 - weight;
  const outer = (((one & 0xff00ff) * rest + (other & 0xff00ff) * weight) >>> 8) & 0xff00ff;
  return outer | ((((one & 0xff00) * rest + (other & 0xff00) * weight) >>> 8) & 0xff00);
}

// Colours of looks as they are now, in light or dark, in the order of a pixel's bytes: the browser resolves each once.
const known = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => known.clear());

function colourOf(canvas, look) {
  if (!known.has(look)) {
    const probe = canvas.parentElement.appendChild(document.createElement("i"));
    probe.className = look;
    probe.style.color = "var(--look)";
    const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    probe.remove();
    known.set(look, (blue << 16) | (green << 8) | red);
  }
  return known.get(look);
}
