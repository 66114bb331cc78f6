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
    else if (!there.isEqualNode(part)) there.replaceWith(part);
  });
  while (place.children.length > parts.length) place.lastElementChild.remove();
}

export const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export const status = (name) => h("span", { class: `status ${name}` }, name);

export function alert(error) {
  const list = (error.errors || []).map((e) => h("li", {}, `${e.pointer} ${e.detail}`));
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
  return seconds < 90 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds / 60)} min`;
}
