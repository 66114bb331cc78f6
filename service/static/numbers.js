// Numbers as people read them, and the marks of an axis.

const MOST_DIGITS = 6; // of a mark

export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
  return formatOf(digits).format(value);
}

// The same of what counts something, such as steps, or names it, such as a seed: whole to its last digit.
export const exact = (value, digits) => (Number.isInteger(value) ? value.toLocaleString("en") : number(value, digits));

const formats = new Map(); // a format takes far longer to make than to use

function formatOf(digits) {
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en", { maximumSignificantDigits: digits }));
  return formats.get(digits);
}

// The marks of an axis: they have room for few characters (12,000 is 12K), and for as many as tell them apart.
export function marked(values) {
  for (let digits = 3; ; digits += 1) {
    const texts = values.map((value) => mark(value, digits));
    if (digits === MOST_DIGITS || new Set(texts).size === texts.length) return texts;
  }
}

function mark(value, digits) {
  if (Math.abs(value) >= 1e4) return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: digits });
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(digits - 1) : number(value, digits);
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

// Marks of a logarithmic axis: powers of ten, with 2 and 5 between them where there is room.
export function logTicks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return ticks(low, high, 4);
  const every = Math.max(1, Math.ceil(decades / 6));
  const marks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += every) {
    for (const m of decades < 2.5 ? [1, 2, 5] : [1]) marks.push(Number(`${m}e${power}`));
  }
  return marks.filter((t) => t >= low && t <= high);
}
