// The exact calls that would submit a job, or a sweep, again: with curl, in Python, on the command line.
import { hasKey } from "./api.js";
import { h } from "./dom.js";

const WIDTH = 88; // characters of a line that holds a whole list or object
const SAID_MS = 2000; // for which a copy is told

// The body of POST /v1/jobs that asks for what this job was asked for.
export function bodyOf(job) {
  const { name, tags = [], metadata = {}, priority = 0 } = job;
  return {
    ...(name ? { name } : {}), dataset: job.dataset, ...job.spec,
    ...(tags.length ? { tags } : {}), ...(Object.keys(metadata).length ? { metadata } : {}), ...(priority ? { priority } : {}),
  };
}

// JSON with short parts on one line; `word` writes what is neither list nor object.
export function written(value, word = JSON.stringify, indent = "") {
  if (value === null || typeof value !== "object") return word(value);
  const list = Array.isArray(value);
  const item = (text) => (key, deeper) => (list ? "" : `${JSON.stringify(key)}: `) + text(list ? key : value[key], deeper);
  const entries = list ? value : Object.keys(value);
  const [open, close] = list ? "[]" : "{}";
  const short = open + entries.map((e) => item((v) => written(v, word, indent))(e)).join(", ") + close;
  if (!entries.length || (!short.includes("\n") && indent.length + short.length <= WIDTH)) return short;
  const deeper = `${indent}  `;
  return `${open}\n${entries.map((e) => deeper + item((v) => written(v, word, deeper))(e)).join(",\n")}\n${indent}${close}`;
}

const PYTHON = new Map([[true, "True"], [false, "False"], [null, "None"]]);
const python = (value) => PYTHON.get(value) ?? JSON.stringify(value);

const curl = (path, body, origin, key) => `curl -X POST ${origin}${path} -H 'Content-Type: application/json'${key ? ` \\\n  -H "Authorization: Bearer $MLPQ_API_KEY"` : ""} -d @- ${document(body)}`;
const document = (body) => `<<'JSON'\n${written(body)}\nJSON`;
const inPython = (origin, lines) => `from mlpq import Client\n\nwith Client("${origin}") as client:\n    ${lines}`;

export function callsOf(job, origin, key) {
  const body = bodyOf(job);
  const { dataset, ...rest } = body;
  return {
    curl: curl("/v1/jobs", body, origin, key),
    Python: inPython(origin, `job = client.submit(${written(body, python, "    ")})\n    print(job.wait())`),
    "Command line": `mlpq train ${dataset} --url ${origin} --watch --spec - ${document(rest)}`,
  };
}

// Of a sweep.
export function sweepCallsOf(sweep, origin, key) {
  const { name, dataset, kind, base, objective, direction } = sweep;
  const body = { ...(name ? { name } : {}), dataset, base, [kind]: sweep[kind], objective, direction };
  const told = Object.entries({ [kind === "list" ? "points" : kind]: sweep[kind], base, objective, direction, ...(name ? { name } : {}) });
  const said = `--objective ${objective} --direction ${direction}${name ? ` --name ${quoted(name)}` : ""}`;
  return {
    curl: curl("/v1/sweeps", body, origin, key),
    Python: inPython(origin, `sweep = client.sweep(\n        ${python(dataset)},\n${told.map(([one, value]) => `        ${one}=${written(value, python, "        ")},\n`).join("")}    )\n    print(sweep.wait().best)`),
    "Command line": `mlpq sweep ${dataset} --url ${origin} --watch ${optionsOf(kind, sweep[kind], base)} \\\n  ${said} ${kind === "list" ? `--points - ${document(sweep.list)}` : `--spec - ${document(base)}`}`,
  };
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const listed = (values) => values.map((value) => JSON.stringify(value)).join(",");
const options = (name, pairs) => pairs.map(([path, text]) => `\\\n  --${name} ${quoted(`${path}=${text}`)}`).join(" ");

// The plan as options; of a list, whose points come from standard input, what all jobs share.
function optionsOf(kind, plan, base) {
  if (kind === "list") return options("set", Object.entries(base).map(([path, value]) => [path, JSON.stringify(value)]));
  if (kind === "grid") return options("grid", Object.entries(plan).map(([path, values]) => [path, listed(values)]));
  const draws = Object.entries(plan.space).map(([path, draw]) => {
    const [[how, values]] = Object.entries(draw).filter(([, value]) => value !== null);
    return [path, `${how}:${how === "choice" ? listed(values) : values.join(":")}`];
  });
  const halved = kind === "asha" ? ` --asha ${plan.min_epochs}:${plan.max_epochs}:${plan.reduction ?? 3}` : "";
  return `--random ${plan.n} --seed ${plan.seed ?? 0}${halved} ${options("draw", draws)}`;
}

export const calls = (job) => [h("h2", {}, "The same job again"), ...started(job), ...shown(callsOf(job, location.origin, hasKey()))];
export const sweepCalls = (sweep) => [h("h2", {}, "The same sweep again"), ...shown(sweepCallsOf(sweep, location.origin, hasKey()))];

function shown(texts) {
  const text = h("pre", { tabindex: "0", id: "call" });
  const said = h("span", { class: "soft", role: "status" });
  let silent = null;
  const copy = h("button", { class: "small", onclick: async () => {
    await copied(text);
    said.textContent = "copied";
    clearTimeout(silent);
    silent = setTimeout(() => { said.textContent = ""; }, SAID_MS);
  } }, "Copy");
  const tabs = Object.keys(texts).map((name) => h("button", { class: "small tab", "aria-controls": "call", onclick: () => choose(name) }, name));
  function choose(name) {
    text.textContent = texts[name];
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
  }
  choose("curl");
  return [h("div", { class: "tools tight" }, ...tabs, copy, said), text];
}

// A fork is called again with its settings alone: the calls start from new weights, which it did not.
function started({ origin }) {
  if (!origin) return [];
  return [h("p", { class: "soft" }, "It started from the weights of ", h("a", { href: `#/jobs/${origin.job}` }, origin.job), "; these calls start from new ones.")];
}

// The clipboard is for secure origins only; elsewhere the text is selected and copied the old way.
async function copied(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
}
