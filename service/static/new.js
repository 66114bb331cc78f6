// A new job, a job changed and tried again, or a fork of one: one form of all that a job may say.
import { call } from "./api.js";
import { bodyOf } from "./calls.js";
import { alert, h } from "./dom.js";
import { dryRun } from "./dryrun.js";
import { jobForm } from "./jobform.js";
import { changes } from "./spec.js";

// `from`: the id of a job whose settings the form starts with.
export const newView = (main, from) => show(main, from, false);
export const forkView = (main, from) => show(main, from, true);

async function show(main, from, forks) {
  const [abilities, datasets, old, checkpoints] = await Promise.all([
    call("/v1/capabilities"), call("/v1/datasets?limit=100"), from && call(`/v1/jobs/${from}`), forks && call(`/v1/jobs/${from}/checkpoints`)]);
  const trouble = h("div"), would = h("div", { role: "status" });
  const start = forks ? beginning(old, checkpoints.data) : null;
  const form = jobForm(abilities, datasets.data, { body: old && bodyOf(old), fixed: forks, start });
  const before = form.spec(true);

  async function attempt(button, action) {
    button.disabled = true;
    trouble.replaceChildren();
    try {
      await action();
    } catch (error) {
      trouble.replaceChildren(alert(error));
      trouble.scrollIntoView({ block: "center" });
    } finally {
      button.disabled = false;
    }
  }
  async function check() {
    would.replaceChildren();
    would.replaceChildren(dryRun(await call("/v1/jobs?dry_run=true", { method: "POST", body: form.spec() })));
    would.scrollIntoView({ block: "nearest" });
  }
  const submit = () => (forks
    ? call(`/v1/jobs/${from}/fork${start.value ? `?checkpoint=${start.value}` : ""}`, { method: "POST", body: changes(before, form.spec(true)) })
    : call("/v1/jobs", { method: "POST", body: form.spec() }));

  const go = h("button", { class: "primary", type: "submit" }, forks ? "Fork" : "Train");
  form.element.append(would, h("div", { class: "actions bottom" }, go,
    forks ? null : h("button", { type: "button", onclick: (event) => attempt(event.target, check) }, "Check first")));
  form.element.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(go, async () => { location.hash = `#/jobs/${(await submit()).id}`; });
  });
  const name = old && (old.name || old.id);
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, forks ? `Fork: ${name}` : old ? `Change and retry: ${name}` : "New job")), trouble, form.element);
  return form.leave;
}

// Which weights of a job a fork starts from.
function beginning(job, checkpoints) {
  const result = job.status === "succeeded" || !checkpoints.length ? [["", "its result"]] : [];
  const options = [...result, ...checkpoints.map(({ step, epoch }) => [step, `its checkpoint of step ${step}, epoch ${epoch}`])];
  return h("select", { name: "checkpoint" }, ...options.map(([value, text]) => h("option", { value }, text)));
}
