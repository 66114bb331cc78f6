// All jobs, newest first: filtered, live, and chosen to be compared or cancelled.
import { answered, call, follow } from "./api.js";
import { connection } from "./app.js";
import { alert, ENDED, h } from "./dom.js";
import { filters } from "./filters.js";
import { row } from "./jobrow.js";
import { selection } from "./selection.js";

const PAGE = 50;
const MOST_POINTS = 120; // of a sparkline
const MOST_FOLLOWED = 100;
const PERIOD_MS = 5000;
const HEADINGS = [["Chosen", "tick-box"], ["Job", ""], ["Status", ""], ["Loss", "number hide-narrow"], ["Curve", ""], ["Validation", "number"], ["Started", "hide-narrow"]];

export async function jobsView(main, query) {
  const gone = new AbortController();
  const rows = new Map(); // every row that was made, by the job's id
  const curveless = new Set(); // ids of those that wait for a curve
  const trouble = h("div"), body = h("tbody"), empty = h("div");
  const chosen = selection((failures) => trouble.replaceChildren(...failures.map(([job, error]) => alert({ message: `${job.name || job.id}: ${error.message}` }))));
  const filter = filters(query, (server) => (server ? load().catch(tell) : narrow()));
  const more = h("button", { hidden: true, onclick: () => older().catch(tell) }, "Older jobs");
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...HEADINGS.map(([text, look]) => h("th", { scope: "col", class: look }, look === "tick-box" ? h("span", { class: "unseen" }, text) : text)))), body);
  let listed = [], last = null, first = "", stop = () => {}, timer = null;
  const tell = (error) => trouble.replaceChildren(alert(error));

  const known = (job) => {
    if (!rows.has(job.id)) {
      const made = row(job, chosen.box(job));
      rows.set(job.id, made);
      if (ENDED.has(job.status)) curveless.add(job.id);
    }
    return rows.get(job.id);
  };
  // The curves of jobs that ended before they were listed, all in one answer.
  async function histories() {
    const ids = [...curveless];
    if (!ids.length) return;
    curveless.clear();
    const { data } = await answered(`/v1/metrics?names=train_loss&max_points=${MOST_POINTS}&jobs=${ids.join(",")}`, gone.signal);
    for (const { job, curves } of data) rows.get(job).history(curves.train_loss?.values ?? []);
  }
  function narrow() {
    for (const one of listed) one.element.hidden = !filter.fits(one.job);
    const some = listed.some((one) => !one.element.hidden);
    table.hidden = !some;
    empty.replaceChildren(...(some ? [] : nothing(filter)));
  }
  function place(page) {
    body.replaceChildren(...listed.map((one) => one.element));
    last = page.last_id;
    more.hidden = !page.has_more;
    narrow();
    watch();
    histories();
  }
  function watch() {
    stop();
    const live = listed.filter((one) => !ENDED.has(one.job.status)).slice(0, MOST_FOLLOWED);
    const of = (id) => rows.get(id.split(":")[0]);
    for (const one of live) one.restart();
    stop = live.length ? follow(`/v1/events?jobs=${live.map((one) => one.job.id).join(",")}`, {
      metric: (data, id) => of(id)?.metric(data),
      status: (data, id) => { of(id)?.status(data); chosen.changed(); },
      reset: (data, id) => of(id)?.restart(),
    }, connection) : () => {};
  }
  const idsOf = (page) => page.data.map((job) => job.id).join(",");
  async function load() {
    const asked = filter.server(), page = await call(`/v1/jobs?limit=${PAGE}${asked}`);
    if (gone.signal.aborted || asked !== filter.server()) return;
    trouble.replaceChildren();
    first = idsOf(page);
    listed = page.data.map(known);
    place(page);
  }
  async function older() {
    const asked = filter.server(), from = last, page = await answered(`/v1/jobs?limit=${PAGE}&after=${from}${asked}`, gone.signal);
    if (from !== last || asked !== filter.server()) return;
    listed.push(...page.data.map(known));
    place(page);
  }
  // New jobs come to the top by themselves, as long as no older ones were asked for.
  async function renew() {
    const asked = filter.server();
    const page = await call(`/v1/jobs?limit=${PAGE}${asked}`).catch(() => null);
    connection(page !== null);
    if (page && asked === filter.server() && listed.length <= PAGE && idsOf(page) !== first) await load().catch(() => {});
    if (!gone.signal.aborted) timer = setTimeout(renew, PERIOD_MS);
  }

  await load();
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Jobs"), h("a", { class: "button", href: "#/new" }, "New job")),
    filter.element, trouble, table, empty, h("p", {}, more), chosen.element);
  timer = setTimeout(renew, PERIOD_MS);
  return () => { gone.abort(); stop(); clearTimeout(timer); };
}

function nothing(filter) {
  if (filter.any) return [h("div", { class: "empty" }, h("p", {}, "No job fits."), h("button", { onclick: () => filter.clear() }, "Show all"))];
  return [h("div", { class: "empty" }, h("p", {}, "No job yet."), h("a", { class: "button", href: "#/new" }, "Train the first net"))];
}
