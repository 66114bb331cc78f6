// All jobs: status, progress and a sparkline each, live for those that are not finished.
import { answered, call, follow } from "./api.js";
import { connection } from "./app.js";
import { number, sparkline } from "./curve.js";
import { ago, h, status } from "./dom.js";

const PAGE = 50;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export async function jobsView(main) {
  const page = await call(`/v1/jobs?limit=${PAGE}`);
  if (!page.data.length) {
    main.replaceChildren(
      h("div", { class: "empty" }, h("p", {}, "No job yet."), h("a", { class: "button", href: "#/new" }, "Train the first net")),
    );
    return () => {};
  }
  const rows = new Map(page.data.map((job) => [job.id, row(job)]));
  const body = h("tbody", {}, ...[...rows.values()].map((r) => r.element));
  const more = h("button", { hidden: !page.has_more }, "Older jobs");
  const gone = new AbortController();
  let last = page.last_id;
  more.addEventListener("click", async () => {
    const next = await answered(`/v1/jobs?limit=${PAGE}&after=${last}`, gone.signal);
    body.append(...next.data.map((job) => row(job).element));
    last = next.last_id;
    more.hidden = !next.has_more;
  });
  main.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, "Jobs"), h("a", { class: "button", href: "#/new" }, "New job")),
    h("table", {}, h("thead", {}, h("tr", {}, ...["Job", "Status", "Loss", "", "Validation", "Started"].map(
      (t, i) => h("th", { scope: "col", class: i === 5 ? "hide-narrow" : i === 2 || i === 4 ? "number" : "" }, t)))), body),
    h("p", {}, more),
  );
  const live = page.data.filter((job) => !ENDED.has(job.status)).map((job) => job.id);
  for (const job of page.data) if (ENDED.has(job.status) && job.status !== "cancelled") rows.get(job.id).history(gone.signal);
  const of = (id) => rows.get(id.split(":")[0]);
  const stop = live.length ? follow(`/v1/events?jobs=${live.join(",")}`, {
    metric: (data, id) => of(id)?.metric(data),
    status: (data, id) => of(id)?.status(data),
  }, connection) : () => {};
  return () => { gone.abort(); stop(); };
}

function row(job) {
  const loss = h("td", { class: "number" }, number(job.metrics?.train_loss));
  const spark = h("td", {}, sparkline([]));
  const validation = h("td", { class: "number" }, score(job.metrics));
  const state = h("td", {}, status(job.status));
  const values = [];
  const element = h("tr", {},
    h("td", {}, h("a", { href: `#/jobs/${job.id}` }, job.name || job.id), h("small", {}, job.dataset)),
    state, loss, spark, validation, h("td", { class: "hide-narrow soft" }, ago(job.started_at || job.created_at)));
  const draw = () => spark.replaceChildren(sparkline(values));
  return {
    element,
    status: (data) => state.replaceChildren(status(data.status)),
    metric(data) {
      if (data.train_loss !== null) values.push(data.train_loss);
      loss.textContent = number(data.train_loss);
      validation.textContent = score(data);
      draw();
    },
    async history(signal) {
      const { columns } = await answered(`/v1/jobs/${job.id}/metrics?max_points=120`, signal).catch(() => ({ columns: {} })); // deleted meanwhile
      values.push(...(columns.train_loss || []).filter((v) => v !== null));
      draw();
    },
  };
}

const score = (metrics) => number(metrics?.val_accuracy ?? metrics?.val_r2 ?? metrics?.val_loss);
