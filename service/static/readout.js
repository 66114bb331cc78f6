// What a chart says of one place on its x axis: a rule there, a dot on each line and their values, nearest to the pointer
// first. It lies over the curves, which stay as they are drawn.
import { HEIGHT, WIDTH } from "./curve.js";
import { h } from "./dom.js";
import { exact, number } from "./numbers.js";
import { inside, nearest } from "./points.js";

const MOST_TOLD = 8; // lines
const MOST_SAID = 4; // lines that are read out
const SLACK = 0.02; // share of the axis by which a line may end before a place and still be told there
const LEAP = 10; // steps of a page key over the axis

// at(share, height) and key(name) read a place; shows(plot) follows what is drawn: null, or {range, x, y, lines, unit}.
export function readout(svg) {
  const rule = h("div", { class: "rule" }), box = h("div", { class: "readout" });
  const element = h("div", { class: "reading", hidden: true, "aria-hidden": "true" }, rule, box);
  let plot = null, place = null, due = null; // place: {at, height}, of the data and of the chart

  const soon = () => { due ??= requestAnimationFrame(draw); };
  function draw() {
    cancelAnimationFrame(due);
    due = null;
    const found = plot && place && readingOf(plot, place);
    element.hidden = !found;
    if (!found) return;
    const across = (100 * plot.x.at(found.at)) / WIDTH, right = across > 50;
    rule.style.left = `${across}%`; // the page's policy refuses style attributes
    box.style.cssText = right ? `right: calc(${100 - across}% + .6rem)` : `left: calc(${across}% + .6rem)`;
    const told = found.lines.slice(0, MOST_TOLD), more = found.lines.length - told.length;
    box.replaceChildren(h("strong", {}, `${plot.unit} ${exact(found.at, 6)}`), ...told.map(({ line, value }) => h("span", { class: `key ${line.look}` }, h("span", {}, line.name), h("b", {}, number(value)))),
      ...(more ? [h("span", { class: "soft" }, `and ${more} more`)] : []));
    element.replaceChildren(rule, ...told.map(({ line, y }) => dot(line.look, across, y)), box);
  }
  function tell() {
    const found = plot && readingOf(plot, place ?? ending(plot));
    svg.setAttribute("role", found ? "slider" : "img");
    if (!found) { for (const name of ["valuenow", "valuemin", "valuemax", "valuetext"]) svg.removeAttribute(`aria-${name}`); return; }
    const about = { valuenow: found.at, valuemin: Math.min(plot.range[0], found.at), valuemax: Math.max(plot.range[1], found.at), valuetext: said(found, plot.unit) };
    for (const [name, value] of Object.entries(about)) svg.setAttribute(`aria-${name}`, value);
  }
  function go(to) {
    place = to;
    draw();
    tell();
  }
  return {
    element,
    shows(next) {
      plot = next;
      if (place) draw();
      if (place || document.activeElement !== svg) tell(); // not its end again and again while it trains
    },
    at(share, height) {
      if (!plot || share < -SLACK || share > 1 + SLACK) { place = null; soon(); return; }
      place = { at: plot.range[0] + share * (plot.range[1] - plot.range[0]), height };
      soon();
    },
    clear() { place = null; soon(); },
    // Whether a key is one that reads; then the place that is read may lie outside of the range that is shown.
    key(name) {
      if (!plot || !KEYS.has(name)) return null;
      const found = place && readingOf(plot, place);
      go(found ? moved(name, found, plot) : ending(plot));
      return place.at;
    },
  };
}

const KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"]);

function dot(look, across, y) {
  const element = h("i", { class: `spot ${look}` });
  Object.assign(element.style, { left: `${across}%`, top: `${(100 * y) / HEIGHT}%` });
  return element;
}

function said({ at, lines }, unit) {
  const told = lines.slice(0, MOST_SAID).map(({ line, value }) => `${line.name} ${number(value)}`).join(", ");
  return `${unit} ${exact(at, 6)}: ${told}${lines.length > MOST_SAID ? `, and ${lines.length - MOST_SAID} more` : ""}`;
}

// The lines at the point next to a place, of the line that is nearest to it. A line that is not there is left out.
function readingOf({ range, y, lines }, { at, height }) {
  const slack = SLACK * (range[1] - range[0]);
  const of = (place) => lines.filter(({ drawn: { x: steps } }) => steps.length && steps[0] - slack <= place && place <= steps.at(-1) + slack).map((line) => {
    const { x: steps, y: values } = line.drawn, near = nearest(steps, place);
    const i = steps[near] < range[0] ? near + 1 : steps[near] > range[1] ? near - 1 : near; // one that is seen
    return { line, i, at: steps[i], value: values[i], y: y.at(values[i]) };
  }).filter((one) => one.at >= range[0] && one.at <= range[1]);
  const far = (one) => Math.abs(one.y - height);
  const some = of(at);
  if (!some.length) return null;
  const first = some.reduce((best, one) => (far(one) < far(best) ? one : best));
  const others = of(first.at).filter((one) => one.line !== first.line).sort((a, b) => far(a) - far(b));
  return { at: first.at, lines: [first, ...others] };
}

// Where keys begin: at the last point that is seen, of the line that ends last.
function ending({ range, y, lines }) {
  let best = null;
  for (const { drawn } of lines) {
    const seen = inside(drawn, range), last = seen.x.length - 1;
    if (last >= 0 && (!best || seen.x[last] > best.at)) best = { at: seen.x[last], height: y.at(seen.y[last]) };
  }
  return best ?? { at: range[1], height: 0 };
}

// Left and right along the line that is read, up and down to the next line, by pages and to the ends of what is seen.
function moved(name, { lines }, { range, y }) {
  const [first] = lines, { x, y: values } = first.line.drawn;
  const to = (i) => { const kept = Math.min(x.length - 1, Math.max(0, i)); return { at: x[kept], height: y.at(values[kept]) }; };
  const leap = (range[1] - range[0]) / LEAP;
  if (name === "ArrowLeft") return to(first.i - 1);
  if (name === "ArrowRight") return to(first.i + 1);
  if (name === "PageDown") return to(Math.min(nearest(x, first.at - leap), first.i - 1));
  if (name === "PageUp") return to(Math.max(nearest(x, first.at + leap), first.i + 1));
  if (name === "Home" || name === "End") return to(nearest(x, range[name === "Home" ? 0 : 1]));
  const sign = name === "ArrowUp" ? -1 : 1; // of the next line above or below
  const next = lines.filter((one) => sign * (one.y - first.y) > 0).reduce((best, one) => (!best || sign * (one.y - best.y) < 0 ? one : best), null) ?? first;
  return { at: next.at, height: next.y };
}
