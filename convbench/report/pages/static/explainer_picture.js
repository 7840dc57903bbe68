// A small generated picture, and what a filter of the layer's kernel makes of it: edges, a blur, sharper edges.

import { element } from "./dom.js";
import { sizedContext } from "./explainer_grids.js";
import { dilatedKernelSize, outputSize, refusal, sourceOf, tapPosition } from "./geometry.js";

/** Rows and columns of the picture, and CSS pixels of each of its pixels. */
const PICTURE_SIDE = 96;
const PIXEL = 2;
/** More products than this take longer than 0.1 s. */
const MOST_PICTURE_PRODUCTS = 20_000_000;

/** The brightness of the picture's pixels by rows, 0 to 1: a gradient, a disc, a square, stripes and a slanted edge. */
export function picturePixels() {
  return Float32Array.from({ length: PICTURE_SIDE * PICTURE_SIDE }, (_, at) => {
    const [row, column] = [Math.floor(at / PICTURE_SIDE), at % PICTURE_SIDE];
    if ((row - 28) ** 2 + (column - 28) ** 2 < 18 ** 2) return 0.95;
    if (row >= 12 && row < 44 && column >= 56 && column < 86)
      return row >= 22 && row < 34 && column >= 66 && column < 76 ? 0.9 : 0.1;
    if (row >= 56 && row < 88 && column < 48 && column >= 8) return Math.floor(column / 4) % 2 ? 0.85 : 0.15;
    if (row >= 52 && column >= 54) return column - 54 > (row - 52) * 0.9 ? 0.75 : 0.2;
    return 0.25 + (0.5 * (row + column)) / (2 * PICTURE_SIDE);
  });
}

/** The filters that a kernel of this size can be: {name, weights by rows, signed, words}. */
export function filtersOf([height, width]) {
  const made = (weigh) => Array.from({ length: height * width }, (_, at) => weigh(Math.floor(at / width), at % width));
  const slope = (at, size) => Math.sign(at - (size - 1) / 2);
  const hill = (at, size) => 1 + Math.min(at, size - 1 - at); // 1, 2, 1 as in Sobel's filter
  const all = height * width;
  if (all === 1)
    return [
      { name: "copy", weights: [1], signed: false, words: "A kernel of 1x1 sees no neighbours, so it can only scale." },
    ];
  const rise = "Grey is no change, bright a rise and dark a fall";
  const found = [];
  if (width > 1)
    found.push({
      name: "edges across",
      weights: made((i, j) => slope(j, width) * hill(i, height)),
      signed: true,
      words: `${rise}, from left to right.`,
    });
  if (height > 1)
    found.push({
      name: "edges down",
      weights: made((i, j) => slope(i, height) * hill(j, width)),
      signed: true,
      words: `${rise}, from top to bottom.`,
    });
  const middle = Math.floor(height / 2) * width + Math.floor(width / 2);
  found.push(
    { name: "blur", weights: made(() => 1 / all), signed: false, words: "Each pixel is the mean of its window." },
    {
      name: "sharpen",
      weights: made((i, j) => (i * width + j === middle ? 2 : 0) - 1 / all),
      signed: false,
      words: "Twice each pixel less the mean of its window: edges stand out.",
    },
  );
  return found;
}

/** The layer with one channel, on the picture. */
export function pictureProblem(problem) {
  const input = [PICTURE_SIDE, PICTURE_SIDE];
  return { ...problem, in_channels: 1, out_channels: 1, groups: 1, input_size: input, batch_size: 1, bias: false };
}

/** Why the picture cannot be convolved by this layer; null where it can. */
export function noPicture(problem) {
  const refused = refusal(pictureProblem(problem));
  if (refused) return `on a picture of ${PICTURE_SIDE}x${PICTURE_SIDE}, ${refused}`;
  const [rows, columns] = outputSize(pictureProblem(problem));
  const products = rows * columns * problem.kernel_size[0] * problem.kernel_size[1];
  return products > MOST_PICTURE_PRODUCTS ? "the kernel is too large for a picture here" : null;
}

