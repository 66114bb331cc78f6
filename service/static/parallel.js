// Parallel coordinates: an axis for every setting in which jobs differ and one for what came of it; a line for each job.
import { node } from "./curve.js";
import { h, spoken } from "./dom.js";
import { exact } from "./numbers.js";
import { shown } from "./settings.js";

const MOST_AXES = 8; // of settings; the table below has all of them
const MOST_NAMES = 8; // values that an axis of words has room to name
const HEIGHT = 250, TOP = 34, BOTTOM = 16, MARGIN = 70;
const GAP = 150; // between axes, at least
const WIDEST = 1000;
const LOGARITHMIC = 20; // times the smallest value, from which an axis is

// rows: [[setting, [value of each job]]]; outcome: [name, [value of each job]].
// Returns {element, point(index)}: `point` brings one job out, or none.
export function parallel(runs, rows, outcome) {
  const axes = [...rows.slice(0, MOST_AXES), outcome].map(([name, values]) => axis(name, values));
  const gap = Math.max(GAP, (Math.min(WIDEST, innerWidth) - 2 * MARGIN) / (axes.length - 1));
  const width = 2 * MARGIN + (axes.length - 1) * gap;
  const x = (i) => MARGIN + i * gap;
  const svg = node("svg", { class: "parallel", viewBox: `0 0 ${width} ${HEIGHT}`, role: "group", "aria-label": "Settings and outcome of each job" });
  svg.style.minWidth = `${Math.min(width, GAP * axes.length)}px`;
  const said = h("p", { class: "soft facts-line", role: "status" }, HINT);
  svg.append(...axes.map((_, i) => node("line", { class: "axis", x1: x(i), x2: x(i), y1: TOP + 12, y2: HEIGHT - BOTTOM })));
  const lines = runs.map((run, index) => {
    const about = `${run.name}: ${axes.map((one) => `${one.title} ${one.text(index)}`).join(", ")}`;
    const places = axes.map((one, i) => [x(i), one.place(index)]).filter(([, y]) => y !== null);
    const d = places.map(([a, b], i) => `${i ? "L" : "M"}${a} ${b.toFixed(1)}`).join("");
    const group = node("g", { class: `job ${run.look}`, role: "img", tabindex: "0", "aria-label": about });
    group.append(node("path", { class: "reach", d }), node("path", { class: `line ${run.look}`, d }), ...places.map(([cx, cy]) => node("circle", { class: "dot", cx, cy, r: 3.5 })));
    for (const [event, to] of [["pointerenter", index], ["pointerleave", null], ["focus", index], ["blur", null]]) group.addEventListener(event, () => point(to));
    return { group, about };
  });
  svg.append(...lines.map(({ group }) => group), ...axes.flatMap((one, i) => named(one, x(i))));

  function point(index) {
    svg.classList.toggle("pointing", index !== null);
    lines.forEach(({ group }, i) => group.classList.toggle("pointed", i === index));
    said.textContent = index === null ? HINT : lines[index].about;
  }
  return { element: h("figure", {}, h("figcaption", {}, h("strong", {}, "From settings to outcome")), h("div", { class: "scroll" }, svg), said), point };
}

const HINT = "Point at a line, or go to it with the Tab key, to bring a job out.";

// A scale from values to places: of numbers, logarithmic where they span much, or of words in their order.
function axis(name, values) {
  const title = spoken(name.split(".").at(-1));
  const known = values.filter((value) => value !== undefined && value !== null);
  const text = (index) => (typeof values[index] === "number" ? exact(values[index], 4) : shown(values[index]));
  const at = (share) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM - 12);
  if (known.length && known.every((value) => typeof value === "number")) {
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const scale = low > 0 && high / low >= LOGARITHMIC ? Math.log : (value) => value;
    const share = (value) => (high === low ? 0.5 : (scale(value) - scale(low)) / (scale(high) - scale(low)));
    return { title, text, place: (index) => (typeof values[index] === "number" ? at(share(values[index])) : null), marks: [...new Set([low, high])].map((value) => [exact(value, 3), at(share(value))]) };
  }
  const words = [...new Set(values.map(shown))];
  const share = (word) => (words.length > 1 ? words.indexOf(word) / (words.length - 1) : 0.5);
  return { title, text, place: (index) => at(share(shown(values[index]))), marks: words.length <= MOST_NAMES ? words.map((word) => [word, at(share(word))]) : [] };
}

function named({ title, marks }, x) {
  return [
    node("text", { class: "tick strong", x, y: 16, "text-anchor": "middle" }, title),
    ...marks.map(([text, y]) => node("text", { class: "tick", x: x + 7, y: y - 5 }, text.length > 16 ? `${text.slice(0, 15)}…` : text)),
  ];
}
