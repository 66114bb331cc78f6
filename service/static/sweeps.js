// Sweeps: the list of them, and one with its best job, its curves, the way from settings to the outcome, and every job.
import { answered, call, Problem } from "./api.js";
import { connection } from "./app.js";
import { sweepCalls } from "./calls.js";
import { charts } from "./charts.js";
import { lookOf } from "./compare.js";
import { ago, alert, dataset, ENDED, h, reason, renew, spoken, status, titled } from "./dom.js";
import { exact, number } from "./numbers.js";
import { parallel } from "./parallel.js";
import { curve } from "./points.js";
import { flat, shown } from "./settings.js";

const PERIOD_MS = 2000, RARELY_MS = 10000;
const MOST_CURVES = 16; // lines that colours and dashes tell apart
const MOST_WAYS = 200; // jobs whose settings are drawn, the best first
const PAGE = 50;
const HEADS = ["Sweep", "Status", "Data set", "Plan", "Ended", "Started"];

export async function sweepsView(main) {
  const gone = new AbortController(), body = h("tbody"), trouble = h("div");
  const more = h("button", { hidden: true, onclick: () => older().catch((error) => trouble.replaceChildren(alert(error))) }, "Older sweeps");
  const row = (sweep) => h("tr", {}, h("td", {}, h("a", { href: `#/sweeps/${sweep.id}` }, sweep.name || sweep.id)), h("td", {}, status(sweep.status)),
    h("td", {}, dataset(sweep)), h("td", {}, sweep.kind), h("td", { class: "number" }, `${ended(sweep)}/${sweep.n_jobs}`), h("td", { class: "soft" }, ago(sweep.created_at)));
  let last = null;

  async function older() {
    const from = last, page = await answered(`/v1/sweeps?limit=${PAGE}${from ? `&after=${from}` : ""}`, gone.signal);
    if (from !== last) return; // they came already
    body.append(...page.data.map(row));
    last = page.last_id;
    more.hidden = !page.has_more;
    trouble.replaceChildren();
  }

  await older();
  const start = h("a", { class: "button", href: "#/sweeps/new" }, "New sweep");
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Sweeps"), start), trouble, ...(body.hasChildNodes() ? [h("div", { class: "scroll" }, table(HEADS, body, ["Ended"])), h("p", {}, more)]
    : [h("div", { class: "empty" }, h("p", {}, "None yet: many jobs that differ in a few settings, and which is best."), h("a", { class: "button", href: "#/sweeps/new" }, "Start the first"))]));
  return () => gone.abort();
}

export async function sweepView(main, id) {
  const path = `/v1/sweeps/${id}?curves=${MOST_CURVES}&max_points=200`;
  const gone = new AbortController(), head = h("h1"), facts = h("dl", { class: "facts" }), trouble = h("div"), lines = charts(gone.signal, "epoch"), ways = h("div", { class: "ways" }), jobs = h("div"), calls = h("div");
  const cancel = h("button", { class: "danger", onclick: stopAll }, "Cancel all");
  let timer = null, drawn = "", begun = 0;

  async function stopAll() {
    cancel.disabled = true;
    try { await call(`/v1/sweeps/${id}/cancel`, { method: "POST" }); trouble.replaceChildren(); } catch (error) { trouble.replaceChildren(alert(error)); }
    cancel.disabled = false;
    again();
  }
  async function look() {
    clearTimeout(timer);
    const sweep = await call(path);
    if (gone.signal.aborted) return;
    connection(true);
    draw(sweep);
    if (!ENDED.has(sweep.status)) soon();
    else if (sweep.kind === "list" && sweep.status !== "cancelled") soon(RARELY_MS); // it may get further points
  }
  function soon(wait = PERIOD_MS) {
    clearTimeout(timer);
    timer = setTimeout(again, wait);
  }
  const again = () => look().catch((error) => {
    if (gone.signal.aborted) return;
    const refused = error instanceof Problem && error.status >= 400 && error.status < 500; // as of a sweep that was deleted
    connection(refused);
    if (refused) trouble.replaceChildren(alert(error)); else soon();
  });

  function draw(sweep) {
    const next = JSON.stringify(sweep);
    if (next === drawn) return;
    drawn = next;
    const ranked = inOrder(sweep), objective = spoken(sweep.objective);
    head.textContent = sweep.name || `Sweep on ${sweep.dataset_name}`;
    cancel.hidden = ENDED.has(sweep.status);
    const best = sweep.best && [h("a", { href: `#/jobs/${sweep.best.id}` }, nameOf(sweep.best)), `: ${number(sweep.best.objective)}`];
    renew(facts, ...[["status", status(sweep.status)], ["jobs ended", `${ended(sweep)} of ${sweep.n_jobs}`], ["decides", `${objective}, ${sweep.direction === "minimize" ? "less" : "more"} is better`], ["best", ...(best || ["–"])]]
      .map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, ...value))));
    lines.show(curvesOf(sweep, ranked));
    if (!ways.contains(document.activeElement)) ways.replaceChildren(...waysOf(sweep, ranked, objective)); // not under a person's hands
    if (begun !== sweep.n_jobs) calls.replaceChildren(...sweepCalls(sweep)); // of a list that grew they say more
    begun = sweep.n_jobs;
    const [paths, shared] = pathsOf(sweep);
    renew(jobs, h("h2", {}, "Jobs, the best first"), ...(shared.length ? [h("p", { class: "soft facts-line" }, `The same in all: ${shared.join(", ")}`)] : []), h("div", { class: "scroll" }, table(["Job", ...paths, titled(sweep.objective), "Epoch", "Status"], h("tbody", {}, ...ranked.map((job) =>
      h("tr", {}, h("td", {}, job.id === sweep.best?.id ? "★ " : "", h("a", { href: `#/jobs/${job.id}` }, nameOf(job))), ...paths.map((one) => h("td", {}, told(pointOf(job).get(one)))),
        h("td", { class: job.id === sweep.best?.id ? "number best" : "number" }, number(job.objective)), h("td", { class: "number" }, String(job.epoch)),
        h("td", {}, status(job.status), reason(job) ? h("small", {}, reason(job)) : null)))), [titled(sweep.objective), "Epoch"])));
  }

  await look();
  main.replaceChildren(h("div", { class: "head" }, head, h("div", { class: "actions" }, cancel)), trouble, facts, lines.element, ways, jobs, calls);
  return () => { gone.abort(); clearTimeout(timer); };
}

