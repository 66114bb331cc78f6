// Points of curves: columns of the API as points, thinned and smoothed for drawing.

const MOST_POINTS = 1000; // of one line: more than the pixels of a chart
const LEAST_POINTS = 100;
const MOST_IN_ALL = 6_000; // of the lines of one chart, so that many stay smooth

// Thinned by keeping each bucket's extremes; `lines` is how many share the chart.
export function thin(points, lines = 1) {
  const most = Math.min(MOST_POINTS, Math.max(LEAST_POINTS, MOST_IN_ALL / lines));
  if (points.length <= most) return points;
  const size = Math.ceil(points.length / (most / 2));
  const kept = [];
  for (let start = 0; start < points.length; start += size) {
    const bucket = points.slice(start, start + size);
    const low = bucket.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = bucket.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

// The exponential moving average with weight `share` of what was, corrected for its start.
export function smooth(points, share) {
  let sum = 0, weight = 0;
  return points.map(([x, y]) => {
    sum = share * sum + (1 - share) * y;
    weight = share * weight + (1 - share);
    return [x, sum / weight];
  });
}

// Those between two places, and the nearest on either side, so that a line runs to the edges.
export function within(points, range) {
  if (!range) return points;
  const inside = (p) => p[0] >= range[0] && p[0] <= range[1];
  return points.filter((p, i) => inside(p) || (points[i + 1] && inside(points[i + 1])) || (i && inside(points[i - 1])));
}

const known = new WeakMap(); // points → their extents without a range: a curve is drawn again and again

// The smallest and the largest value on an axis, of points between two places of x.
export function extent(points, axis, range) {
  if (!range && known.get(points)?.[axis]) return known.get(points)[axis];
  let low = Infinity, high = -Infinity;
  for (const p of points) {
    if (range && (p[0] < range[0] || p[0] > range[1])) continue;
    if (p[axis] < low) low = p[axis];
    if (p[axis] > high) high = p[axis];
  }
  if (!range) known.set(points, Object.assign(known.get(points) ?? [], { [axis]: [low, high] }));
  return [low, high];
}

// The same of several curves.
export function extents(lines, axis, range) {
  return lines.map(({ points }) => extent(points, axis, range)).reduce(([low, high], [a, b]) => [Math.min(low, a), Math.max(high, b)], [Infinity, -Infinity]);
}

export const column = (points, key) => points.filter((p) => typeof p[key] === "number").map((p) => [p.step, p[key]]);

// The columns of /metrics as the events of a stream would have told them.
export function pointsOf(columns) {
  const names = Object.keys(columns);
  return (columns.step || []).map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));
}
