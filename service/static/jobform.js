// The form of a job: data, net, training, rows, run; the net drawn as it is written, with what the service would choose.
import { call } from "./api.js";
import { menusOf } from "./datasets.js";
import { h } from "./dom.js";
import { field, labelled } from "./fields.js";
import { netDrawing } from "./netdrawing.js";
import { partsOf } from "./parts.js";
import { report } from "./report.js";
import { fill, specOf, without } from "./spec.js";
import { uploader } from "./upload.js";

const DEFAULT = "digits";
// title, help, what is always shown, and the prefix of what is shown on demand.
const SECTIONS = [
  ["Net", "Drawn as you write it.", ["net.hidden", "net.activation"], ["net.init", "net.dropout", "net.bias", "net.batch_norm"]],
  ["Training", "How its weights are found.", ["training.epochs", "training.batch_size", "loss", "optimizer"], ["schedule", "training.early_stopping", "training.class_weight", "training.sample_weight", "training.clip_norm", "training.shuffle"]],
  ["Rows", "Which train, validate and test.", ["training.validation_fraction", "training.test_fraction", "training.folds"], ["training.split", "training.stratify", "training.test_dataset", "training.validation_dataset"]],
  ["Run", "What it is called, and how it runs.", ["name", "tags", "training.seed"], ["priority", "training.device", "training.precision", "training.checkpoint_every_s", "training.max_runtime_s"]],
];

// The data sets that a form names when it starts with `body`.
export const namesOf = (body) => (body ? [...new Set([body.dataset, body.training?.test_dataset, body.training?.validation_dataset])].filter(Boolean) : [DEFAULT]);

// datasets: a page of them with those it names; body: of POST /v1/jobs that it starts with; fixed: the inputs of the net stay as they are; start: the weights' control.
export function jobForm(abilities, datasets, { body, fixed, start }) {
  const gone = new AbortController();
  const parts = partsOf(abilities);
  const dataset = field({ name: "dataset", kind: "text", default: null, doc: "Built in, or your own." }, "dataset", { title: "Data set", options: [] });
  const menus = menusOf([dataset, parts.get("training.test_dataset"), parts.get("training.validation_dataset")].map(({ control }) => control), datasets, gone.signal);
  const all = [dataset, ...[...parts.values()].filter((part) => !fixed || part.path !== "features")];
  const rest = h("textarea", { name: "rest", spellcheck: "false", "aria-label": "Other settings, as JSON" });
  const features = h("details", { class: "wide" }, h("summary", {}, "Features of the images"), h("div", { class: "fields" }, ...parts.get("features").elements));
  const about = h("div", { class: "wide", "aria-live": "polite" }), drawing = h("div", { class: "wide" }), columns = h("datalist", { id: "columns" });
  const again = new Map();
  const upload = uploader((made, read) => {
    again.set(made.id, read);
    menus.add(made);
    dataset.control.value = made.id;
    look();
  });
  let would = null, asked = 0;

  // What the service would choose for this data set, and how many inputs it makes.
  async function look() {
    const chosen = menus.get(dataset.control.value), mine = ++asked;
    about.replaceChildren(...(chosen ? [report(chosen, again.get(chosen.id))] : []));
    features.hidden = fixed || !chosen?.image;
    columns.replaceChildren(...(chosen?.columns ?? []).slice(0, 1000).map(({ name }) => h("option", { value: name })));
    const wanted = features.hidden ? {} : { features: parts.get("features").value() };
    const body = { dataset: dataset.control.value, ...wanted };
    const answer = await call("/v1/jobs?dry_run=true", { method: "POST", body, signal: gone.signal }).catch(() => null); // what is wrong with it is said when it is checked or trained
    if (mine !== asked) return;
    would = answer;
    if (would) for (const part of all) part.suggest?.(part.path.split(".").reduce((below, key) => below?.[key], would.spec));
    draw();
  }
  function draw() {
    const chosen = menus.get(dataset.control.value);
    const said = (path, usual) => parts.get(path).value(true) ?? usual;
    const hidden = said("net.hidden", would?.spec.net.hidden);
    const good = would && chosen && hidden?.every((width) => Number.isInteger(width) && width > 0);
    const one = said("loss")?.name === "binary_cross_entropy" || chosen?.task === "regression";
    drawing.replaceChildren(...(good ? [netDrawing({
      inputs: would.inputs, hidden, outputs: one ? 1 : chosen.n_classes, of: one ? "output" : "classes", bias: said("net.bias"), batchNorm: said("net.batch_norm"),
      activation: said("net.activation")?.name ?? would.spec.net.activation[0]?.name ?? would.spec.net.activation[0] ?? "relu",
    })] : []));
  }

  const element = h("form", { class: "job-form", autocomplete: "off" },
    section("Data", "Drop a file anywhere on this form.", [start ? labelled("Start from", "The weights it begins with.", start) : null, dataset.element, menus.element,
      labelled("Your own", "CSV, JSON, Parquet, Feather, NPZ, NPY, CIFAR; of an IDX pair both.", upload.input), upload.status, about, features, columns].filter(Boolean)),
    ...sections(parts, drawing),
    section("As JSON", "What no field holds.", [h("details", { class: "wide", open: false }, h("summary", {}, "Other settings, as JSON"), h("p", { class: "soft" }, "Everything that a job may say; the fields above go first."), rest)]));
  upload.drop(element);
  for (const name of ["sample_weight", "split.column"]) element.querySelector(`[name="${name}"]`)?.setAttribute("list", "columns");
  dataset.control.value = DEFAULT;
  if (body) begin(body);
  element.addEventListener("input", draw);
  element.addEventListener("change", draw);
  dataset.control.addEventListener("change", look);
  features.addEventListener("change", look);
  for (const part of all) part.control?.addEventListener("change", () => { rest.value = without(rest.value, part.path); });
  look();

  function begin(given) {
    if (![...dataset.control.options].some((one) => one.value === given.dataset)) dataset.control.prepend(h("option", { value: given.dataset }, given.dataset));
    rest.value = fill(all, given);
    for (const details of element.querySelectorAll("details")) details.open = details.contains(rest) ? Boolean(rest.value) : [...details.querySelectorAll("input, select")].some(isSet);
  }
  return { element, spec: (whole) => specOf(all, rest.value, whole), leave: () => gone.abort() };
}

const isSet = (control) => (control.tagName === "SELECT" ? control.value !== [...control.options].find((one) => one.defaultSelected)?.value && control.value !== "" : control.type === "checkbox" ? control.checked : control.value !== "");

const elementsOf = (part) => part.elements ?? [part.element];

const section = (title, help, children) => h("section", { class: "part" }, h("div", {}, h("h2", {}, title), h("p", { class: "soft" }, help)), h("div", { class: "fields" }, ...children));

// Settings that no section names, because they are newer than it, are shown in the last.
function sections(parts, drawing) {
  const placed = new Set(["features", ...SECTIONS.flatMap(([, , first, more]) => [...first, ...more])]);
  const others = [...parts.keys()].filter((path) => !placed.has(path));
  return SECTIONS.map(([title, help, first, more], i) => {
    const named = (paths) => paths.filter((path) => parts.has(path)).flatMap((path) => elementsOf(parts.get(path)));
    const last = i === SECTIONS.length - 1 ? others : [];
    return section(title, help, [...named(first), ...(title === "Net" ? [drawing] : []),
      h("details", { class: "wide" }, h("summary", {}, "More"), h("div", { class: "fields" }, ...named([...more, ...last])))]);
  });
}
