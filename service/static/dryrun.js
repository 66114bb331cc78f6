// What a job would be, before it is submitted: its size, its first loss, and whether its gradients are right.
import { h } from "./dom.js";
import { number } from "./numbers.js";

export function dryRun(answer) {
  const { rows, gradient_check: check } = answer;
  const facts = [
    ["Parameters", answer.parameters.toLocaleString("en")],
    ["Memory", bytes(answer.memory_bytes)],
    ["Rows", [`${rows.train} train`, `${rows.validation} validate`, rows.test ? `${rows.test} test` : ""].filter(Boolean).join(", ")],
    ["Loss before training", number(answer.initial_loss)],
  ];
  if (typeof check?.expected_loss === "number") facts.push([`A net that knows nothing: ln ${Math.round(Math.exp(check.expected_loss))}`, number(check.expected_loss)]);
  return h("section", { class: "would", "aria-label": "What it would be" }, h("h2", {}, "What it would be"),
    h("dl", { class: "facts" }, ...facts.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))),
    check ? gradients(check) : h("p", { class: "soft" }, "The net is too large for its gradients to be checked here."));
}

// The largest relative error of every tensor against central differences.
function gradients({ ok, errors, tolerance, checked, rows }) {
  const shown = Object.entries(errors).map(([name, error]) => h("li", {}, h("code", {}, name), ` ${error === null ? "not finite" : error.toExponential(1)}`));
  return h("div", {}, h("p", { class: "checked" }, h("strong", {}, "Gradient check: "), h("span", { class: `verdict ${ok ? "right" : "wrong"}` }, ok ? "right" : "wrong"),
    h("span", { class: "soft" }, ` · ${checked} of its parameters on ${rows} rows; those of each tensor are this near to central differences, ${tolerance.toExponential(0)} at most:`)), h("ul", { class: "tensors" }, ...shown));
}

function bytes(count) {
  const power = Math.min(3, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1000)));
  return `${number(count / 1000 ** power, 3)} ${["B", "kB", "MB", "GB"][power]}`;
}
