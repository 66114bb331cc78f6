// Some jobs beside each other: their curves in one chart, their figures, the settings in which they differ.
import { answered, call, follow } from "./api.js";
import { connection } from "./app.js";
import { charts } from "./charts.js";
import { alert, duration, ENDED, h, renew, status, titled } from "./dom.js";
import { number } from "./numbers.js";
import { parallel } from "./parallel.js";
import { curve, EMPTY, recorder } from "./points.js";
import { differing, shown } from "./settings.js";

const MOST_POINTS = 500; // of a curve that is fetched: about the pixels of a chart
const MARGIN = 0.25; // of a part that is zoomed to, on either side, so that it can be moved
const TOGETHER = 6; // jobs whose curves are asked for at once, so that the first are soon there
const LANES = 2; // requests at a time: more would only wait for each other
const COLOURS = 8;
const FRAME_MS = 200;
const CURVES = [["Validation loss", "val_loss", true], ["Training loss", "train_loss", true], ["Accuracy", "val_accuracy", false], ["R²", "val_r2", false]];
const FIGURES = [["train_loss", -1], ["val_loss", -1], ["test_loss", -1], ["val_accuracy", 1], ["test_accuracy", 1], ["val_r2", 1], ["test_r2", 1]];

const OUTCOMES = ["val_loss", "train_loss"];

export const lookOf = (index) => `s${index % COLOURS}${index % (2 * COLOURS) >= COLOURS ? " dashed" : ""}`;

export async function compareView(main, list) {
  const ids = [...new Set(list.split(","))];
  const gone = new AbortController();
  const { runs, missing } = await found(ids);
  const lines = charts(gone.signal, "step", closer), keys = h("ul", { class: "keys" }), ways = h("div", { class: "ways" }), figures = h("div"), trouble = missing.map((id) => alert({ message: `There is no job ${id} any more.` }));
  let due = null, lined = null, stop = () => {};
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, `${runs.length} ${runs.length === 1 ? "job" : "jobs"} compared`)), ...trouble, keys, lines.element, ways, figures, ...differences(runs));

  let pointed = () => {};
  function draw() {
    due = null;
    renew(keys, ...runs.map((run, i) => keyOf(run, ids, draw, (to) => pointed(to === null ? null : i))));
    drawLines();
    renew(figures, ...final(runs));
    if (!ways.contains(document.activeElement)) pointed = lead(ways, runs); // not under a person's hands
  }
  function drawLines() {
    cancelAnimationFrame(lined);
    lined = null;
    lines.show(curvesOf(runs.filter((run) => !run.hidden)));
  }
  const soon = () => { due ??= setTimeout(draw, FRAME_MS); };
  const linesSoon = () => { lined ??= requestAnimationFrame(drawLines); };
  async function refresh(run) {
    run.job = await answered(`/v1/jobs/${run.job.id}`, gone.signal);
    soon();
  }
  // More points of the part that is zoomed to.
  function closer([low, high]) {
    const margin = MARGIN * (high - low), range = [low - margin, high + margin];
    const steps = { after_step: Math.max(-1, Math.ceil(range[0]) - 1), until_step: Math.max(0, Math.floor(range[1])) };
    const keep = (run, curves) => { run.detail = { range, curves }; linesSoon(); };
    told(runs.filter((run) => run.thinned && !run.hidden), steps, gone.signal, keep);
  }
  draw();
  const live = runs.filter((run) => !ENDED.has(run.job.status));
  const of = (id) => live.find((run) => id.startsWith(run.job.id));
  told(runs.filter((run) => !live.includes(run)), {}, gone.signal, (run, curves, points) => {
    Object.assign(run, { curves, thinned: points > MOST_POINTS });
    linesSoon();
  });
  if (live.length) {
    stop = follow(`/v1/events?jobs=${live.map((run) => run.job.id).join(",")}`, {
      metric: (data, id) => { of(id).curves.push(data); soon(); },
      reset: (data, id) => { of(id).curves.clear(); },
      status: (data, id) => refresh(of(id)),
    }, connection);
  }
  return () => { gone.abort(); stop(); clearTimeout(due); cancelAnimationFrame(lined); };
}

// The curves of jobs that have ended, some at a time: keep(run, curves, points) is called for each.
function told(runs, steps, signal, keep) {
  const waiting = [...runs];
  const lane = async () => { while (waiting.length) await ask(waiting.splice(0, TOGETHER), steps, signal, keep); };
  for (let i = 0; i < LANES; i += 1) lane();
}

async function ask(runs, steps, signal, keep) {
  const query = new URLSearchParams({ jobs: runs.map((run) => run.job.id), names: CURVES.map(([, key]) => key), max_points: MOST_POINTS, ...steps });
  const { data } = await answered(`/v1/metrics?${query}`, signal);
  for (const { job, curves, n_points: points } of data) keep(runs.find((run) => run.job.id === job), fixed(curves), points);
}

