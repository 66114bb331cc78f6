// One setting that a sweep varies: its values, or how they are drawn.
import { labelled, optionsOf, read, titleOf } from "./fields.js";
import { h } from "./dom.js";

const KINDS = new Set(["integer", "number", "boolean", "choice"]);
const WIDTHS = "net.hidden";
const DRAWS = [["log_uniform", "evenly, log scale"], ["uniform", "evenly"], ["int", "a whole number"], ["choice", "one of some values"]];
const EXAMPLES = { integer: "1, 2, 3", number: "0.001, 0.01, 0.1", boolean: "true, false", widths: "32, 64 32, none" };
const LEAST = { draw: "log_uniform", from: "0.0001", to: "1", values: "0.001, 0.01, 0.1" };

// What may be varied: [[group, [{path, kind, choices}]]], from the schema and the registries of /v1/capabilities.
export function settingsOf(abilities) {
  const { $defs: defs } = abilities.spec_schema;
  const names = (rows) => rows.map((row) => row.name);
  const special = { [WIDTHS]: { kind: "widths" }, "net.activation": { kind: "choice", choices: names(abilities.activations) }, "net.init": { kind: "choice", choices: names(abilities.initializers) } };
  const model = (place, name) => optionsOf(defs[name], defs).map((option) => ({ path: `${place}.${option.name}`, ...option, ...special[`${place}.${option.name}`] }))
    .filter(({ path, kind }) => KINDS.has(kind) || path in special);
  const choice = (place, rows) => {
    const options = new Map(rows.flatMap((row) => row.parameters).map((option) => [option.name, option]));
    return [{ path: `${place}.name`, kind: "choice", choices: names(rows) }, ...[...options.values()].map((option) => ({ ...option, path: `${place}.${option.name}` }))];
  };
  return [["Optimizer", choice("optimizer", abilities.optimizers)], ["Net", model("net", "NetSpec")], ["Training", model("training", "TrainingOptions")],
    ["Schedule", choice("schedule", abilities.schedules)], ["Loss", [{ path: "loss", kind: "choice", choices: names(abilities.losses) }]]];
}

const wordsOf = (path) => (path.endsWith(".name") ? titleOf(path.split(".")[0]) : titleOf(path.split(".").at(-1)));
const bound = (control) => (control.value.trim() ? read("number", control.value) : null); // the service asks for it
const valuesOf = (kind, text) => text.split(",").map((part) => part.trim()).filter(Boolean).map((part) => read(kind, part));

// Returns {element, path, value(), controls}; drawn: whether it is drawn; gone() is called when it is taken away.
export function vary(settings, path, drawn, gone) {
  const all = new Map(settings.flatMap(([, some]) => some.map((one) => [one.path, one])));
  const setting = h("select", { name: "setting" }, ...settings.map(([group, some]) => h("optgroup", { label: group }, ...some.map((one) => h("option", { value: one.path, selected: one.path === path }, wordsOf(one.path))))));
  const draw = h("select", { name: "draw" }, ...DRAWS.map(([value, text]) => h("option", { value }, text)));
  const [from, to, values] = ["from", "to", "values"].map((name) => h("input", { name, autocomplete: "off", inputmode: name === "values" ? null : "decimal" }));
  const parts = { draw: labelled("How", "How it is drawn.", draw), from: labelled("From", "The least.", from), to: labelled("To", "The most.", to), values: labelled("Values", "With commas.", values) };
  const away = h("button", { type: "button", class: "small", "aria-label": "vary it no more", onclick: () => { element.remove(); gone(); } }, "×");
  const element = h("div", { class: "vary", role: "group", "aria-label": "A setting that is varied" }, labelled("Setting", "What differs.", setting), ...Object.values(parts), away);
  const ranged = () => drawn && draw.value !== "choice";
  const one = () => all.get(setting.value);

  function show() {
    parts.draw.hidden = !drawn;
    parts.from.hidden = parts.to.hidden = !ranged();
    parts.values.hidden = ranged();
    values.placeholder = EXAMPLES[one().kind] ?? (one().choices ?? []).join(", ");
  }
  setting.addEventListener("change", () => {
    from.value = to.value = values.value = "";
    draw.value = { integer: "int", number: "uniform" }[one().kind] ?? "choice";
    show();
  });
  draw.addEventListener("change", show);
  if (path === "optimizer.learning_rate") for (const [name, text] of Object.entries(LEAST)) ({ draw, from, to, values })[name].value = text;
  show();
  return {
    element,
    get path() { return setting.value; },
    get control() { return ranged() ? from : values; },
    get count() { return valuesOf(one().kind, values.value).length; },
    value() {
      if (!drawn) return valuesOf(one().kind, values.value);
      return ranged() ? { [draw.value]: [bound(from), bound(to)] } : { choice: valuesOf(one().kind, values.value) };
    },
    reform(next) { drawn = next; show(); },
  };
}
