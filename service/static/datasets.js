// What data sets are called in a menu: by name and rows; those of one name also by what they predict, when they came, and the end of the id.

// Returns a map from the id of a data set to its title.
export function titles(datasets) {
  const names = datasets.map((one) => one.name);
  const shared = new Set(names.filter((name, i) => names.indexOf(name) !== i));
  return new Map(datasets.map((one) => [one.id, `${one.name} (${[rows(one), ...(shared.has(one.name) ? apart(one) : [])].join(" · ")})`]));
}

const rows = ({ n_rows: count }) => `${count.toLocaleString("en")} ${count === 1 ? "row" : "rows"}`;
const apart = (one) => (one.builtin ? ["built in"] : [one.target, minute(one.created_at), `…${one.id.slice(-4)}`].filter(Boolean));

function minute(time) {
  const at = new Date(time), two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}
