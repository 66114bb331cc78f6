// Routes of the page and the connection line. Each view renders into <main> and returns what ends it.
import { keepKey } from "./api.js";
import { compareView } from "./compare.js";
import { alert, h } from "./dom.js";
import { jobsView } from "./jobs.js";
import { jobView } from "./job.js";
import { newView } from "./new.js";
import { playgroundView } from "./playground.js";
import { queueView } from "./queue.js";

const main = document.getElementById("view");
const line = document.getElementById("connection");
let leave = () => {};
let turn = 0;

export function connection(up) {
  line.textContent = up ? "" : "connection lost, trying again";
  line.classList.toggle("offline", !up);
}

const routes = [
  [/^#\/jobs\/(job_\w+)$/, "jobs", jobView],
  [/^#\/compare\/(job_\w+(?:,job_\w+)*)$/, "jobs", compareView],
  [/^#\/new(?:\/(job_\w+))?$/, "new", newView],
  [/^#\/playground(?:\?(.*))?$/, "playground", playgroundView],
  [/^#\/queue$/, "queue", queueView],
  [/^#\/(?:\?(.*))?$/, "jobs", jobsView],
  [/^/, "jobs", jobsView],
];

async function show() {
  leave();
  leave = () => {};
  const mine = ++turn;
  const hash = location.hash || "#/";
  const [pattern, name, view] = routes.find(([p]) => p.test(hash));
  for (const link of document.querySelectorAll("[data-view]")) {
    link.toggleAttribute("aria-current", link.dataset.view === name);
  }
  main.replaceChildren(h("p", { class: "soft" }, "Loading …"));
  try {
    const end = await view(main, hash.match(pattern)[1]);
    if (mine === turn) leave = end || leave;
    else end?.();
    connection(true);
  } catch (error) {
    if (mine === turn) main.replaceChildren(...(error.status === 401 ? askForKey() : [alert(error), h("button", { onclick: show }, "Try again")]));
  }
}

function askForKey() {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "API key", required: true });
  const submit = (event) => { event.preventDefault(); keepKey(field.value); show(); };
  return [h("h1", {}, "This service asks for a key"), h("form", { class: "grid-form", onsubmit: submit },
    h("label", { class: "wide" }, "API key", h("small", {}, "kept in this tab only"), field), h("button", { class: "primary", type: "submit" }, "Go on"))];
}

addEventListener("hashchange", show);
show();
