// A new job: choices come from /v1/capabilities and /v1/datasets; the service's own checks explain what is wrong.
import { call } from "./api.js";
import { bodyOf } from "./calls.js";
import { alert, h } from "./dom.js";
import { dryRun } from "./dryrun.js";
import { fill, specOf } from "./spec.js";
import { uploadForm } from "./upload.js";

// `from`: the id of a job whose settings the form starts with.
export async function newView(main, from) {
  const [abilities, datasets, old] = await Promise.all([call("/v1/capabilities"), call("/v1/datasets?limit=100"), from && call(`/v1/jobs/${from}`)]);
  const names = (table) => (Array.isArray(table) ? table.map((row) => row.name) : Object.keys(table));
  const trouble = h("div", { class: "wide" }), would = h("div", { class: "wide", role: "status" });
  const select = (name, values, chosen) =>
    h("select", { name }, ...values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  const field = (text, hint, control) => h("label", {}, text, hint ? h("small", {}, hint) : null, control);
  const automatic = [["", "automatic"]];
  const choices = (table) => automatic.concat(names(table).map((n) => [n, n]));
  const shown = (d) => [d.id, `${d.name} (${d.n_rows} rows)`];
  const dataset = select("dataset", datasets.data.map(shown), "digits");
  const uploaded = (d) => {
    const [value, text] = shown(d);
    if (![...dataset.options].some((o) => o.value === value)) dataset.prepend(h("option", { value }, text));
    dataset.value = value;
  };
  const rest = h("details", { class: "wide" }, h("summary", {}, "Other settings, as JSON"),
    h("label", {}, h("small", {}, "everything that a job may say, such as {\"training\": {\"batch_size\": 16}}; the fields above go first"),
      h("textarea", { name: "rest", spellcheck: "false", "aria-label": "Other settings, as JSON" })));
  const form = h("form", { class: "grid-form" },
    trouble,
    field("Data set", "built in, or uploaded below", dataset),
    field("Features", "of images, one after another; raw pixels if none is chosen", h("select", { name: "features", multiple: true, size: "4" }, ...names(abilities.features ?? []).map((name) => h("option", { value: name }, name)))),
    field("Hidden layers", "widths, such as 128 64; “none” for a linear model", h("input", { name: "hidden", placeholder: "automatic" })),
    field("Activation", "of the hidden layers", select("activation", choices(abilities.activations))),
    field("Loss", "by the data set's task if automatic", select("loss", choices(abilities.losses))),
    field("Optimizer", null, select("optimizer", choices(abilities.optimizers))),
    field("Learning rate", null, h("input", { name: "learning_rate", inputmode: "decimal", placeholder: "automatic" })),
    field("l2", "λ in L + λ Σ W²", h("input", { name: "l2", inputmode: "decimal", placeholder: "automatic" })),
    field("Epochs", null, h("input", { name: "epochs", inputmode: "numeric", placeholder: "automatic" })),
    field("Seed", null, h("input", { name: "seed", inputmode: "numeric", placeholder: "0" })),
    field("Name", null, h("input", { name: "name", maxlength: "200" })),
    rest,
    h("div", { class: "wide actions" }, h("button", { class: "primary", type: "submit" }, "Train"), h("button", { type: "button", onclick: (event) => attempt(event.target, check) }, "Check first")),
    would,
  );
  if (old) start(form, dataset, old);
  // The settings of one optimizer mean nothing to another.
  form.elements.optimizer.addEventListener("change", () => forget(form.elements.rest, "optimizer"));
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
    would.replaceChildren(dryRun(await call("/v1/jobs?dry_run=true", { method: "POST", body: specOf(form) })));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form.querySelector("button"), async () => {
      const job = await call("/v1/jobs", { method: "POST", body: specOf(form) });
      location.hash = `#/jobs/${job.id}`;
    });
  });
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, old ? `Change and retry: ${old.name || old.id}` : "New job")), form,
    h("h2", {}, "Your own data"), uploadForm(uploaded));
}

function start(form, dataset, old) {
  if (![...dataset.options].some((option) => option.value === old.dataset)) dataset.prepend(h("option", { value: old.dataset }, old.dataset));
  fill(form, bodyOf(old));
  form.querySelector("details").open = Boolean(form.elements.rest.value);
}

function forget(field, part) {
  try {
    const { [part]: _, ...kept } = JSON.parse(field.value);
    field.value = Object.keys(kept).length ? JSON.stringify(kept, null, 2) : "";
  } catch { /* empty, or not JSON yet: the person is writing it */ }
}
