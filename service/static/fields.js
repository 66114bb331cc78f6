// One control for every field that a specification may have, made from its JSON schema or from a registry's option.
// A part of a form is {path, element, value(whole), fill(value)}: `value` is undefined where it says nothing, and, unless
// the whole is asked for, where it says the default; `fill` tells whether all of a value could be shown. Some can
// `suggest(value)`: show what the service would choose.
import { h } from "./dom.js";

const TITLES = {
  l2: "L2 penalty λ", max_runtime_s: "Longest run", checkpoint_every_s: "Checkpoint every", clip_norm: "Clip the gradient", batch_norm: "Batch normalisation", init: "Initial weights",
  split: "Split by a column", hidden: "Hidden layers", bias: "Biases", validation_fraction: "Validation share", test_fraction: "Test share", early_stopping: "Stop early",
  test_dataset: "Test data set", validation_dataset: "Validation data set", column: "Split column",
};
export const titleOf = (name) => TITLES[name] ?? (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

let made = 0;

// A control under its title, which names it, and its help, which describes it.
export function labelled(title, help, control) {
  const id = `field-${made += 1}`;
  control.setAttribute("aria-labelledby", id);
  control.setAttribute("aria-describedby", `${id}-help`);
  return h("label", { class: "field" }, h("span", { id }, title), h("small", { id: `${id}-help` }, ...marked(help)), control);
}

// Names that a text sets in backticks are set in code.
export const marked = (text) => (text || "").split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));

export const select = (options, chosen, name) => h("select", { name }, ...options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));

// option: {name, kind, default, doc, choices}, as a registry of /v1/capabilities describes it.
export function field(option, path, { name = path.split(".").at(-1), title = titleOf(option.name), help = option.doc, options } = {}) {
  const control = options ? select(options, "", name) : controlOf(option, name);
  const usual = JSON.stringify(option.default ?? null);
  const value = (whole) => {
    const text = control.value.trim();
    if (text === "") return undefined;
    const found = read(option.kind, text);
    return !whole && JSON.stringify(found) === usual ? undefined : found;
  };
  const suggest = (found) => { if (control.placeholder && found !== null && found !== undefined) control.placeholder = (WRITE[option.kind] ?? String)(found); };
  return { path, control, value, suggest, element: labelled(title, help, control), fill: (given) => held(control, option.kind, given) };
}

function controlOf({ kind, choices, default: usual }, name) {
  if (kind === "boolean") return select([["true", "yes"], ["false", "no"]], String(usual), name);
  if (kind === "choice") return select([...(usual === null ? [["", "automatic"]] : []), ...choices.map((value) => [String(value), shown(value)])], String(usual ?? ""), name);
  return h("input", { name, autocomplete: "off", placeholder: placeholderOf(usual), inputmode: { integer: "numeric", number: "decimal" }[kind] });
}

const shown = (value) => (value === true ? "yes" : value === false ? "no" : String(value));
const placeholderOf = (value) => (value === null || value === undefined ? "none" : String(value));

// The properties of a model of the schema as options.
export const optionsOf = (model, defs) => Object.entries(model.properties).map(([name, schema]) => optionOf(name, schema, defs));

function optionOf(name, schema, defs) {
  const alternatives = (schema.anyOf || [schema]).map((one) => (one.$ref ? defs[one.$ref.split("/").at(-1)] : one)).filter((one) => one.type !== "null");
  const [first] = alternatives;
  const choices = alternatives.flatMap((one) => one.enum ?? (one.const !== undefined ? [one.const] : one.type === "boolean" && alternatives.length > 1 ? [true, false] : []));
  const kind = choices.length ? "choice" : { array: "values", string: "text" }[first.type] ?? first.type ?? "text";
  return { name, kind, choices, model: first, default: schema.default ?? null, doc: schema.description };
}

// ---- texts and values

const numeric = (text) => (Number.isNaN(Number(text)) ? text : Number(text)); // what is no number the service explains
const word = (text) => ({ true: true, false: false })[text] ?? text;
const listed = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

const READ = {
  integer: numeric, number: numeric, boolean: word, choice: word, text: (text) => text, tags: listed,
  widths: (text) => (text === "none" ? [] : text.split(/[\s,–-]+/).filter(Boolean).map(numeric)),
  values: (text) => listed(text).map((part) => numeric(word(part))),
  weights: (text) => (text.includes(":") ? Object.fromEntries(listed(text).map((part) => [part.slice(0, part.lastIndexOf(":")).trim(), numeric(part.slice(part.lastIndexOf(":") + 1).trim())])) : text),
};
export const read = (kind, text) => (READ[kind] ?? READ.text)(text);

const WRITE = {
  widths: (value) => value.join(" ") || "none", values: (value) => value.join(", "), tags: (value) => value.join(", "),
  weights: (value) => (typeof value === "string" ? value : Object.entries(value).map(([name, weight]) => `${name}: ${weight}`).join(", ")),
};

function held(control, kind, value) {
  const text = value === null || value === undefined ? "" : (WRITE[kind] ?? String)(value);
  control.value = text;
  if (control.value === text && (text === "" || JSON.stringify(read(kind, text)) === JSON.stringify(value))) return true;
  control.value = "";
  return false;
}

// ---- the settings of a choice, each a part whose path is its name

export const valuesOf = (settings, whole) => Object.fromEntries(settings.map((one) => [one.path, one.value(whole)]).filter(([, value]) => value !== undefined));

export function filled(settings, given) {
  const known = new Map(settings.map((one) => [one.path, one]));
  return Object.entries(given).map(([name, value]) => known.get(name)?.fill(value) ?? false).every(Boolean);
}
