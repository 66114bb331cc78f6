// A new job: choices come from /v1/capabilities and /v1/datasets; the service's own checks explain what is wrong.
import { call } from "./api.js";
import { alert, h } from "./dom.js";
import { uploadForm } from "./upload.js";

export async function newView(main) {
  const [abilities, datasets] = await Promise.all([call("/v1/capabilities"), call("/v1/datasets?limit=100")]);
  const names = (table) => (Array.isArray(table) ? table.map((row) => row.name) : Object.keys(table));
  const trouble = h("div", { class: "wide" });
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
    h("div", { class: "wide actions" }, h("button", { class: "primary", type: "submit" }, "Train")),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const job = await call("/v1/jobs", { method: "POST", body: specOf(new FormData(form)) });
      location.hash = `#/jobs/${job.id}`;
    } catch (error) {
      trouble.replaceChildren(alert(error));
    } finally {
      button.disabled = false;
    }
  });
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "New job")), form,
    h("h2", {}, "Your own data"), uploadForm(uploaded));
}

// Text that is not a number is sent as it is: the service's message names the field and the allowed range.
const numeric = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));

function specOf(data) {
  const spec = { dataset: data.get("dataset") };
  const hidden = data.get("hidden").trim();
  const features = data.getAll("features");
  if (features.length) spec.features = features;
  const set = (part, key, value) => { (spec[part] ??= {})[key] = value; };
  if (hidden) set("net", "hidden", hidden === "none" ? [] : hidden.split(/[\s,–-]+/).map(numeric));
  if (data.get("activation")) set("net", "activation", data.get("activation"));
  if (data.get("optimizer")) set("optimizer", "name", data.get("optimizer"));
  if (data.get("loss")) spec.loss = data.get("loss");
  if (data.get("name")) spec.name = data.get("name");
  for (const [part, key] of [["optimizer", "learning_rate"], ["optimizer", "l2"], ["training", "epochs"], ["training", "seed"]]) {
    if (data.get(key).trim()) set(part, key, numeric(data.get(key)));
  }
  return spec;
}
