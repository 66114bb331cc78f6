// The specification of a job as a form holds it: fields of its own for the usual settings, JSON for all others.
import { written } from "./calls.js";

// field name → where it stands in the specification.
const PLACES = {
  dataset: ["dataset"], name: ["name"], features: ["features"], hidden: ["net", "hidden"], activation: ["net", "activation"], loss: ["loss"],
  optimizer: ["optimizer", "name"], learning_rate: ["optimizer", "learning_rate"], l2: ["optimizer", "l2"], epochs: ["training", "epochs"], seed: ["training", "seed"],
};
const NUMBERS = new Set(["learning_rate", "l2", "epochs", "seed"]);

// Text that is not a number is sent as it is: the service's message names the field and the allowed range.
const numeric = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function merged(below, above) {
  const both = { ...below };
  for (const [key, value] of Object.entries(above)) both[key] = isObject(both[key]) && isObject(value) ? merged(both[key], value) : value;
  return both;
}

function put(spec, [part, key], value) {
  if (key) (spec[part] ??= {})[key] = value;
  else spec[part] = value;
}

// What a form says. Fields stand above the JSON; an empty one leaves it to the JSON, or to the service.
export function specOf(form) {
  const data = new FormData(form);
  const spec = {};
  for (const [name, place] of Object.entries(PLACES)) {
    const value = name === "features" ? data.getAll(name) : (data.get(name) || "").trim();
    if (!value.length) continue;
    put(spec, place, name === "hidden" ? widths(value) : NUMBERS.has(name) ? numeric(value) : value);
  }
  const rest = (data.get("rest") || "").trim();
  return rest ? merged(parsed(rest), spec) : spec;
}

const widths = (text) => (text === "none" ? [] : text.split(/[\s,–-]+/).map(numeric));

function parsed(text) {
  let value;
  try { value = JSON.parse(text); } catch (error) { throw new Error(`Other settings are no JSON: ${error.message}`); }
  if (!isObject(value)) throw new Error("Other settings must be a JSON object, such as {\"schedule\": {\"name\": \"cosine\"}}");
  return value;
}

// Fill a form with a specification; what no field can hold goes to its JSON.
export function fill(form, body) {
  const rest = structuredClone(body);
  for (const [name, [part, key]] of Object.entries(PLACES)) {
    const value = key ? body[part]?.[key] : body[part];
    if (value === undefined || !holds(form.elements[name], name, value)) continue;
    if (key) delete rest[part][key];
    else delete rest[part];
  }
  for (const part of ["net", "optimizer", "training"]) if (rest[part] && !Object.keys(rest[part]).length) delete rest[part];
  form.elements.rest.value = Object.keys(rest).length ? written(rest) : "";
}

// Set a field, if it can hold the value: whether it could.
function holds(field, name, value) {
  if (name === "features") return chosen(field, value);
  const text = name === "hidden" ? value.join(" ") || "none" : alike(value);
  if (text === null || typeof text === "object") return false;
  field.value = text;
  return field.value === String(text);
}

// A list of equal entries, such as one activation per layer, as that entry; an empty list needs no entry.
const alike = (value) => (Array.isArray(value) ? (value.length && value.every((one) => one === value[0]) ? value[0] : null) : value);

function chosen(field, value) {
  const known = new Set([...field.options].map((option) => option.value));
  if (!Array.isArray(value) || !value.every((one) => known.has(one))) return false;
  for (const option of field.options) option.selected = value.includes(option.value);
  return true;
}
