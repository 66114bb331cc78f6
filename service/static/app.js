// Routes of the page and the connection line. Each view renders into a stage of its own in <main> and returns what ends it.
import { keepKey, Problem } from "./api.js";
import { alert, h } from "./dom.js";

const main = document.getElementById("view");
const line = document.getElementById("connection");
const RETRY_MS = 3000;
const REST_MS = 1000;
let leave = () => {};
let turn = 0;

export function connection(up) {
  line.textContent = up ? "" : "connection lost, trying again";
  line.classList.toggle("offline", !up);
}

// Addresses, what is marked in the bar, and the view: a module, which is loaded when it is first needed, and its name there.
const routes = [
  [/^#\/jobs\/(job_\w+)$/, "jobs", "job.js", "jobView"],
  [/^#\/compare\/(job_\w+(?:,job_\w+)*)$/, "jobs", "compare.js", "compareView"],
  [/^#\/fork\/(job_\w+)$/, "jobs", "new.js", "forkView"],
  [/^#\/new(?:\/(job_\w+))?$/, "new", "new.js", "newView"],
  [/^#\/sweeps\/new(?:\/(job_\w+))?$/, "sweeps", "new.js", "newSweepView"],
  [/^#\/playground(?:\?(.*))?$/, "playground", "playground.js", "playgroundView"],
  [/^#\/lecture(?:\/(L\d\d))?$/, "lecture", "lecture.js", "lectureView"],
  [/^#\/sweeps$/, "sweeps", "sweeps.js", "sweepsView"],
  [/^#\/sweeps\/(swp_\w+)$/, "sweeps", "sweeps.js", "sweepView"],
  [/^#\/queue$/, "queue", "queue.js", "queueView"],
  [/^#\/(?:\?(.*))?$/, "jobs", "jobs.js", "jobsView"],
];

// Ask at once for all modules that a view needs, not one after another as they import; those of any view if none is named.
function preload(file) {
  for (const link of document.querySelectorAll("link[rel=later]")) {
    if (!file || link.dataset.views.split(" ").includes(file)) link.rel = "modulepreload";
  }
}

async function viewOf(file, name) {
  preload(file);
  const unloaded = () => Object.assign(new Problem({ detail: "the service cannot be reached" }, 0), { unloaded: true });
  const lost = (error) => { throw error instanceof TypeError ? unloaded() : error; };
  return (await import(`./${file}`).catch(lost))[name];
}

async function show() {
  leave();
  leave = () => {};
  const mine = ++turn;
  const hash = location.hash || "#/";
  const [pattern, name, file, view] = routes.find(([p]) => p.test(hash)) ?? [];
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const stage = h("div", {}, h("p", { class: "soft", role: "status" }, "Loading …")); // a view that was left draws where nobody sees it
  main.replaceChildren(stage);
  try {
    if (!pattern) throw new Problem({ detail: "The page has no such view." }, 404);
    const draw = await viewOf(file, view);
    if (mine !== turn) return;
    const end = await draw(stage, hash.match(pattern)[1]);
    if (mine === turn) leave = end || leave;
    else end?.();
    connection(true);
    if (mine === turn) entitle();
  } catch (error) {
    if (mine === turn) refused(error, mine);
  }
}

function entitle() {
  const title = main.querySelector("h1")?.textContent;
  document.title = title ? `${title} · mlpq` : "mlpq";
}

// A view that could not be shown: asks for a key, says what was refused, or waits until the service is there again.
function refused(error, mine) {
  if (error.status === 401) {
    main.replaceChildren(...askForKey());
  } else if (error.status !== 0) {
    if (error.status === undefined) console.error(error); // a fault of the page itself
    const lost = error.status === 404;
    main.replaceChildren(h("h1", {}, lost ? "Not here" : "This did not work"), alert(error),
      h("p", { class: "soft" }, lost ? "What this address led to was deleted, or was never here." : ""),
      h("div", { class: "actions" }, h("button", { onclick: show }, "Try again"), lost ? h("a", { class: "button", href: "#/" }, "All jobs") : null));
  } else {
    connection(false);
    const again = error.unloaded ? anew : show;
    const timer = setTimeout(() => { if (mine === turn) again(); }, RETRY_MS);
    main.replaceChildren(h("h1", {}, "The service cannot be reached"), h("p", { class: "soft" }, "This page tries again by itself."),
      h("button", { onclick: again }, "Try now"));
    leave = () => clearTimeout(timer);
  }
  entitle();
}

// A browser may remember that a module could not be loaded: then the page begins anew, once the service answers.
async function anew() {
  const answers = await fetch(import.meta.url, { cache: "no-store" }).then((answer) => answer.ok, () => false);
  if (answers) location.reload();
  else show();
}

function askForKey() {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "API key", required: true });
  const submit = (event) => { event.preventDefault(); keepKey(field.value); show(); };
  return [h("h1", {}, "This service asks for a key"), h("form", { class: "grid-form", onsubmit: submit },
    h("label", { class: "wide" }, "API key", h("small", {}, "kept in this tab only"), field), h("button", { class: "primary", type: "submit" }, "Go on"))];
}

// What other views need comes while nobody waits: they are there at once, also where the connection is lost meanwhile.
addEventListener("load", () => setTimeout(preload, REST_MS));

// Another view starts at its top, also for a keyboard or a screen reader.
addEventListener("hashchange", () => { main.focus({ preventScroll: true }); scrollTo(0, 0); show(); });
show();
