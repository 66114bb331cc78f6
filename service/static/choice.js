// A choice from a registry, such as the optimizer: its rows, and beside them the settings of the one that is chosen.
import { field, filled, labelled, marked, select, titleOf, valuesOf } from "./fields.js";

export function choice(path, rows, { help = "", empty = "automatic" } = {}) {
  const name = path.split(".").at(-1);
  const control = select([["", empty], ...rows.map((row) => [row.name, row.name])], "", name);
  const element = labelled(titleOf(name), help, control);
  let settings = [];

  const row = () => rows.find((one) => one.name === control.value);
  function show() {
    element.children[1].replaceChildren(...marked(row()?.doc ?? help));
    for (const one of settings) one.element.remove();
    settings = (row()?.parameters ?? []).map((option) => field(option, option.name, { name: `${name}.${option.name}` }));
    element.classList.toggle("first", settings.length > 0); // they stand in a row of their own
    element.after(...settings.map((one) => one.element));
  }
  control.addEventListener("change", show);
  return {
    path, element, control,
    suggest(value) { control.options[0].text = `${empty}: ${value?.name ?? value}`; },
    value: (whole) => (row() ? { name: control.value, ...valuesOf(settings, whole) } : undefined),
    fill(value) {
      const { name: asked, ...given } = typeof value === "string" ? { name: value } : value ?? {};
      control.value = asked ?? "";
      show();
      if (control.value === (asked ?? "") && filled(settings, given)) return true;
      control.value = "";
      show();
      return false;
    },
  };
}

// One choice for all hidden layers, which a specification may name layer by layer.
export function alike(part) {
  const same = (value) => (Array.isArray(value) ? (value.every((one) => JSON.stringify(one) === JSON.stringify(value[0])) ? value[0] : undefined) : value);
  const suggest = (value) => { if (value.length) part.suggest(value[0]); };
  return { ...part, suggest, fill: (value) => (Array.isArray(value) && !value.length) || (same(value) !== undefined && part.fill(same(value))) };
}
