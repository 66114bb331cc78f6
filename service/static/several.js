// Featurisers of images, of which several may be chosen: they stand in the registry's order.
import { h } from "./dom.js";
import { field, filled, marked, valuesOf } from "./fields.js";

export function several(path, rows) {
  const one = (row) => {
    const box = h("input", { type: "checkbox", name: path, value: row.name });
    const settings = row.parameters.map((option) => field(option, option.name, { name: `${path}.${row.name}.${option.name}` }));
    const show = () => { for (const each of settings) each.element.hidden = !box.checked; };
    box.addEventListener("change", show);
    show();
    box.setAttribute("aria-label", row.name);
    return { row, box, show, settings, element: h("label", { class: "field" }, h("span", {}, box, ` ${row.name}`), h("small", {}, ...marked(row.doc))) };
  };
  const all = rows.map(one);
  return {
    path, elements: all.flatMap(({ element, settings }) => [element, ...settings.map((each) => each.element)]),
    value(whole) {
      const chosen = all.filter(({ box }) => box.checked).map(({ row, settings }) => ({ name: row.name, ...valuesOf(settings, whole) }));
      return chosen.length ? chosen : undefined;
    },
    fill(value) {
      const asked = (value ?? []).map((each) => (typeof each === "string" ? { name: each } : each));
      const order = asked.map(({ name }) => rows.findIndex((row) => row.name === name));
      const fits = order.every((place, i) => place >= 0 && (!i || place > order[i - 1]));
      let good = fits;
      for (const { row, box, show, settings } of all) {
        const { name, ...given } = (fits && asked.find((each) => each.name === row.name)) || {};
        box.checked = name !== undefined;
        show();
        good = filled(settings, given) && good;
      }
      return good;
    },
  };
}
