// What narrows the list of jobs: status and tag, which the service looks for, and text, which the page looks for in what it lists.
import { h } from "./dom.js";

const STATUSES = ["queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"];

// `query` is that of the page's address; `changed(server)` is called with whether the service must be asked again.
export function filters(query, changed) {
  const chosen = new URLSearchParams(query || "");
  const field = (name, control) => h("label", {}, name, control);
  const status = h("select", { name: "status" }, h("option", { value: "" }, "any"), ...STATUSES.map((value) => h("option", { value, selected: value === chosen.get("status") }, value)));
  const tag = h("input", { name: "tag", type: "search", maxlength: "64", placeholder: "any", value: chosen.get("tag") || "" });
  const text = h("input", { name: "text", type: "search", placeholder: "name, data set, tag or id", value: chosen.get("text") || "" });
  const element = h("form", { class: "filters", role: "search", "aria-label": "Filter jobs", onsubmit: (event) => event.preventDefault() }, field("Status", status), field("Tag", tag), field("Text", text));
  function keep() {
    const kept = Object.entries({ status: status.value, tag: tag.value.trim(), text: text.value.trim() }).filter(([, value]) => value);
    history.replaceState(null, "", kept.length ? `#/?${new URLSearchParams(kept)}` : "#/");
  }
  const asked = (server) => () => { keep(); changed(server); };
  status.addEventListener("change", asked(true));
  tag.addEventListener("change", asked(true));
  tag.addEventListener("search", asked(true));
  text.addEventListener("input", asked(false));
  return {
    element,
    get any() { return Boolean(status.value || tag.value.trim() || text.value.trim()); },
    server() {
      const kept = Object.entries({ status: status.value, tag: tag.value.trim() }).filter(([, value]) => value);
      return kept.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join("");
    },
    fits(job) {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      const whole = [job.name, job.dataset, job.dataset_name, job.id, ...(job.tags || [])].join(" ").toLowerCase();
      return words.every((word) => whole.includes(word));
    },
    clear() {
      element.reset();
      status.value = tag.value = text.value = "";
      asked(true)();
    },
  };
}
