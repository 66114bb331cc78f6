// The data sets of a form: the newest, those that it names, older ones when they are asked for; and its menus, which all list the same.
import { call } from "./api.js";
import { h } from "./dom.js";

const PATH = "/v1/datasets?limit=100";

export const newest = () => call(PATH);

// That page, and those of `ids` that stand on later ones and are still there.
export async function including(page, ids) {
  const there = new Set(page.data.map((one) => one.id));
  const others = await Promise.all(ids.filter((id) => !there.has(id)).map((id) => call(`/v1/datasets/${id}`).catch(missing)));
  return { ...page, data: [...page.data, ...others.filter(Boolean)] };
}

const missing = (error) => { if (error.status !== 404) throw error; };

// controls: selects, of which what names no data set stays first. Returns {get(id), add(dataset), element}: `add` puts one on top of
// all of them, `element` asks for older ones.
export function menusOf(controls, page, signal) {
  let known = new Map(page.data.map((one) => [one.id, one])), last = page.last_id, more = page.has_more, reading = false;
  const said = h("small", { role: "status" }, "The newest are in the menus.");
  const element = h("div", { class: "field", hidden: !more }, h("span", {}, "Not among them?"), said, h("button", { type: "button", onclick: older }, "Older data sets"));

  function show() {
    const texts = titles([...known.values()]);
    for (const control of controls) {
      const chosen = control.value;
      control.replaceChildren(...[...control.options].filter((one) => !texts.has(one.value)), ...[...texts].map(([value, text]) => h("option", { value }, text)));
      control.value = chosen;
    }
  }
  // All that are left, page by page; where it is cut off it goes on from there when it is asked again.
  async function older() {
    if (reading) return;
    reading = true;
    try {
      while (more) {
        said.textContent = `${known.size.toLocaleString("en")} read …`;
        const next = await call(`${PATH}&after=${last}`, { signal });
        for (const { id } of next.data) known.delete(id); // one that was named is put into its place
        for (const one of next.data) known.set(one.id, one);
        [last, more] = [next.last_id, next.has_more];
      }
      if (element.contains(document.activeElement)) controls[0].focus();
    } catch (error) { said.textContent = error.message; }
    show();
    element.hidden = !more;
    reading = false;
  }
  show();
  return {
    element,
    get: (id) => known.get(id),
    add(dataset) {
      if (known.has(dataset.id)) return;
      known = new Map([[dataset.id, dataset], ...known]);
      show();
    },
  };
}

// What they are called: by name and rows; those of one name also by what they predict, when they came, and the end of the id.
// Returns a map from the id of a data set to its title.
function titles(datasets) {
  const seen = new Set(), shared = new Set();
  for (const { name } of datasets) (seen.has(name) ? shared : seen).add(name);
  return new Map(datasets.map((one) => [one.id, `${one.name} (${[rows(one), ...(shared.has(one.name) ? apart(one) : [])].join(" · ")})`]));
}

const rows = ({ n_rows: count }) => `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}`;
const apart = (one) => (one.builtin ? ["built in"] : [one.target, minute(one.created_at), `…${one.id.slice(-4)}`].filter(Boolean));

function minute(time) {
  const at = new Date(time), two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}
