// A new job, a job changed and tried again, a fork of one, or a sweep: one form of all that a job may say.
import { call } from "./api.js";
import { bodyOf } from "./calls.js";
import { including, newest } from "./datasets.js";
import { alert, h } from "./dom.js";
import { dryRun } from "./dryrun.js";
import { clear, ofJob, tell } from "./faults.js";
import { jobForm, namesOf } from "./jobform.js";
import { changes } from "./spec.js";
import { sweepPlan } from "./sweepplan.js";

// `from`: the id of a job whose settings the form starts with.
export const newView = (main, from) => show(main, from, false);
export const forkView = (main, from) => show(main, from, true);
export const newSweepView = (main, from) => show(main, from, false, "grid");

async function show(main, from, forks, plan = "") {
  const [abilities, page, old, checkpoints] = await Promise.all([
    call("/v1/capabilities"), newest(), from && call(`/v1/jobs/${from}`), forks && call(`/v1/jobs/${from}/checkpoints`)]);
  const trouble = h("div"), would = h("div", { role: "status" });
  const start = forks ? beginning(old, checkpoints.data) : null;
  const body = old && bodyOf(old);
  const form = jobForm(abilities, await including(page, namesOf(body)), { body, fixed: forks, start });
  const before = form.spec(true);
  const name = old && (old.name || old.id);
  let left = false;
  const heading = h("h1"), go = h("button", { class: "primary", type: "submit" });
  const sweep = forks ? null : sweepPlan(abilities, plan, () => queueMicrotask(entitle));

  function entitle() {
    const many = sweep?.chosen;
    go.textContent = forks ? "Fork" : sweep.label();
    heading.textContent = forks ? `Fork: ${name}` : many ? "New sweep" : old ? `Change and retry: ${name}` : "New job";
  }
  const controlOf = (pointer) => (pointer.startsWith("/base/") ? ofJob(form.element, pointer.slice(5)) : sweep?.control(pointer) ?? ofJob(form.element, pointer));
  async function attempt(button, action) {
    button.disabled = true;
    trouble.replaceChildren();
    clear(form.element);
    try {
      await action();
    } catch (error) {
      trouble.replaceChildren(alert(error));
      button.disabled = false;
      if (!tell(form.element, error.errors || [], controlOf)) trouble.scrollIntoView({ block: "center" });
    } finally {
      button.disabled = false;
    }
  }
  async function check() {
    would.replaceChildren();
    would.replaceChildren(dryRun(await call("/v1/jobs?dry_run=true", { method: "POST", body: form.spec() })));
    would.scrollIntoView({ block: "nearest" });
  }
  async function submit() {
    if (forks) return call(`/v1/jobs/${from}/fork${start.value ? `?checkpoint=${start.value}` : ""}`, { method: "POST", body: changes(before, form.spec(true)) });
    const { name: called, dataset, ...base } = form.spec(), many = sweep.plan();
    if (!many) return call("/v1/jobs", { method: "POST", body: form.spec() });
    return call("/v1/sweeps", { method: "POST", body: { dataset, base, ...many, ...(called ? { name: called } : {}) } });
  }

  if (sweep && plan) form.element.firstElementChild.after(sweep.element);
  else if (sweep) form.element.append(sweep.element);
  form.element.append(would, h("div", { class: "actions bottom" }, go,
    forks ? null : h("button", { type: "button", onclick: (event) => attempt(event.target, check) }, "Check first")));
  form.element.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(go, async () => {
      const { object, id } = await submit();
      if (!left) location.hash = object === "sweep" ? `#/sweeps/${id}` : `#/jobs/${id}`;
    });
  });
  entitle();
  main.replaceChildren(h("div", { class: "head" }, heading), trouble, form.element);
  return () => { left = true; form.leave(); };
}

// Which weights of a job a fork starts from.
function beginning(job, checkpoints) {
  const result = job.status === "succeeded" || !checkpoints.length ? [["", "its result"]] : [];
  const options = [...result, ...checkpoints.map(({ step, epoch }) => [step, `its checkpoint of step ${step}, epoch ${epoch}`])];
  return h("select", { name: "checkpoint" }, ...options.map(([value, text]) => h("option", { value }, text)));
}
