// What a pointer does over a chart: it reads the place it is at, and marks a part by dragging, or with two fingers.
import { placeOf } from "./curve.js";

const SMALLEST = 0.01; // share of the axis below which a drag is a click

// Calls read(share, height), unread(), marking(from, to), marked(from, to) and dropped(); shares of the x axis may lie outside
// 0 … 1. ready() says whether there is anything to mark.
export function gestures(svg, { ready, read, unread, marking, marked, dropped }) {
  const down = new Map(); // pointer → share; of a mouse where its drag began, of a finger where it is
  let ends = null; // of the part that is being marked

  function end() {
    down.clear();
    if (ends) dropped();
    ends = null;
  }
  function marks(...shares) {
    ends = shares.sort((a, b) => a - b);
    marking(...ends);
  }
  // A finger that is lifted leaves what it read, until another place is touched.
  function elsewhere(event) {
    if (svg.contains(event.target)) return;
    document.removeEventListener("pointerdown", elsewhere);
    unread();
  }
  svg.addEventListener("pointerdown", (event) => {
    const touch = event.pointerType === "touch", [share, height] = placeOf(svg, event);
    if (!ready() || event.button) return;
    down.set(event.pointerId, share);
    svg.setPointerCapture(event.pointerId);
    if (touch) document.addEventListener("pointerdown", elsewhere);
    if (down.size === 2) marks(...down.values());
    else if (touch) read(share, height);
  });
  svg.addEventListener("pointermove", (event) => {
    const touch = event.pointerType === "touch", [share, height] = placeOf(svg, event);
    if (touch && !down.has(event.pointerId)) return;
    if (touch) down.set(event.pointerId, share);
    if (down.size === 2) marks(...down.values());
    else if (down.size === 1 && !touch) marks(down.get(event.pointerId), share);
    if (down.size < 2) read(share, height);
  });
  svg.addEventListener("pointerup", () => {
    const found = ends;
    end();
    if (found && found[1] - found[0] > SMALLEST) marked(...found);
  });
  svg.addEventListener("pointercancel", () => { end(); unread(); });
  svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") unread(); });
  return { get busy() { return ends !== null; } };
}
