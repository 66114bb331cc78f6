// What the service refuses, said at the field that it is about.
import { h } from "./dom.js";

let made = 0;

// errors: [{pointer, detail}]; find(pointer) is the control of one, or nothing. The first of them is gone to.
export function tell(form, errors, find) {
  clear(form);
  const controls = errors.map(({ pointer, detail }) => mark(find(pointer), detail)).filter(Boolean);
  controls[0]?.focus();
  return controls.length > 0;
}

export function clear(form) {
  for (const note of form.querySelectorAll(".fault")) note.remove();
  for (const control of form.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    describe(control, described(control).filter((id) => !id.startsWith("fault-")));
  }
}

const described = (control) => (control.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);
const describe = (control, ids) => control.setAttribute("aria-describedby", ids.join(" "));

function mark(control, detail) {
  if (!control) return null;
  const note = h("small", { class: "fault", id: `fault-${made += 1}` }, detail);
  for (let around = control.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  control.setAttribute("aria-invalid", "true");
  describe(control, [...described(control), note.id]);
  control.after(note);
  return control;
}

// A control by the pointer to a setting of a job: /net/hidden/0 is that of the hidden layers.
export function ofJob(form, pointer) {
  const steps = pointer.split("/").slice(1).filter((step, i) => i || !["net", "training"].includes(step));
  for (; steps.length; steps.pop()) {
    const found = form.querySelector(`[name="${CSS.escape(steps.join("."))}"]`);
    if (found) return found;
  }
  return null;
}
