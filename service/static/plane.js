// The plane of a net of two numbers on a canvas: its classes coloured by how sure it is, and the points it learns from.

const POINT = 4; // radius in CSS pixels
const COLOURS = 8;
const STRENGTH = 0.55; // of a colour where the net is sure

// The page's colours as red, green, blue: the browser resolves them for light and dark.
function colours() {
  const probe = document.body.appendChild(document.createElement("i"));
  const drawn = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    drawn.fillStyle = getComputedStyle(probe).color;
    drawn.fillRect(0, 0, 1, 1);
    return [...drawn.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const found = { paper: read("card"), classes: Array.from({ length: COLOURS }, (_, i) => read(`s${i}`)) };
  probe.remove();
  return found;
}

// boundary: the JSON of /explanations/boundary, of classes.
export function drawPlane(canvas, boundary) {
  const size = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  canvas.width = canvas.height = size;
  const to = canvas.getContext("2d");
  const { paper, classes } = colours();
  to.imageSmoothingEnabled = true;
  to.imageSmoothingQuality = "high";
  to.drawImage(field(boundary, paper, classes), 0, 0, size, size);
  const [x, y] = [axis(boundary.x, size), axis(boundary.y, size)];
  for (const [part, hollow] of [[boundary.points.train, false], [boundary.points.validation, true]]) {
    part.truth.forEach((truth, i) => dot(to, x(part.x[i]), size - y(part.y[i]), `rgb(${classes[truth % COLOURS]})`, `rgb(${paper})`, hollow));
  }
}

// One pixel per cell of the grid; the grid's rows run upward, a picture's downward.
function field({ predicted, probability }, paper, classes) {
  const count = predicted.length;
  const picture = new ImageData(count, count);
  const chance = 1 / (1 + Math.max(...predicted.map((row) => Math.max(...row))));
  predicted.forEach((row, j) => row.forEach((found, i) => {
    const sure = probability ? Math.max(0, (probability[j][i] - chance) / (1 - chance)) : 1;
    const share = STRENGTH * (0.25 + 0.75 * sure);
    const at = 4 * ((count - 1 - j) * count + i);
    for (let c = 0; c < 3; c += 1) picture.data[at + c] = paper[c] + share * (classes[found % COLOURS][c] - paper[c]);
    picture.data[at + 3] = 255;
  }));
  const small = new OffscreenCanvas(count, count);
  small.getContext("2d").putImageData(picture, 0, 0);
  return small;
}

const axis = (marks, size) => (v) => ((v - marks[0]) / (marks.at(-1) - marks[0])) * size;

function dot(to, x, y, colour, edge, hollow) {
  to.beginPath();
  to.arc(x, y, POINT * devicePixelRatio * 0.8, 0, 2 * Math.PI);
  to.fillStyle = hollow ? edge : colour;
  to.fill();
  to.lineWidth = devicePixelRatio * (hollow ? 2 : 1);
  to.strokeStyle = hollow ? colour : edge;
  to.stroke();
}
