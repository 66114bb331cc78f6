// One job: live curves, facts, downloads, and the moves that its state allows.
import { answered, call, download, follow } from "./api.js";
import { connection } from "./app.js";
import { calls } from "./calls.js";
import { charts } from "./charts.js";
import { alert, dataset, duration, ENDED, h, reason, renew, status } from "./dom.js";
import { figures } from "./figures.js";
import { learned } from "./learned.js";
import { number } from "./numbers.js";
import { recorder } from "./points.js";

const MOVES = {
  queued: ["pause", "cancel"], running: ["pause", "cancel"], pausing: ["resume", "cancel"], paused: ["resume", "cancel"],
};
const FRAME_MS = 150;

export async function jobView(main, id) {
  const asked = call(`/v1/jobs/${id}`), gone = new AbortController(), record = recorder();
  const stop = follow(`/v1/jobs/${id}/events`, { // at once: its curve need not wait for its record
    metric: (data) => {
      if (!record.latest && !job?.environment?.parameters) refresh(); // what it runs on is known from the first point on
      record.push(data);
      soon();
    },
    log: ({ message }) => { said = message; soon(); },
    checkpoint: () => refresh(),
    status: () => refresh(),
    reset: () => record.clear(),
    end: () => { stop(); connection(true); refresh(); },
    refused: (error) => { if (job) tell(error); },
  }, connection);
  let job = null, said = null, due = null, drawn = -Infinity, shown = false, asking = false, stale = false;
  try { job = await asked; } catch (error) { stop(); throw error; }
  const head = h("div"), facts = h("dl", { class: "facts" }), measured = h("div", { class: "tables" }), lines = charts(gone.signal), pictures = h("div"), after = h("div"), again = h("div", {}, ...calls(job)), trouble = h("div");
  main.replaceChildren(trouble, head, facts, lines.element, measured, pictures, after, again);

  function draw() {
    due = null;
    drawn = record.latest ? performance.now() : -Infinity; // the first points are shown at once, others together
    const now = asOf(job, record.latest);
    renew(head, ...header(now, move, record.latest ? null : said));
    renew(facts, ...factsOf(now));
    renew(measured, ...figures(ENDED.has(job.status) ? job.metrics : { ...job.metrics, ...record.latest }));
    lines.show(curves(record));
    renew(after, ...downloads(job, save));
    if (!shown && ENDED.has(job.status) && job.links.weights) {
      shown = true;
      learned(pictures, job, save, gone.signal);
    }
  }
  function tell(error) {
    trouble.replaceChildren(alert(error));
    trouble.scrollIntoView({ block: "nearest" });
  }
  function soon() { if (job) due ??= setTimeout(draw, drawn + FRAME_MS - performance.now()); }
  // One question at a time, however many events ask for it; the last event is always followed by an answer.
  async function refresh() {
    if (asking || !job) { stale = true; return; }
    asking = true;
    try {
      do {
        stale = false;
        job = await answered(`/v1/jobs/${id}`, gone.signal);
        soon();
      } while (stale);
    } catch (error) { tell(error); }
    asking = false;
  }
  async function save(path) {
    trouble.replaceChildren();
    try { await download(path); } catch (error) { tell(error); }
  }
  async function move(action) {
    trouble.replaceChildren();
    try { job = await call(`/v1/jobs/${id}/${action}`, { method: "POST" }); soon(); } catch (error) { tell(error); }
  }

  draw();
  if (stale) refresh();
  return () => { stop(); gone.abort(); clearTimeout(due); };
}

// The job with the epoch of its newest point, which comes more often than its record.
function asOf(job, latest) {
  if (!latest || ENDED.has(job.status)) return job;
  return { ...job, progress: { ...job.progress, epoch: Math.max(job.progress?.epoch ?? 0, latest.epoch) } };
}

// The moves stand last, at the right edge: what appears beside them must not bring Cancel under a pointer that paused.
// `waits`: what the job has said before its first point.
function header(job, move, waits) {
  const buttons = (MOVES[job.status] || []).map((action) => h("button", { onclick: () => move(action) }, action[0].toUpperCase() + action.slice(1)));
  const { epoch = 0, epochs = 0 } = job.progress || {};
  const error = job.error ? alert({ message: `${job.error.code}: ${job.error.message}` }) : null;
  return [
    h("div", { class: "head" },
      h("div", {}, h("h1", {}, job.name || job.id), h("span", { class: "soft" }, dataset(job), " · "), status(job.status),
        reason(job) ? h("span", { class: "soft" }, ` (${reason(job)})`) : null),
      h("div", { class: "actions" }, job.links.weights ? h("a", { class: "button", href: `#/fork/${job.id}` }, "Fork") : null,
        h("a", { class: "button", href: `#/sweeps/new/${job.id}` }, "Sweep"), h("a", { class: "button", href: `#/new/${job.id}` }, "Change and retry"), ...buttons)),
    error,
    ...(ENDED.has(job.status) ? [] : [h("progress", { max: epochs || 1, value: epoch, "aria-label": `epoch ${epoch} of ${epochs}` }), waits && h("p", { class: "soft", role: "status" }, waits)]),
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

function curves(record) {
  const line = (name, key, look = "") => ({ name, look, points: record.curve(key) });
  const scored = record.has("val_accuracy") ? ["Accuracy", "val_accuracy"] : ["R²", "val_r2"];
  return [
    { title: "Loss", log: true, lines: [line("training", "train_loss"), line("validation", "val_loss", "second")] },
    { title: scored[0], lines: [line("validation", scored[1], "second")] },
    { title: "Learning rate", lines: [line("of a step", "learning_rate")] },
    { title: "Throughput", lines: [line("samples per second", "samples_per_s")] },
  ].map((figure) => ({ ...figure, lines: figure.lines.filter((l) => l.points.x.length) })).filter((figure) => figure.lines.length);
}

// save(path): an answer as a file.
function downloads(job, save) {
  const { weights, metrics, card } = job.links;
  if (!ENDED.has(job.status) || !weights) return [];
  const button = (text, path, format) => h("button", { onclick: () => save(`${path}${path.includes("?") ? "&" : "?"}format=${format}`) }, text);
  return [h("h2", {}, weights.includes("checkpoint=") ? "Weights of its last checkpoint" : "Weights"), h("div", { class: "actions" },
    button("npz", weights, "npz"), button("safetensors", weights, "safetensors"), button("ONNX", weights, "onnx"), button("PyTorch", weights, "torch"),
    button("predict.py", weights, "predict.py"), button("curve as CSV", metrics, "csv"), button("model card", card, "md"))];
}