/** The picture convolved with the weights by the layer's stride, padding and dilation: {size, values by rows}. */
export function convolved(problem, weights) {
  const layer = pictureProblem(problem);
  const size = outputSize(layer);
  const pixels = picturePixels();
  // The source of each output's taps along each axis; null reads a zero of the padding.
  const [rows, columns] = [0, 1].map((axis) =>
    Array.from({ length: size[axis] }, (_, out) =>
      Array.from({ length: layer.kernel_size[axis] }, (_, tap) =>
        sourceOf(layer, axis, tapPosition(layer, axis, out, tap)),
      ),
    ),
  );
  const width = layer.kernel_size[1];
  const values = rows.flatMap((sources) =>
    columns.map((others) => {
      let sum = 0;
      sources.forEach((row, i) => {
        if (row === null) return;
        others.forEach((column, j) => {
          if (column !== null) sum += weights[i * width + j] * pixels[row * PICTURE_SIDE + column];
        });
      });
      return sum;
    }),
  );
  return { size, values };
}

/** Shows the picture, the filter and the result in `host`, for the layer that the explainer shows. */
export class PicturePanel {
  constructor(host) {
    this.host = host;
    this.select = host.querySelector(".cx-filter");
    this.select.addEventListener("change", () => this.show(this.problem, this.palette));
  }

  find(selector) {
    return this.host.querySelector(selector);
  }

  /** Show the pictures for a layer; the chosen filter stays where the kernel allows it. */
  show(problem, palette) {
    Object.assign(this, { problem, palette });
    const reason = noPicture(problem);
    this.find(".cx-pictures").hidden = reason !== null;
    this.select.closest("label").hidden = reason !== null;
    if (reason) {
      this.find(".cx-picture-words").textContent = `No picture: ${reason}.`;
      this.result = null;
      return;
    }
    const filters = filtersOf(problem.kernel_size);
    const chosen = filters.find(({ name }) => name === this.select.value) ?? filters[0];
    this.select.replaceChildren(...filters.map(({ name }) => element("option", {}, name)));
    this.select.value = chosen.name;
    this.result = convolved(problem, chosen.weights);
    const { size, values } = this.result;
    const most = Math.max(1e-9, ...values.map(Math.abs));
    this.images = [
      imageOf([PICTURE_SIDE, PICTURE_SIDE], [...picturePixels()]),
      imageOf(size, chosen.signed ? values.map((value) => 0.5 + value / (2 * most)) : values),
    ];
    this.find(".cx-picture-words").textContent = chosen.words;
    this.find(".cx-picture-result figcaption").textContent = `result, ${size.join(" × ")}`;
    this.showFilter(problem, chosen);
    this.mark([0, 0]);
  }

  /** The filter's weights as a table; a large one is not shown. */
  showFilter({ kernel_size: [height, width] }, { weights }) {
    const isSmall = width <= 7 && height <= 7;
    const text = (weight) => String(Number(weight.toFixed(2))).replace("-", "\u2212");
    const rows = Array.from({ length: isSmall ? height : 0 }, (_, i) =>
      element(
        "tr",
        {},
        weights.slice(i * width, (i + 1) * width).map((weight) => element("td", {}, text(weight))),
      ),
    );
    this.find(".cx-picture-filter table").replaceChildren(element("tbody", {}, rows));
    this.find(".cx-picture-filter figcaption").textContent = `filter, ${height} × ${width}`;
  }

  /** Draw the pictures with the window at a share [down, across] of the output. */
  mark(shares) {
    if (!this.result) return;
    const layer = pictureProblem(this.problem);
    const place = shares.map((share, axis) =>
      Math.min(this.result.size[axis] - 1, Math.floor(share * this.result.size[axis])),
    );
    const start = place.map((at, axis) => tapPosition(layer, axis, at, 0));
    this.paint(".cx-picture-input canvas", this.images[0], start, dilatedKernelSize(layer), "forward");
    this.paint(".cx-picture-result canvas", this.images[1], place, [1, 1], "backward");
  }

  paint(selector, image, [row, column], [height, width], color) {
    const context = sizedContext(this.find(selector), image.width * PIXEL, image.height * PIXEL);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, image.width * PIXEL, image.height * PIXEL);
    context.strokeStyle = this.palette[color];
    context.lineWidth = 2;
    context.strokeRect(column * PIXEL - 1, row * PIXEL - 1, width * PIXEL + 2, height * PIXEL + 2);
  }
}

/** A canvas of grey pixels, from brightness 0 to 1. */
function imageOf([height, width], values) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  values.forEach((value, at) => {
    const grey = Math.round(255 * Math.min(1, Math.max(0, value)));
    image.data.set([grey, grey, grey, 255], at * 4);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
