// One net of the playground: its plane, redrawn at every checkpoint, and how far it is.
import { answered, Problem } from "./api.js";
import { ENDED, h, status } from "./dom.js";
import { number } from "./numbers.js";
import { drawPlane } from "./plane.js";

const RESOLUTION = 100;

export function netPanel(title, job, signal) {
  const canvas = h("canvas", { class: "plane", role: "img" });
  const facts = h("p", { class: "soft facts-line" });
  const state = h("span", {}, status(job.status));
  const element = h("figure", {}, h("figcaption", {}, h("strong", {}, h("a", { href: `#/jobs/${job.id}` }, title)), state), canvas, facts);
  const again = new ResizeObserver(() => paint());
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  let boundary = null, latest = null, asking = false, stale = false, ended = false;

  const paint = () => { if (boundary && canvas.clientWidth) drawPlane(canvas, boundary); };
  again.observe(canvas);
  scheme.addEventListener("change", paint, { signal });
  signal.addEventListener("abort", () => again.disconnect());
  tell();

  function tell() {
    const score = latest ? `epoch ${number(latest.epoch, 6)} · loss ${number(latest.train_loss, 3)} · accuracy ${number(latest.val_accuracy, 3)}` : "waits for its first epochs";
    facts.textContent = score;
    canvas.setAttribute("aria-label", `Decision boundary of ${title}: ${boundary ? score : "not drawn yet"}`);
  }
  // One question at a time; the last checkpoint is always drawn, the result's weights where there is one.
  async function refresh() {
    if (asking) { stale = true; return; }
    asking = true;
    do {
      stale = false;
      try {
        boundary = await answered(`/v1/jobs/${job.id}/explanations/boundary?resolution=${RESOLUTION}${ended ? "" : "&checkpoint=latest"}`, signal);
        canvas.dataset.step = boundary.step ?? boundary.at;
        paint();
        tell();
      } catch (error) {
        if (!(error instanceof Problem)) throw error; // refused: a checkpoint was replaced meanwhile, or there is none
      }
    } while (stale);
    asking = false;
  }
  return {
    element, job,
    metric(data) { latest = data; tell(); },
    checkpoint: refresh,
    status(data) {
      job.status = data.status;
      state.replaceChildren(status(data.status));
      if (ENDED.has(data.status)) { ended = data.status === "succeeded"; refresh(); }
    },
  };
}
