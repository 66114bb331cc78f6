// Files of a person's own as a data set: one, or the two of an IDX or NPY pair; chosen, or dropped on a form.
import { send } from "./api.js";
import { alert, h } from "./dom.js";

// done(dataset, again) is called with what the service made of the files; again(options) reads the same files anew.
export function uploader(done) {
  const input = h("input", { type: "file", name: "file", multiple: true, onchange: () => take(input.files) });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "uploaded" });
  const said = h("div", { "aria-live": "polite" });

  async function upload(files, options) {
    const body = new FormData();
    for (const file of files) body.append("file", file, file.name);
    if (options) body.append("options", JSON.stringify(options));
    bar.hidden = false;
    bar.value = 0;
    said.replaceChildren();
    try {
      const dataset = await send("/v1/datasets", body, (share) => { bar.value = share; });
      done(dataset, (changed) => upload(files, { name: dataset.name, ...changed }));
    } catch (error) {
      said.replaceChildren(alert(error));
    } finally {
      bar.hidden = true;
    }
  }
  const take = (list) => { const files = [...list]; if (files.length) upload(files); };
  return { input, status: h("div", { class: "wide" }, bar, said), drop: (place) => droppable(place, take) };
}

// Files that are dropped anywhere on an element are taken, and it shows that they would be.
function droppable(place, take) {
  const files = (event) => [...event.dataTransfer.types].includes("Files");
  place.addEventListener("dragover", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  place.addEventListener("dragleave", (event) => { if (!place.contains(event.relatedTarget)) place.classList.remove("dropping"); });
  place.addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    place.classList.remove("dropping");
    take(event.dataTransfer.files);
  });
}
