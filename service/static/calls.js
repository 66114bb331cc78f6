// The exact calls that would submit a job again: with curl, in Python, on the command line.
import { hasKey } from "./api.js";
import { h } from "./dom.js";

const WIDTH = 88; // characters of a line that holds a whole list or object

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

export function callsOf(job, origin, key) {
  const body = bodyOf(job);
  const { dataset, ...rest } = body;
  const header = key ? ` \\\n  -H "Authorization: Bearer $MLPQ_API_KEY"` : "";
  const text = (document) => `<<'JSON'\n${written(document)}\nJSON`;
  return {
    curl: `curl -X POST ${origin}/v1/jobs -H 'Content-Type: application/json'${header} -d @- ${text(body)}`,
    Python: `from mlpq import Client\n\nwith Client("${origin}") as client:\n    job = client.submit(${written(body, python, "    ")})\n    print(job.wait())`,
    "Command line": `mlpq train ${dataset} --url ${origin} --watch --spec - ${text(rest)}`,
  };
}

export function calls(job) {
  const texts = callsOf(job, location.origin, hasKey());
  const shown = h("pre", { tabindex: "0", id: "call" });
  const said = h("span", { class: "soft", role: "status" });
  const copy = h("button", { class: "small", onclick: async () => {
    await copied(shown);
    said.textContent = "copied";
    setTimeout(() => { said.textContent = ""; }, 2000);
  } }, "Copy");
  const tabs = Object.keys(texts).map((name) => h("button", { class: "small tab", "aria-controls": "call", onclick: () => choose(name) }, name));
  function choose(name) {
    shown.textContent = texts[name];
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.textContent === name));
  }
  choose("curl");
  return [h("h2", {}, "The same job again"), ...started(job), h("div", { class: "tools tight" }, ...tabs, copy, said), shown];
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
