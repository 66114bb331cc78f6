// One row of the list of jobs: status, progress, figures and a sparkline, changed in place as events arrive.
import { sparkline } from "./curve.js";
import { ago, dataset, ENDED, h, status } from "./dom.js";
import { number } from "./numbers.js";

export function row(job, box) {
  const loss = h("td", { class: "number hide-narrow" }, number(job.metrics?.train_loss));
  const spark = h("td", {}, sparkline([]));
  const validation = h("td", { class: "number" }, score(job.metrics));
  const state = h("td");
  const values = [];
  const element = h("tr", {},
    h("td", { class: "tick-box" }, box),
    h("td", {}, h("a", { href: `#/jobs/${job.id}` }, job.name || job.id), h("small", {}, dataset(job), ...(job.tags || []).map((tag) => ` #${tag}`))),
    state, loss, spark, validation, h("td", { class: "hide-narrow soft" }, ago(job.started_at || job.created_at)));
  let due = null;
  function draw() {
    due = null;
    spark.replaceChildren(sparkline(values));
    state.replaceChildren(status(job.status), ...progress(job));
  }
  const soon = () => { due ??= requestAnimationFrame(draw); };
  draw();
  return {
    element, job,
    status(data) { job.status = data.status; soon(); },
    metric(data) {
      if (data.train_loss !== null) values.push(data.train_loss);
      job.progress = { ...job.progress, epoch: data.epoch };
      loss.textContent = number(data.train_loss);
      validation.textContent = score(data);
      soon();
    },
    restart() { values.length = 0; },
    history(losses) { values.push(...losses); soon(); },
  };
}

function progress(job) {
  const { epoch = 0, epochs = 0 } = job.progress || {};
  if (ENDED.has(job.status) || !epoch) return [];
  return [h("progress", { max: epochs || 1, value: epoch, "aria-label": `epoch ${epoch} of ${epochs}` })];
}

const score = (metrics) => number(metrics?.val_accuracy ?? metrics?.val_r2 ?? metrics?.val_loss);