// Curves as the service told them, which do not change any more.
function fixed(curves) {
  const held = new Map(Object.entries(curves).map(([name, { steps, values }]) => [name, curve(steps, values)]));
  return { latest: null, curve: (name) => held.get(name) ?? EMPTY };
}

async function found(ids) {
  const { data: jobs } = await call(`/v1/jobs?ids=${ids.join(",")}`);
  if (!jobs.length) await call(`/v1/jobs/${ids[0]}`); // is refused: none is there
  const names = named(jobs), there = new Set(jobs.map((job) => job.id));
  const runs = jobs.map((job, i) => ({ job, name: names[i], look: lookOf(i), curves: recorder(), hidden: false }));
  return { runs, missing: ids.filter((id) => !there.has(id)) };
}

// Names that tell jobs apart: with the end of the id where several are called the same.
function named(jobs) {
  const called = jobs.map((job) => job.name || job.id);
  return called.map((name, i) => (called.indexOf(name) === called.lastIndexOf(name) ? name : `${name} · ${jobs[i].id.slice(-4)}`));
}

// From the settings in which jobs differ to their validation loss; nothing where there is no such way.
function lead(place, runs) {
  const rows = differing(runs.map((run) => run.job));
  const outcome = OUTCOMES.map((key) => [key, figuresOf(runs).map((m) => m[key])]).find(([, values]) => values.some((value) => typeof value === "number"));
  if (runs.length < 2 || !rows.length || !outcome) { place.replaceChildren(); return () => {}; }
  const drawn = parallel(runs, rows, outcome);
  place.replaceChildren(drawn.element);
  return drawn.point;
}

function keyOf(run, ids, draw, point) {
  const rest = ids.filter((id) => id !== run.job.id);
  return h("li", { class: run.hidden ? "off" : null },
    h("button", { class: `key ${run.look}`, "aria-pressed": String(!run.hidden), title: "show or hide its curves", onclick: () => { run.hidden = !run.hidden; draw(); },
      onpointerenter: () => point(run), onpointerleave: () => point(null) }, run.name),
    rest.length ? h("a", { href: `#/compare/${rest.join(",")}`, "aria-label": `leave out ${run.name}` }, "×") : null);
}

function curvesOf(runs) {
  return CURVES.map(([title, key, log]) => ({
    title, log, legend: false,
    lines: runs.map((run) => ({ name: run.name, look: run.look, points: run.curves.curve(key), detail: run.detail && { range: run.detail.range, points: run.detail.curves.curve(key) } })).filter((line) => line.points.x.length),
  })).filter((figure) => figure.lines.length);
}

const figuresOf = (runs) => runs.map((run) => (ENDED.has(run.job.status) ? run.job.metrics : { ...run.job.metrics, ...run.curves.latest }) || {});

// The figures of each job as they are now; the best of each column is set in bold.
function final(runs) {
  const latest = figuresOf(runs);
  const having = FIGURES.filter(([key]) => latest.some((m) => typeof m[key] === "number"));
  const best = new Map(having.map(([key, sign]) => [key, Math.max(...latest.filter((m) => typeof m[key] === "number").map((m) => sign * m[key])) * sign]));
  const cell = (m, key) => h("td", { class: runs.length > 1 && m[key] === best.get(key) ? "number best" : "number" }, number(m[key]));
  return [h("h2", {}, "Figures"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Job"), h("th", { scope: "col" }, "Status"),
      ...[...having.map(([key]) => titled(key)), "Epoch", "Took"].map((text) => h("th", { scope: "col", class: "number" }, text)))),
    h("tbody", {}, ...runs.map(({ job, name, look }, i) => h("tr", {}, h("td", {}, h("a", { class: `key ${look}`, href: `#/jobs/${job.id}` }, name)), h("td", {}, status(job.status)),
      ...having.map(([key]) => cell(latest[i], key)),
      h("td", { class: "number" }, String(latest[i].epoch ?? job.progress.epoch)), h("td", { class: "number" }, duration(job)))))))];
}

function differences(runs) {
  const rows = differing(runs.map((run) => run.job));
  const title = h("h2", {}, "Settings in which they differ");
  if (!rows.length) return [title, h("p", { class: "empty" }, runs.length > 1 ? "None: they were asked for the same." : "One job differs from nothing. Choose more in the list.")];
  return [title, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Settings" }, h("table", { class: "settings" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), ...runs.map((run) => h("th", { scope: "col" }, h("span", { class: `key ${run.look}` }, run.name))))),
    h("tbody", {}, ...rows.map(([name, values]) => h("tr", {}, h("th", { scope: "row" }, name), ...values.map((value) => h("td", {}, shown(value))))))))];
}
