// The specification of a job as the parts of a form hold it, and JSON for what no part can.
import { written } from "./calls.js";

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export function merged(below, above) {
  const both = { ...below };
  for (const [key, value] of Object.entries(above)) both[key] = isObject(both[key]) && isObject(value) ? merged(both[key], value) : value;
  return both;
}

const at = (body, path) => path.split(".").reduce((below, key) => below?.[key], body);

// What a form says. Its parts stand above the JSON; one that says nothing leaves it to the JSON, or to the service.
export function specOf(parts, rest, whole = false) {
  const spec = {};
  for (const part of parts) {
    const value = part.value(whole);
    const [first, second] = part.path.split(".");
    if (value === undefined) continue;
    if (second) (spec[first] ??= {})[second] = value;
    else spec[first] = value;
  }
  return rest.trim() ? merged(parsed(rest), spec) : spec;
}

function parsed(text) {
  let value;
  try { value = JSON.parse(text); } catch (error) { throw new Error(`Other settings are no JSON: ${error.message}`); }
  if (!isObject(value)) throw new Error("Other settings must be a JSON object, such as {\"schedule\": {\"name\": \"cosine\"}}");
  return value;
}

// Fill the parts with a specification; returns the JSON of what they cannot hold.
export function fill(parts, body) {
  const rest = structuredClone(body);
  for (const part of parts) {
    const value = at(rest, part.path);
    if (value !== undefined && part.fill(value)) remove(rest, part.path);
  }
  return Object.keys(rest).length ? written(rest) : "";
}

function remove(body, path) {
  const [first, second] = path.split(".");
  if (second) delete body[first][second];
  if (!second || !Object.keys(body[first]).length) delete body[first];
}

// JSON without what stands at a path: the settings of one optimizer mean nothing to another.
export function without(text, path) {
  try {
    const body = JSON.parse(text);
    if (at(body, path) === undefined) return text;
    remove(body, path);
    return Object.keys(body).length ? written(body) : "";
  } catch { return text; } // empty, or not JSON yet: the person is writing it
}

// What a fork changes: of two whole specifications what differs; null where a setting was taken away.
export function changes(before, after) {
  const found = {};
  for (const key of Object.keys({ ...before, ...after })) {
    const [old, now] = [before[key], after[key]];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    if (key === "net" || key === "training") found[key] = differing(old ?? {}, now ?? {});
    else if (now !== undefined) found[key] = now;
  }
  return found;
}

function differing(old, now) {
  const names = Object.keys({ ...old, ...now }).filter((name) => JSON.stringify(old[name]) !== JSON.stringify(now[name]));
  return Object.fromEntries(names.map((name) => [name, now[name] ?? null]));
}
