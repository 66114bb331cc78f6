// The jobs that are ticked in the list, and what can be done with all of them.
import { call } from "./api.js";
import { ENDED, h } from "./dom.js";

export function selection(failed) {
  const jobs = new Map();
  const boxes = new Map();
  const said = h("strong");
  const compare = h("a", { class: "button primary" }, "Compare");
  const cancel = h("button", { onclick: stop }, "Cancel");
  const element = h("div", { class: "selection", role: "region", "aria-label": "Chosen jobs", hidden: true }, said,
    h("div", { class: "actions" }, compare, cancel, h("button", { onclick: clear }, "Clear")));

  function tell() {
    const open = [...jobs.values()].filter((job) => !ENDED.has(job.status));
    element.hidden = !jobs.size;
    said.textContent = `${jobs.size} chosen`;
    compare.href = `#/compare/${[...jobs.keys()].join(",")}`;
    cancel.hidden = !open.length;
    cancel.textContent = `Cancel ${open.length}`;
  }
  function clear() {
    for (const box of boxes.values()) box.checked = false;
    jobs.clear();
    tell();
  }
  async function stop() {
    const open = [...jobs.values()].filter((job) => !ENDED.has(job.status));
    cancel.disabled = true;
    const answers = await Promise.allSettled(open.map((job) => call(`/v1/jobs/${job.id}/cancel`, { method: "POST" })));
    cancel.disabled = false;
    clear();
    failed(answers.map((answer, i) => [open[i], answer.reason]).filter(([, reason]) => reason));
  }
  return {
    element,
    changed: tell,
    box(job) {
      const box = h("input", { type: "checkbox", "aria-label": `choose ${job.name || job.id}`, onchange: () => {
        if (box.checked) jobs.set(job.id, job);
        else jobs.delete(job.id);
        tell();
      } });
      boxes.set(job.id, box);
      return box;
    },
  };
}
