// The playground: small nets on points in the plane, whose decision boundary is redrawn while they train.
import { call, follow } from "./api.js";
import { connection } from "./app.js";
import { alert, ENDED, h } from "./dom.js";
import { netPanel } from "./netpanel.js";

const SETS = ["spiral", "moons", "circles", "blobs", "xor"];
const START = { dataset: "spiral", hidden: "20", activation: "relu", learning_rate: "0.003", l2: "0.0001", epochs: "15000" };
const CHECKPOINT_EVERY_S = 0.2;
// The lecture's comparisons: what is put side by side, and how one of them is called.
const SERIES = [
  ["3 / 6 / 20 hidden units", "hidden", ["3", "6", "20"], (value) => `${value} hidden units`],
  ["λ = .001 / .01 / .1", "l2", ["0.001", "0.01", "0.1"], (value) => `λ = ${value}`],
];

export async function playgroundView(main, query) {
  const { activations } = await call("/v1/capabilities");
  const chosen = { ...START, ...Object.fromEntries(new URLSearchParams(query || "")) };
  const form = formOf(chosen, activations.filter((row) => row.name !== "custom").map((row) => row.name));
  const trouble = h("div"), nets = h("div", { class: "planes" }, h("p", { class: "empty" }, "Choose a data set and a net, then train: every fifth of a second you see what it has learned."));
  const stop = h("button", { type: "button", hidden: true, onclick: () => cancel() }, "Stop");
  let gone = new AbortController(), left = false, unfollow = () => {}, panels = [];

  const values = () => Object.fromEntries(new FormData(form));
  const running = () => panels.filter((panel) => !ENDED.has(panel.job.status));
  const cancel = (some = running()) => Promise.allSettled(some.map((panel) => call(`/v1/jobs/${panel.job.id}/cancel`, { method: "POST" })));
  // Train nets that differ in `field`; those of before are stopped.
  async function train(variants, titleOf) {
    trouble.replaceChildren();
    history.replaceState(null, "", `#/playground?${new URLSearchParams(values())}`);
    cancel();
    unwatch();
    const { signal } = gone = new AbortController(), asked = values(), made = [];
    try {
      for (const variant of variants) { // one after another: they train in this order
        const title = titleOf(variant), job = await call("/v1/jobs", { method: "POST", body: bodyOf({ ...asked, ...variant }, title) });
        made.push(netPanel(title, job, signal));
        if (signal.aborted && !left) cancel(made); // others take their place
        if (signal.aborted) return;
      }
    } catch (error) {
      cancel(made);
      if (!signal.aborted) trouble.replaceChildren(alert(error));
      return;
    }
    panels = made;
    nets.replaceChildren(...panels.map((panel) => panel.element));
    stop.hidden = false;
    const of = (id) => panels.find((panel) => panel.job.id === id.split(":")[0]);
    unfollow = follow(`/v1/events?jobs=${panels.map((panel) => panel.job.id).join(",")}`, {
      metric: (data, id) => of(id)?.metric(data),
      checkpoint: (data, id) => of(id)?.checkpoint(data),
      status: (data, id) => { of(id)?.status(data); stop.hidden = !running().length; },
    }, connection);
  }
  function unwatch() {
    gone.abort();
    unfollow();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    train([{}], () => `${values().hidden || "no"} hidden units`);
  });
  form.append(h("div", { class: "wide actions" }, h("button", { class: "primary", type: "submit" }, "Train"),
    ...SERIES.map(([text, field, series, title]) => h("button", { type: "button", onclick: () => train(series.map((value) => ({ [field]: value })), (variant) => title(variant[field])) }, text)), stop));
  main.replaceChildren(h("div", { class: "head" }, h("h1", {}, "Playground")), trouble, form, nets);
  return () => { left = true; unwatch(); };
}

function formOf(chosen, activations) {
  const select = (name, values) => h("select", { name }, ...values.map((value) => h("option", { value, selected: value === chosen[name] }, value)));
  const input = (name) => h("input", { name, value: chosen[name], inputmode: "decimal", autocomplete: "off" });
  const field = (text, control) => h("label", {}, text, control);
  return h("form", { class: "grid-form small-form" },
    field("Data set", select("dataset", SETS)), field("Hidden units, by layer", h("input", { name: "hidden", value: chosen.hidden, autocomplete: "off" })), field("Activation", select("activation", activations)),
    field("Learning rate", input("learning_rate")), field("λ of l2", input("l2")), field("Epochs", input("epochs")));
}

const numeric = (text) => (text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text));

// Plain gradient descent at a constant rate, as in the lecture: slow enough to be watched.
function bodyOf(values, title) {
  return {
    name: `playground: ${values.dataset}, ${title}`, dataset: values.dataset, tags: ["playground"],
    net: { hidden: values.hidden.trim().split(/[\s,–-]+/).filter(Boolean).map(numeric), activation: values.activation },
    optimizer: { name: "sgd", momentum: 0, learning_rate: numeric(values.learning_rate), l2: numeric(values.l2) },
    schedule: { name: "constant" },
    training: { epochs: numeric(values.epochs), checkpoint_every_s: CHECKPOINT_EVERY_S },
  };
}
