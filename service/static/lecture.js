// The lecture behind the service: what every row says, its numbers as the service computes them now, and whether they hold.
import { answered, call, Problem } from "./api.js";
import { alert, h } from "./dom.js";
import { marked } from "./fields.js";
import { number } from "./numbers.js";

const AT_ONCE = 2; // rows that are computed at the same time, as many as the service does
const BUSY_MS = 1000;
const MOST_PRINTED = 6; // numbers of a row that are shown before it is opened
const VERDICTS = new Map([[true, ["right", "holds"]], [false, ["wrong", "does not hold"]], [null, ["elsewhere", "shown elsewhere"]], [undefined, ["elsewhere", "no numbers"]]]);

// `chosen`: the id of a row that is opened.
export async function lectureView(main, chosen) {
  const gone = new AbortController();
  const rows = (await call("/v1/lecture")).data.map(panel);
  const chapters = Map.groupBy(rows, ({ row }) => row.chapter);
  const said = h("p", { class: "soft", role: "status" });
  const asked = rows.filter(({ row }) => row.computed);
  let held = 0, computed = 0;
  const tell = () => { said.textContent = computed < asked.length ? `${computed} of ${asked.length} rows computed` : `${held} of ${asked.length} rows hold, computed just now`; };
  tell();
  main.replaceChildren(h("div", { class: "head" }, h("div", {}, h("h1", {}, "The lecture"),
    h("p", { class: "soft about" }, "The theory behind this service, statement by statement. Every number is computed by the service as you look, with the parts that train your nets."), said)),
    ...[...chapters].map(([title, found]) => h("section", {}, h("h2", {}, title), h("div", { class: "rows" }, ...found.map(({ element }) => element)))));
  const first = rows.find(({ row }) => row.id === chosen);
  if (first) first.show();

  const waiting = [...(first?.row.computed ? [first] : []), ...asked.filter((one) => one !== first)];
  async function work() {
    for (let one = waiting.shift(); one && !gone.signal.aborted; one = waiting.shift()) {
      const ok = await one.compute(gone.signal);
      held += ok ? 1 : 0;
      computed += 1;
      tell();
    }
  }
  for (let i = 0; i < AT_ONCE; i += 1) work();
  return () => gone.abort();
}

function panel(row) {
  const verdict = h("span", { class: "verdict" }, "…"), body = h("div", { class: "claims" });
  const details = h("details", { hidden: row.computed ? null : true }, h("summary", {}, "numbers"), body);
  const element = h("article", { class: "lecture-row", id: row.id, "aria-label": `${row.id} ${row.title}` },
    h("a", { class: "row-id", href: `#/lecture/${row.id}` }, row.id),
    h("div", {}, h("h3", {}, row.title), h("p", {}, row.text), row.where ? h("p", { class: "soft small-print" }, "In the service: ", ...marked(row.where), ".") : null,
      row.proof ? h("p", { class: "soft small-print" }, row.computed ? "Also: " : row.link ? "Instead: " : "", row.link && !row.computed ? h("a", { href: row.link }, row.proof) : row.proof, ".") : null, details),
    verdict);
  const judge = (ok) => { const [look, text] = VERDICTS.get(ok); verdict.className = `verdict ${look}`; verdict.textContent = text; };
  if (!row.computed) judge(row.link ? null : undefined);
  return {
    row, element,
    show() {
      details.open = true;
      requestAnimationFrame(() => element.scrollIntoView({ block: "start" }));
    },
    async compute(signal) {
      try {
        const { claims, ok, seconds } = await inTurn(`/v1/lecture/${row.id}`, signal);
        judge(ok);
        details.querySelector("summary").textContent = summary(claims, seconds);
        body.replaceChildren(table(row, claims));
        return ok;
      } catch (error) {
        body.replaceChildren(alert(error));
        return false;
      }
    },
  };
}

// How many numbers, and the first of those that the lecture prints.
function summary(claims, seconds) {
  const printed = claims.flatMap(({ slide, got }) => (slide === null ? [] : [number(got, Math.max(3, slide.replace(/^-?0?\.?0*|e.*|\./g, "").length))]));
  const first = printed.length ? `: ${printed.slice(0, MOST_PRINTED).join(", ")}${printed.length > MOST_PRINTED ? ", …" : ""}` : "";
  return `${claims.length} ${claims.length === 1 ? "number" : "numbers"} in ${duration(seconds)}${first}`;
}

// A service that computes for others is asked again.
async function inTurn(path, signal) {
  for (;;) {
    try { return await answered(path, signal); } catch (error) {
      if (!(error instanceof Problem) || error.status !== 429) throw error;
      await new Promise((resume) => setTimeout(resume, BUSY_MS));
    }
  }
}

const duration = (seconds) => (seconds < 0.1 ? `${number(seconds * 1000, 2)} ms` : `${number(seconds, 2)} s`);

export function table(row, claims) {
  const slides = claims.some((claim) => claim.slide !== null);
  const titles = [["What", ""], ["Computed", "number"], ["Expected", "number"], ...(slides ? [["Slide", "number"]] : []), ["Holds", ""]];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Numbers of ${row.id}` }, h("table", { class: "columns" },
    h("thead", {}, h("tr", {}, ...titles.map(([text, look]) => h("th", { scope: "col", class: look }, text)))),
    h("tbody", {}, ...claims.map((claim) => h("tr", {}, h("th", { scope: "row" }, claim.what), h("td", { class: "number" }, shown(claim.got)), h("td", { class: "number" }, shown(claim.expected) + within(claim)),
      ...(slides ? [h("td", { class: "number" }, claim.slide ?? "")] : []), h("td", {}, h("span", { class: `verdict ${claim.ok ? "right" : "wrong"}` }, claim.ok ? "yes" : "no")))))));
}

const shown = (value) => (typeof value === "number" ? number(value, 7) : value === null ? "not finite" : value === true ? "yes" : value === false ? "no" : String(value));
// A tolerance is told where it is more than rounding.
const within = ({ tolerance, expected }) => (typeof expected === "number" && tolerance > 1e-11 ? ` ± ${tolerance.toExponential(0)}` : "");
