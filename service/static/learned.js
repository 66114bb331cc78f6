// What a finished job has learned, as pictures of the service's own drawing: those that apply, each when it is scrolled to.
import { answered, picture } from "./api.js";
import { h } from "./dom.js";

const TITLES = {
  confusion: "Confusion matrix", boundary: "Decision boundary", templates: "First-layer templates", importance: "Importance of columns",
  calibration: "Calibration", histograms: "Weights, activations, gradients",
};
const WIDTH = 1200;

// save(path): an answer as a file.
export async function learned(place, job, save, signal) {
  let list;
  try { list = (await answered(`/v1/jobs/${job.id}/explanations`, signal)).data; } catch { return; } // its data set is gone
  const having = new Map(list.filter((one) => one.available).map((one) => [one.id, one]));
  const names = Object.keys(TITLES).filter((name) => having.has(name));
  if (!names.length) return;
  const figures = names.map((name) => figure(job, having.get(name), save, signal));
  place.replaceChildren(h("h2", {}, "What it has learned"), h("div", { class: "pictures" }, ...[0, 1].map((side) => h("div", { class: "stack" }, ...figures.filter((_, i) => i % 2 === side)))));
}

function figure(job, one, save, signal) {
  const path = `/v1/jobs/${job.id}/explanations/${one.id}`;
  const shown = h("div", { class: "picture" }, h("span", { class: "soft" }, "…"));
  const found = h("figure", {},
    h("figcaption", {}, h("strong", {}, TITLES[one.id]),
      h("button", { class: "small", "aria-label": `${TITLES[one.id]}: save the numbers as JSON`, onclick: () => save(`${path}?format=json`) }, "numbers"),
      h("button", { class: "small", "aria-label": `${TITLES[one.id]}: save the picture`, onclick: () => save(`${path}?format=png&width=${WIDTH}`) }, "picture")),
    shown);
  const watch = new IntersectionObserver(async (entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    await load(shown, path, `${TITLES[one.id]} of ${job.name || job.id}. ${one.doc}`, signal);
  }, { rootMargin: "200px" });
  watch.observe(found);
  signal.addEventListener("abort", () => watch.disconnect());
  return found;
}

async function load(place, path, alt, signal) {
  try {
    const url = await picture(`${path}?width=${WIDTH}`, signal);
    signal.addEventListener("abort", () => URL.revokeObjectURL(url));
    place.replaceChildren(h("img", { src: url, alt }));
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(h("span", { class: "soft" }, error.message));
  }
}
