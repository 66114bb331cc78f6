// The figures of a job as tables: by the rows they were measured on, and by fold where it was cross-validated.
import { h } from "./dom.js";
import { number } from "./numbers.js";

const ROWS = [["train", "Training"], ["val", "Validation"], ["test", "Test"]];
const NAMES = { loss: "Loss", accuracy: "Accuracy", balanced_accuracy: "Balanced accuracy", macro_f1: "Macro F1", auc: "AUC", r2: "R²", rmse: "RMSE", mae: "MAE" };

const named = (figure) => NAMES[figure] ?? figure.replaceAll("_", " ");

export function figures(metrics) {
  const known = Object.entries(metrics || {}).filter(([, value]) => typeof value === "number");
  return [byRows(known), byFold(known)].filter(Boolean);
}

function byRows(known) {
  const found = new Map(); // figure → rows → value
  for (const [key, value] of known) {
    const [, rows, figure] = /^(train|val|test)_(.+)$/.exec(key) || [];
    if (rows) found.set(figure, { ...found.get(figure), [rows]: value });
  }
  const columns = ROWS.filter(([rows]) => [...found.values()].some((values) => rows in values));
  if (!columns.length) return null;
  return table("Figures", "by rows", columns.map(([, title]) => title), [...found].map(([figure, values]) => [named(figure), columns.map(([rows]) => number(values[rows]))]));
}

function byFold(known) {
  const found = new Map(); // figure → {folds: [value], mean, deviation}
  const of = (figure) => found.get(figure) ?? found.set(figure, { folds: [] }).get(figure);
  for (const [key, value] of known) {
    const fold = /^fold(\d+)_val_(.+)$/.exec(key), whole = /^cv_val_(.+?)(_std)?$/.exec(key);
    if (fold) of(fold[2]).folds[Number(fold[1]) - 1] = value;
    if (whole) of(whole[1])[whole[2] ? "deviation" : "mean"] = value;
  }
  if (!found.size) return null;
  const count = Math.max(...[...found.values()].map((one) => one.folds.length));
  const titles = ["Mean ± deviation", ...Array.from({ length: count }, (_, i) => `Fold ${i + 1}`)];
  const cells = (one) => [`${number(one.mean)} ± ${number(one.deviation, 2)}`, ...Array.from({ length: count }, (_, i) => number(one.folds[i]))];
  return table("Cross-validation", "by fold", titles, [...found].map(([figure, one]) => [named(figure), cells(one)]));
}

function table(title, by, titles, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title} ${by}` }, h("table", { class: "figures" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, title), ...titles.map((text) => h("th", { scope: "col", class: "number" }, text)))),
    h("tbody", {}, ...rows.map(([figure, values]) => h("tr", {}, h("th", { scope: "row" }, figure), ...values.map((value) => h("td", { class: "number" }, value)))))));
}
