// One job: live curves, facts, downloads, and the moves that its state allows.
import { answered, call, download, follow } from "./api.js";
import { connection } from "./app.js";
import { calls } from "./calls.js";
import { charts } from "./charts.js";
import { alert, duration, ENDED, h, renew, status } from "./dom.js";
import { figures } from "./figures.js";
import { learned } from "./learned.js";
import { number } from "./numbers.js";
import { column } from "./points.js";

const MOVES = {
  queued: ["pause", "cancel"], running: ["pause", "cancel"], pausing: ["resume", "cancel"], paused: ["resume", "cancel"],
};
const FRAME_MS = 150;

export async function jobView(main, id) {
  let job = await call(`/v1/jobs/${id}`);
  const head = h("div"), facts = h("dl", { class: "facts" }), measured = h("div", { class: "tables" }), lines = charts(), pictures = h("div"), after = h("div"), again = h("div", {}, ...calls(job)), trouble = h("div");
  main.replaceChildren(trouble, head, facts, lines.element, measured, pictures, after, again);
  const points = [];
  const gone = new AbortController();
  let due = null, shown = false;

  function draw() {
    due = null;
    renew(head, ...header(job, move));
    renew(facts, ...factsOf(job));
    measured.replaceChildren(...figures(ENDED.has(job.status) ? job.metrics : { ...job.metrics, ...points.at(-1) }));
    lines.show(curves(points));
    renew(after, ...downloads(job));
    if (!shown && ENDED.has(job.status) && job.links.weights) {
      shown = true;
      learned(pictures, job, gone.signal);
    }
  }
  const soon = () => { due ??= setTimeout(draw, FRAME_MS); };
  let asking = false, stale = false;
  // One question at a time, however many events ask for it; the last event is always followed by an answer.
  async function refresh() {
    if (asking) { stale = true; return; }
    asking = true;
    try {
      do {
        stale = false;
        job = await answered(`/v1/jobs/${id}`, gone.signal);
        soon();
      } while (stale);
    } catch (error) { trouble.replaceChildren(alert(error)); }
    asking = false;
  }
  async function move(action) {
    trouble.replaceChildren();
    try { job = await call(`/v1/jobs/${id}/${action}`, { method: "POST" }); soon(); }
    catch (error) { trouble.replaceChildren(alert(error)); }
  }

  draw();
  const stop = follow(`/v1/jobs/${id}/events`, {
    metric: (data) => { points.push(data); soon(); },
    checkpoint: refresh,
    status: refresh,
    reset: () => { points.length = 0; },
    end: () => { stop(); connection(true); refresh(); },
  }, connection);
  return () => { stop(); gone.abort(); clearTimeout(due); };
}

function header(job, move) {
  const buttons = (MOVES[job.status] || []).map((action) => h("button", { onclick: () => move(action) }, action[0].toUpperCase() + action.slice(1)));
  const { epoch = 0, epochs = 0 } = job.progress || {};
  const error = job.error ? alert({ message: `${job.error.code}: ${job.error.message}` }) : null;
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", {}, job.name || job.id), h("span", { class: "soft" }, `${job.dataset} · `), status(job.status),
        job.status_reason ? h("span", { class: "soft" }, ` (${job.status_reason})`) : null),
      h("div", { class: "actions" }, ...buttons, job.links.weights ? h("a", { class: "button", href: `#/fork/${job.id}` }, "Fork") : null,
        h("a", { class: "button", href: `#/new/${job.id}` }, "Change and retry"))),
    error,
    ENDED.has(job.status) ? null : h("progress", { max: epochs || 1, value: epoch, "aria-label": `epoch ${epoch} of ${epochs}` }),
  ].filter(Boolean);
}

function factsOf(job) {
  const { epoch = 0, epochs = "?" } = job.progress || {};
  const hidden = job.spec?.net?.hidden || [];
  const rows = job.environment?.rows;
  const pairs = [
    ["Epoch", `${epoch} of ${epochs}`],
    ["Took", duration(job)],
    ["Hidden layers", hidden.join(" – ") || "none (linear)"],
    ["Parameters", job.environment?.parameters?.toLocaleString("en")],
    ["Rows", rows && [rows.train, rows.validation, rows.test].filter(Boolean).join(" + ")],
    ["Device", [job.device, job.backend].filter(Boolean).join(", ") || "–"],
    ["Attempt", job.attempt > 1 ? String(job.attempt) : null],
  ];
  return pairs.filter(([, value]) => value).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)));
}

function curves(points) {
  const line = (name, key, look = "") => ({ name, look, points: column(points, key) });
  const scored = points.some((p) => "val_accuracy" in p) ? ["Accuracy", "val_accuracy"] : ["R²", "val_r2"];
  return [
    { title: "Loss", log: true, lines: [line("training", "train_loss"), line("validation", "val_loss", "second")] },
    { title: scored[0], lines: [line("validation", scored[1], "second")] },
    { title: "Learning rate", lines: [line("of a step", "learning_rate")] },
    { title: "Throughput", lines: [line("samples per second", "samples_per_s")] },
  ].map((figure) => ({ ...figure, lines: figure.lines.filter((l) => l.points.length) })).filter((figure) => figure.lines.length);
}

function downloads(job) {
  if (job.status !== "succeeded") return [];
  const save = (text, path) => h("button", { onclick: () => download(`/v1/jobs/${job.id}/${path}`) }, text);
  return [h("h2", {}, "Weights"), h("div", { class: "actions" },
    save("npz", "weights?format=npz"), save("safetensors", "weights?format=safetensors"), save("ONNX", "weights?format=onnx"), save("PyTorch", "weights?format=torch"),
    save("predict.py", "weights?format=predict.py"), save("curve as CSV", "metrics?format=csv"), save("model card", "card?format=md"))];
}
