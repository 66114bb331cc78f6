// Files of a person's own as a data set: one, or the two of an IDX or NPY pair, with how far they are.
import { send } from "./api.js";
import { alert, h } from "./dom.js";

export function uploadForm(done) {
  const files = h("input", { type: "file", name: "file", multiple: true, required: true });
  const target = h("input", { name: "target", placeholder: "automatic" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "uploaded" });
  const button = h("button", { type: "submit" }, "Upload");
  const said = h("div", { class: "wide", "aria-live": "polite" });
  const form = h("form", { class: "grid-form" },
    h("label", {}, "Files", h("small", {}, "CSV, NPZ, NPY, Parquet, CIFAR-10; of an IDX pair both"), files),
    h("label", {}, "Target", h("small", {}, "the column to predict; default the last"), target),
    h("div", { class: "wide actions" }, button, bar), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = new FormData();
    for (const file of files.files) body.append("file", file, file.name);
    if (target.value.trim()) body.append("options", JSON.stringify({ target: target.value.trim() }));
    button.disabled = true;
    bar.hidden = false;
    said.replaceChildren();
    try {
      const dataset = await send("/v1/datasets", body, (share) => { bar.value = share; });
      const warnings = dataset.warnings.map((text) => h("li", {}, text));
      said.append(`${dataset.name}: ${dataset.n_rows} rows, ${dataset.n_features} features.`, h("ul", {}, ...warnings));
      done(dataset);
    } catch (error) {
      said.append(alert(error));
    } finally {
      button.disabled = false;
      bar.hidden = true;
    }
  });
  return form;
}
