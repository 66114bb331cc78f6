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
  if (typeof check?.expected_loss === "number") facts.push(["of a net that knows nothing", number(check.expected_loss)]);
  if (check) facts.push(["Gradient check", `${check.ok ? "right" : "wrong"}, to ${check.max_relative_error.toExponential(0)}`]);
  return h("section", { class: "wide", "aria-label": "What it would be" },
    h("dl", { class: "facts" }, ...facts.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value)))));
}

function bytes(count) {
  const power = Math.min(3, Math.floor(Math.log(Math.max(count, 1)) / Math.log(1000)));
  return `${number(count / 1000 ** power, 3)} ${["B", "kB", "MB", "GB"][power]}`;
}
