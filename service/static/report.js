// What the service has found in a data set, column by column; of one uploaded here, what it shall be instead.
import { h } from "./dom.js";
import { labelled, select } from "./fields.js";
import { exact, number } from "./numbers.js";

const KINDS = ["numeric", "categorical", "boolean", "datetime"];
const TASKS = [["auto", "automatic"], ["classification", "classification"], ["regression", "regression"]];
const MOST_ROWS = 200;
const MOST_CATEGORIES = 4;

// again(options): upload the same files with other options; left out where they are not at hand.
export function report(dataset, again) {
  const kinds = new Map();
  const rows = dataset.columns.slice(0, MOST_ROWS).map((column) => row(column, again && ((kind) => kinds.set(column.name, kind))));
  const more = dataset.columns.length - rows.length;
  const table = h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Columns" }, h("table", { class: "columns" },
    h("thead", {}, h("tr", {}, ...["Column", "Kind", "Missing", "Different", "Range"].map((text) => h("th", { scope: "col", class: ["Missing", "Different"].includes(text) ? "number" : null }, text)))),
    h("tbody", {}, ...rows)));
  return h("section", { class: "report", "aria-label": `About ${dataset.name}` },
    h("p", { class: "about" }, h("strong", {}, dataset.name), `: ${facts(dataset).join(" · ")}`),
    dataset.warnings.length ? h("ul", { class: "warnings" }, ...dataset.warnings.map((text) => h("li", {}, text))) : null,
    h("details", { open: Boolean(again) && !dataset.image }, h("summary", {}, `Columns (${dataset.columns.length})`), table,
      more > 0 ? h("p", { class: "soft" }, `and ${more.toLocaleString("en")} more`) : null),
    again ? overrides(dataset, kinds, again) : null);
}

function facts({ n_rows: rows, n_features: features, n_classes: classes, image, target, task }) {
  const count = (value, one, many) => `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
  return [
    count(rows, "row", "rows"), image ? `${image.width} × ${image.height} pixels${image.channels > 1 ? ` × ${image.channels}` : ""}` : count(features, "feature", "features"),
    task === "classification" ? `${target || "target"}: ${count(classes, "class", "classes")}` : `${target || "target"}: a number`,
  ];
}

function row(column, changed) {
  const kind = changed
    ? h("select", { "aria-label": `kind of ${column.name}`, onchange: (event) => changed(event.target.value) }, ...KINDS.map((name) => h("option", { selected: name === column.kind }, name)))
    : column.kind;
  return h("tr", {}, h("th", { scope: "row" }, column.name), h("td", {}, kind), h("td", { class: "number" }, column.missing ? column.missing.toLocaleString("en") : "–"),
    h("td", { class: "number" }, number(column.cardinality, 6)), h("td", {}, range(column)));
}

function range({ kind, categories = [], minimum, maximum }) {
  if (categories.length) return categories.slice(0, MOST_CATEGORIES).join(", ") + (categories.length > MOST_CATEGORIES ? ", …" : "");
  if (minimum === undefined || minimum === null) return "–";
  const written = kind === "datetime" ? moment : (value) => exact(value, 4);
  return `${written(minimum)} … ${written(maximum)}`;
}

// Seconds since 1970 as a date, and the time of the day where it is not midnight.
function moment(seconds) {
  const [day, time] = new Date(seconds * 1000).toISOString().replace(/\.000Z|Z/, "").split("T");
  return time === "00:00:00" ? day : `${day} ${time}`;
}

function overrides(dataset, kinds, again) {
  const names = [dataset.target, ...dataset.columns.map((column) => column.name)].filter(Boolean);
  const target = select([...new Set(names)].map((name) => [name, name]), dataset.target, "target");
  const task = select(TASKS, "auto", "task");
  const button = h("button", { type: "button", onclick: () => {
    const columns = Object.fromEntries([...kinds].filter(([name]) => name !== target.value).map(([name, kind]) => [name, { kind }]));
    again({ target: target.value, ...(task.value === "auto" ? {} : { task: task.value }), ...(kinds.size ? { columns } : {}) });
  } }, "Read again");
  return h("div", { class: "fields" }, labelled("Target", "The column to predict.", target), labelled("Task", "What the target is.", task),
    h("div", { class: "field" }, h("span", {}, "Not as it should be?"), h("small", {}, "Change target, task or kinds."), button));
}
