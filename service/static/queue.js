// The queue and the workers, asked again every few seconds.
import { call } from "./api.js";
import { connection } from "./app.js";
import { h, renew } from "./dom.js";

const PERIOD_MS = 3000;

export async function queueView(main) {
  const facts = h("dl", { class: "facts counts" }), table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workers" });
  async function draw() {
    const [queue, workers] = await Promise.all([call("/v1/queue"), call("/v1/workers")]);
    const counts = Object.entries(queue.jobs || queue.counts || queue).filter(([, v]) => typeof v === "number");
    renew(facts, ...counts.map(([k, v]) => h("div", {}, h("dt", {}, k.replaceAll("_", " ")), h("dd", {}, String(v)))));
    renew(table, workers.data.length ? workersTable(workers.data) : h("p", { class: "empty" }, "No worker is running: queued jobs wait."));
  }
  await draw();
  main.replaceChildren(h("h1", {}, "Queue"), facts, h("h2", {}, "Workers"), table);
  const timer = setInterval(() => draw().then(() => connection(true), () => connection(false)), PERIOD_MS);
  return () => clearInterval(timer);
}

const HEADS = [["Worker"], ["Host"], ["Device"], ["Stack", "number"], ["Samples / s", "number"], ["Free memory", "number"], ["Training"]];

function workersTable(workers) {
  const count = (value) => h("td", { class: "number" }, value || "–");
  return h("table", {}, h("thead", {}, h("tr", {}, ...HEADS.map(([text, look]) => h("th", { scope: "col", class: look }, text)))),
    h("tbody", {}, ...workers.map((w) => h("tr", {}, h("td", {}, w.name || w.id), h("td", {}, w.host || "–"), h("td", {}, w.device || "–"),
      h("td", { class: "number", title: "jobs that train together" }, String(w.stack || "–")), count(w.samples_per_s && Math.round(w.samples_per_s).toLocaleString("en")),
      count(w.memory_free_bytes && `${(w.memory_free_bytes / 2 ** 30).toFixed(1)} GiB`), h("td", {}, w.kernels === "compiling" ? h("span", { class: "soft" }, "compiling the CPU kernels, once on this machine; ") : null, ...trained(w.jobs || w.current_jobs || []))))));
}

const trained = (jobs) => (jobs.length ? jobs.map((id) => h("a", { href: `#/jobs/${id}` }, `${id} `)) : [h("span", { class: "soft" }, "nothing")]);