const ended = (sweep) => [...ENDED].reduce((sum, one) => sum + (sweep.counts[one] || 0), 0);
const nameOf = (job) => job.name || job.id;
const told = (value) => (typeof value === "number" ? exact(value, 4) : shown(value));
// What a job's point sets, by path; a part that is set as a whole is told setting by setting.
const pointOf = (job) => new Map(Object.entries(job.point).flatMap(([path, value]) => flat(value, path)));

// The paths in which jobs differ, and what those say that are the same in all of several.
function pathsOf(sweep) {
  const points = sweep.jobs.map(pointOf), paths = [...new Set(points.flatMap((point) => [...point.keys()]))];
  const same = (path) => points.length > 1 && points.every((point) => point.get(path) === points[0].get(path));
  return [paths.filter((path) => !same(path)), paths.filter(same).map((path) => `${path} ${told(points[0].get(path))}`)];
}

function inOrder(sweep) {
  const sign = sweep.direction === "maximize" ? -1 : 1;
  const place = (job) => (job.objective === null ? Infinity : sign * job.objective);
  return [...sweep.jobs].sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
}

function table(heads, body, numbers) {
  return h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col", class: numbers.includes(text) ? "number" : null }, text)))), body);
}

// One chart for each figure that the curves have; a job has the same colour in all of them.
function curvesOf(sweep, ranked) {
  const having = ranked.filter((job) => sweep.curves[job.id]);
  const names = [...new Set(having.flatMap((job) => Object.keys(sweep.curves[job.id])))].filter((name) => name !== "epoch");
  return names.map((name) => ({
    title: titled(name), log: name.endsWith("loss"), legend: false,
    lines: having.map((job, i) => ({ name: nameOf(job), look: lookOf(i), points: pointsOf(sweep.curves[job.id], name) })).filter((line) => line.points.x.length),
  })).filter((figure) => figure.lines.length);
}

function pointsOf(columns, name) {
  const known = (columns[name] || []).flatMap((value, i) => (typeof value === "number" ? [i] : []));
  return curve(known.map((i) => columns.epoch[i]), known.map((i) => columns[name][i]));
}

function waysOf(sweep, ranked, objective) {
  const some = ranked.filter((job) => job.objective !== null).slice(0, MOST_WAYS), [paths] = pathsOf(sweep);
  if (some.length < 2 || !paths.length) return [];
  const rows = paths.map((path) => [path, some.map((job) => pointOf(job).get(path))]);
  return [parallel(some.map((job, i) => ({ name: nameOf(job), look: lookOf(i) })), rows, [objective, some.map((job) => job.objective)]).element];
}
