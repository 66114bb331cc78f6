// Every setting that a job may have as a part of the form, from the schema and the registries of /v1/capabilities.
import { alike, choice } from "./choice.js";
import { field, optionsOf } from "./fields.js";
import { optional } from "./optional.js";
import { several } from "./several.js";

// What the page says beyond the service's own help, or how a field is written.
const HELP = {
  "net.hidden": "Widths from the input on, such as 128 64; `none` is a linear model.",
  "training.class_weight": "`balanced`, or a weight for each class: yes: 2, no: 0.5.",
  "training.device": "`auto`, `cpu` or `cuda:0`.",
  "training.max_runtime_s": "Seconds after which the job ends with what it has.",
};
const KINDS = { "net.hidden": "widths", "training.class_weight": "weights" };
const ABOUT = [
  { name: "name", kind: "text", default: "", doc: "What the job is called." },
  { name: "tags", kind: "tags", default: "", doc: "Words to find it by, with commas." },
  { name: "priority", kind: "integer", default: 0, doc: "A higher one trains first." },
];

// Returns a map from the path of a setting to its part. The menus of data sets are still empty.
export function partsOf(abilities) {
  const { $defs: defs } = abilities.spec_schema;
  const sets = { options: [["", "none"]] };
  const special = {
    "net.activation": (path, option) => alike(choice(path, abilities.activations, { help: option.doc })),
    "net.init": (path, option) => choice(path, abilities.initializers, { help: option.doc }),
    "training.early_stopping": (path, option) => optional(path, optionsOf(option.model, defs), { help: option.doc }),
    "training.split": (path, option) => optional(path, optionsOf(option.model, defs), { help: option.doc, fields: { validation: { title: "Values that validate" }, test: { title: "Values that test" } } }),
    "training.test_dataset": (path, option) => field(option, path, sets),
    "training.validation_dataset": (path, option) => field(option, path, sets),
  };
  const found = new Map();
  const add = (part) => found.set(part.path, part);
  add(several("features", abilities.features));
  add(choice("loss", abilities.losses, { help: "What is minimised, beside the penalty." }));
  add(choice("optimizer", abilities.optimizers, { help: "How a gradient becomes a step." }));
  add(choice("schedule", abilities.schedules, { help: "How the learning rate changes over the run." }));
  for (const [place, model] of [["net", "NetSpec"], ["training", "TrainingOptions"]]) {
    for (const option of optionsOf(defs[model], defs)) {
      const path = `${place}.${option.name}`;
      const given = { ...option, kind: KINDS[path] ?? option.kind };
      add(special[path]?.(path, given) ?? field(given, path, HELP[path] ? { help: HELP[path] } : {}));
    }
  }
  for (const option of ABOUT) add(field(option, option.name));
  return found;
}
