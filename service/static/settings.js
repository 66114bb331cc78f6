// The settings of jobs as flat lists, and those in which jobs differ.

export function flat(value, path = "") {
  if (value === null || typeof value !== "object") return [[path, value]];
  if (Array.isArray(value)) return [[path, plain(value)]];
  return Object.entries(value).flatMap(([key, below]) => flat(below, path ? `${path}.${key}` : key));
}

// A value without brackets: the widths of layers are 16, 8, and those of none the empty text.
export function plain(value) {
  if (Array.isArray(value)) return value.map((one) => (one !== null && typeof one === "object" ? JSON.stringify(one) : String(one))).join(", ");
  return value !== null && typeof value === "object" ? JSON.stringify(value) : value;
}

// [[setting, [value of each job]]] of those whose values are not all the same; undefined where a job lacks it.
export function differing(jobs) {
  const tables = jobs.map((job) => new Map(flat({ dataset: job.dataset_name === job.dataset ? job.dataset : `${job.dataset_name} (${job.dataset})`, ...job.spec })));
  const names = [...new Set(tables.flatMap((table) => [...table.keys()]))];
  return names
    .map((name) => [name, tables.map((table) => table.get(name))])
    .filter(([, values]) => values.some((value) => value !== values[0]));
}

export function shown(value) {
  if (value === undefined) return "–";
  if (value === null) return "none";
  return value === "" ? "none" : String(value);
}
