// The part of a form that makes many jobs of one: which settings differ, how they are chosen, what decides.
import { h } from "./dom.js";
import { field, labelled, read, select } from "./fields.js";
import { settingsOf, vary } from "./vary.js";

const FIRST = "optimizer.learning_rate";
const PLANS = [["", "one job"], ["grid", "a grid"], ["random", "random draws"], ["asha", "draws, halved"], ["list", "a list"]];
const HELP = {
  "": "One job, or many and which is best.", grid: "Every value with every other.", random: "Each draws its own values.",
  asha: "Most draws train a little, the best train on (ASHA).", list: "Exactly these points.",
};
const OBJECTIVES = ["val_loss", "val_accuracy", "val_r2", "train_loss", "train_accuracy", "train_r2", "cv_val_loss", "cv_val_accuracy", "test_loss", "test_accuracy", "test_r2"];
const NUMBERS = {
  n: ["Draws", "How many are tried.", "12"], seed: ["Seed of the draws", "The same seed, the same draws.", "0"],
  min_epochs: ["First rung", "Epochs after which the first are compared.", "1"], max_epochs: ["Last epoch", "To which the best train.", "27"], reduction: ["Reduction", "One in so many goes on.", "3"],
};
const OF = { grid: [], list: [], random: ["n", "seed"], asha: ["n", "seed", "min_epochs", "max_epochs", "reduction"] };
const POINTS = "optimizer.learning_rate=0.1 net.hidden=[64,32]\noptimizer.learning_rate=0.01 net.hidden=[]";

// Returns {element, chosen, plan(), label(), control(pointer)}; plan() is undefined for one job; changed() is called when one of
// them may be another.
export function sweepPlan(abilities, first, changed) {
  const settings = settingsOf(abilities);
  const plan = select(PLANS, first, "plan"), objective = select(OBJECTIVES.map((name) => [name, name.replaceAll("_", " ")]), "val_loss", "objective");
  const direction = select([["", "automatic"], ["minimize", "less"], ["maximize", "more"]], "", "direction");
  const numbers = new Map(Object.entries(NUMBERS).map(([name, [title, help, usual]]) => [name, field({ name, kind: "integer", default: usual }, name, { name: `plan.${name}`, title, help })]));
  const points = h("textarea", { name: "points", spellcheck: "false", placeholder: POINTS });
  const listed = h("label", { class: "wide" }, "Points", h("small", {}, "A job on each line, with its settings by their paths."), points);
  const about = labelled("Try", HELP[first], plan);
  const rows = [], place = h("div", { class: "wide varied" });
  const add = h("button", { type: "button", onclick: () => more(free()) }, "Vary another setting");
  const figures = [labelled("Objective", "The figure that decides.", objective), labelled("Better is", "By the figure, unless you say.", direction)];
  const adding = h("div", { class: "wide adding" }, add);
  const free = () => settings.flatMap(([, some]) => some).map((one) => one.path).find((path) => !rows.some((row) => row.path === path));
  const drawn = () => plan.value === "random" || plan.value === "asha";

  function more(path) {
    const row = vary(settings, path, drawn(), () => { rows.splice(rows.indexOf(row), 1); changed(); });
    rows.push(row);
    place.append(row.element);
  }
  function show() {
    const kind = plan.value;
    about.children[1].textContent = HELP[kind];
    for (const row of rows) row.reform(drawn());
    place.hidden = adding.hidden = !kind || kind === "list";
    listed.hidden = kind !== "list";
    for (const one of figures) one.hidden = !kind;
    for (const [name, one] of numbers) one.element.hidden = !(OF[kind] ?? []).includes(name);
    changed();
  }
  plan.addEventListener("change", show);
  more(FIRST);

  const whole = (name) => numbers.get(name).value(true) ?? read("integer", NUMBERS[name][2]);
  const varied = () => Object.fromEntries(rows.map((row) => [row.path, row.value()]));
  const made = {
    grid: varied, list: () => pointsOf(points.value),
    random: () => ({ n: whole("n"), seed: whole("seed"), space: varied() }),
    asha: () => ({ n: whole("n"), seed: whole("seed"), space: varied(), min_epochs: whole("min_epochs"), max_epochs: whole("max_epochs"), reduction: whole("reduction") }),
  };
  const count = () => ({ grid: () => rows.reduce((product, row) => product * row.count, 1), list: () => points.value.split("\n").filter((line) => line.trim()).length })[plan.value]?.() ?? whole("n");
  const element = h("section", { class: "part" }, h("div", {}, h("h2", {}, "Sweep"), h("p", { class: "soft" }, "Many jobs that differ in a few settings.")),
    h("div", { class: "fields" }, about, ...figures, place, adding, ...[...numbers.values()].map((one) => one.element), listed));
  element.addEventListener("input", () => changed());
  show();
  return {
    element,
    get chosen() { return plan.value !== ""; },
    plan: () => (plan.value ? { [plan.value]: made[plan.value](), objective: objective.value, ...(direction.value ? { direction: direction.value } : {}) } : undefined),
    label: () => (plan.value ? `Start ${count()} ${count() === 1 ? "job" : "jobs"}` : "Train"),
    // The control that a pointer into the plan is about.
    control(pointer) {
      const [kind, name, path] = pointer.split("/").slice(1);
      if (kind === "objective") return objective;
      if (kind === "direction") return direction;
      if (kind === "list") return points;
      const row = rows.find((one) => one.path === (kind === "grid" ? name : path));
      return row?.control ?? numbers.get(name)?.control ?? (kind in OF ? plan : null);
    },
  };
}

// Lines of settings: path=value, the value being JSON or else a word.
function pointsOf(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => Object.fromEntries(line.split(/\s+/).map((setting) => {
    const cut = setting.indexOf("=");
    if (cut < 1) throw new Error(`“${setting}” is no setting; must be like optimizer.learning_rate=0.1`);
    return [setting.slice(0, cut), valueOf(setting.slice(cut + 1))];
  })));
}

function valueOf(text) {
  try { return JSON.parse(text); } catch { return text; }
}
