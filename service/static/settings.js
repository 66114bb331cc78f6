// The settings of jobs as flat lists, and those in which jobs differ.

export function flat(value, path = "") {
  if (value === null || typeof value !== "object") return [[path, value]];
  if (Array.isArray(value)) return [[path, value.map((v) => (v !== null && typeof v === "object" ? JSON.stringify(v) : String(v))).join(", ")]];
  return Object.entries(value).flatMap(([key, below]) => flat(below, path ? `${path}.${key}` : key));
}

// [[setting, [value of each job]]] of those whose values are not all the same; undefined where a job lacks it.
export function differing(jobs) {
  const tables = jobs.map((job) => new Map(flat({ dataset: job.dataset, ...job.spec })));
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
