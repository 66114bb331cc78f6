// Curves as two columns of numbers, {x: steps in order, y: values}: recorded as events arrive, cut, smoothed, thinned.

const MOST_POINTS = 1000; // of one line: more than the pixels of a chart
const LEAST_POINTS = 100;
const MOST_IN_ALL = 6_000; // of the lines of one chart, so that many stay smooth

export const curve = (x, y) => ({ x: Float64Array.from(x), y: Float64Array.from(y) });
export const EMPTY = curve([], []);

// Thinned by keeping each stretch's extremes; `lines` is how many share the chart.
export function thin({ x, y }, lines = 1) {
  const most = Math.min(MOST_POINTS, Math.max(LEAST_POINTS, MOST_IN_ALL / lines));
  if (x.length <= most) return { x, y };
  const size = Math.ceil(x.length / (most / 2));
  const kept = [];
  for (let start = 0; start < x.length; start += size) {
    let low = start, high = start;
    for (let i = start + 1; i < Math.min(start + size, x.length); i += 1) {
      if (y[i] < y[low]) low = i;
      if (y[i] > y[high]) high = i;
    }
    kept.push(Math.min(low, high), Math.max(low, high));
  }
  return { x: Float64Array.from(kept, (i) => x[i]), y: Float64Array.from(kept, (i) => y[i]) };
}

// The exponential moving average with weight `share` of what was, corrected for its start.
export function smooth({ x, y }, share) {
  const smoothed = new Float64Array(y.length);
  let sum = 0, weight = 0;
  for (let i = 0; i < y.length; i += 1) {
    sum = share * sum + (1 - share) * y[i];
    weight = share * weight + (1 - share);
    smoothed[i] = sum / weight;
  }
  return { x, y: smoothed };
}

// Those between two places, and the nearest on either side, so that a line runs to the edges.
export const within = (points, range) => (range ? part(points, before(points.x, range[0]) - 1, after(points.x, range[1]) + 1) : points);

// Those between two places alone.
export const inside = (points, range) => (range ? part(points, before(points.x, range[0]), after(points.x, range[1])) : points);

const part = ({ x, y }, from, to) => ({ x: x.subarray(Math.max(0, from), to), y: y.subarray(Math.max(0, from), to) });
const before = (sorted, value) => place(sorted, (one) => one < value);
const after = (sorted, value) => place(sorted, (one) => one <= value);

// The place in a sorted column, of at least one number, of that which is nearest to a value.
export function nearest(sorted, value) {
  const next = before(sorted, value);
  if (next === sorted.length) return next - 1;
  return next && value - sorted[next - 1] < sorted[next] - value ? next - 1 : next;
}

// How many come first of which something is true.
function place(sorted, comes) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (comes(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What a logarithmic axis can show.
export function positive({ x, y }) {
  if (y.every((value) => value > 0)) return { x, y };
  return { x: x.filter((_, i) => y[i] > 0), y: y.filter((value) => value > 0) };
}

const known = new WeakMap(); // columns → their extent: a curve is drawn again and again

// The smallest and the largest value of a column.
export function extent(values) {
  if (!known.has(values)) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < values.length; i += 1) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
    known.set(values, [low, high]);
  }
  return known.get(values);
}

// The same of several columns.
export const extents = (columns) => columns.map(extent).reduce(([low, high], [a, b]) => [Math.min(low, a), Math.max(high, b)], [Infinity, -Infinity]);

// The figures of metric events as they arrive: `curve(name)` is that of one of them so far.
export function recorder() {
  let held = new Map(), latest = null;
  return {
    get latest() { return latest; },
    has: (name) => held.has(name),
    push(point) {
      latest = point;
      for (const [name, value] of Object.entries(point)) {
        if (typeof value !== "number") continue;
        if (!held.has(name)) held.set(name, growing());
        held.get(name).push(point.step, value);
      }
    },
    clear() { held = new Map(); latest = null; },
    curve: (name) => held.get(name)?.seen() ?? EMPTY,
  };
}

function growing() {
  let x = new Float64Array(64), y = new Float64Array(64), length = 0;
  const larger = (column) => { const found = new Float64Array(2 * column.length); found.set(column); return found; };
  return {
    push(a, b) {
      if (length === x.length) { x = larger(x); y = larger(y); }
      x[length] = a;
      y[length] = b;
      length += 1;
    },
    seen: () => ({ x: x.subarray(0, length), y: y.subarray(0, length) }),
  };
}
