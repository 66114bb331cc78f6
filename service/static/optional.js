// A model that may be left out, such as early stopping: no, or yes with its settings.
import { field, filled, labelled, select, titleOf, valuesOf } from "./fields.js";

export function optional(path, options, { help, fields = {} }) {
  const name = path.split(".").at(-1);
  const control = select([["", "no"], ["yes", "yes"]], "", name);
  const element = labelled(titleOf(name), help, control);
  const settings = options.map((option) => field(option, option.name, { name: `${name}.${option.name}`, ...fields[option.name] }));
  const show = () => { for (const one of settings) one.element.hidden = !control.value; element.classList.toggle("first", Boolean(control.value)); };
  control.addEventListener("change", show);
  show();
  return {
    path, elements: [element, ...settings.map((one) => one.element)], control,
    value: (whole) => (control.value ? valuesOf(settings, whole) : undefined),
    fill(value) {
      control.value = value ? "yes" : "";
      show();
      return filled(settings, value ?? {});
    },
  };
}
