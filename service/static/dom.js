// Small ways to make elements; text is always set as text, never as markup.

export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

// Replace only what is different: a new button under the pointer would lose its click, and the keyboard its focus.
export function renew(place, ...parts) {
  parts.forEach((part, i) => {
    const there = place.children[i];
    if (!there) place.append(part);
    else if (!there.isEqualNode(part) && !adapted(there, part)) there.replaceWith(part);
  });
  while (place.children.length > parts.length) place.lastElementChild.remove();
}

// Make an element equal to another one, if both are of the same kind and hold the same text or nothing but elements; a link leads
// where it led. Returns whether that was done.
function adapted(there, part) {
  if (there.nodeName !== part.nodeName || there.getAttribute("href") !== part.getAttribute("href")) return false;
  const nested = [...there.childNodes, ...part.childNodes].every((one) => one.nodeType === Node.ELEMENT_NODE);
  if (!nested && there.innerHTML !== part.innerHTML) return false;
  for (const { name } of [...there.attributes]) if (!part.hasAttribute(name)) there.removeAttribute(name);
  for (const { name, value } of part.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  if (nested) renew(there, ...part.children);
  return true;
}

export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

// Why a job is in its state, where that says more than the state.
export const reason = (job) => (["completed", job.status].includes(job.status_reason) ? null : job.status_reason);

// A figure's or a setting's name as people read it.
const WORDS = { cv: "cross-validated", val: "validation", r2: "R²" };
export const spoken = (name) => name.split("_").map((word, i, all) => (word === "val" && all[i - 1] === "cv" ? "" : WORDS[word] ?? word)).filter(Boolean).join(" ");
export const titled = (name) => { const words = spoken(name); return words[0].toUpperCase() + words.slice(1); };

export const status = (name) => h("span", { class: `status ${name}` }, name);

// The data set of a job or a sweep, by its name; its id is there for whoever looks closer.
export const dataset = (of) => h("span", of.dataset_name === of.dataset ? {} : { title: of.dataset }, of.dataset_name);

export function alert(error) {
  const list = (error.errors?.length > 1 ? error.errors : []).map((e) => h("li", {}, `${e.pointer} ${e.detail}`));
  return h("div", { class: "alert", role: "alert" }, error.message, list.length ? h("ul", {}, ...list) : null);
}

export function ago(time) {
  if (!time) return "–";
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return "just now";
}

export function duration(job) {
  if (!job.started_at) return "–";
  const end = job.finished_at ? Date.parse(job.finished_at) : Date.now();
  const seconds = (end - Date.parse(job.started_at)) / 1000;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 90 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}
