// The explainer of a convolution: settings that the reader may change, the moving kernel, and the results.
// The markup is in templates/explainer.html.j2.

import { element } from "./dom.js";
import { CanvasGrid, cellSize, drawChannels, readPalette, watchTheme } from "./explainer_grids.js";
import { PicturePanel } from "./explainer_picture.js";
import {
  axisNotes,
  channelsText,
  constructorText,
  countText,
  factsOf,
  formulaParts,
  pluralText,
  readersText,
  shapeText,
  stepText,
  summaryText,
  tooManyProducts,
  wayText,
} from "./explainer_words.js";
import {
  axisNames,
  channelsPerGroup,
  dilatedKernelSize,
  firstChannel,
  fromText,
  leastOf,
  notDrawn,
  outOfRange,
  outputShape,
  outputSize,
  paddedSize,
  pads,
  readersOf,
  readersOfElement,
  refusal,
  rowsRead,
  sourceOf,
  toText,
  unsuitable,
  waysOut,
} from "./geometry.js";
import { biasValue, channelSum, outputValue, paddedValue, productsInOutput, tapsOf, weightValue } from "./samples.js";

/** Example layers, each for one feature. The second is what the explainer shows where no layer is asked for. */
const EXAMPLES = [
  ["3x3 on 5x5", "c1-5x5-k1-3x3"],
  ["padding", "c1-5x5-k1-3x3-p1x1"],
  ["rows dropped", "c1-9x9-k1-3x3-s4x4"],
  ["dilation", "c1-11x11-k1-3x3-p2x2-d3x3"],
  ["1x7 kernel", "c2-7x12-k2-1x7-same"],
  ["even kernel", "c1-6x6-k1-4x4-same"],
  ["reflect", "c1-6x6-k1-3x3-p3x3-reflect"],
  ["groups", "c6-6x6-k4-3x3-p1x1-g2"],
  ["depthwise", "c8-7x7-k8-3x3-p1x1-g8-unbiased"],
  ["ResNet's first", "c3-224x224-k64-7x7-s2x2-p3x3-unbiased"],
];

const MOST_WAYS = 6;
/** Maximum number of products that are shown individually: more are not legible. */
const MOST_CELLS = 160;
const MOST_CHANNELS_LAID_OUT = 6;
/** Number of products that are summed per frame for the numbers of the output grid, which takes about 3 ms. */
const PRODUCTS_PER_FRAME = 300_000;
const LARGEST_CELL = 46;
/** Smaller than for the input, because to show the whole output is more useful than its numbers of mostly 3 digits. */
const SMALLEST_OUTPUT_CELL = 12;
/** Below this width in CSS pixels the grids are stacked. */
const NARROW = 620;
const GLIDE_MS = 160;
/** The shortest time between two sentences for a screen reader: when the reader moves the kernel, when it plays. */
const SPEAK_AFTER_MS = 500;
const SPEAK_PLAYING_MS = 4000;

/** The layer that the explainer shows where no layer is asked for: 3x3 with padding. */
export function usualExample() {
  return fromText(EXAMPLES[1][1]);
}

/**
 * Show the explanation in `host`. `execution` is {direction, dtype}, with autocast, memory_format and input_format where they are not
 * default. `measured` has nearest(problem) -> {label, href, same, differs} or null; without a run it is null. `text` is
 * a reader's setting as passed to `onChange`; the empty text is the problem itself.
 *
 * Returns {show(problem, execution, text)}, which shows another case and does not call `onChange`.
 */
export function mountExplainer(host, { problem, execution, measured = null, onChange = () => {}, text = "" }) {
  const explainer = new Explainer(host, measured, onChange);
  explainer.show(problem, execution, text);
  return { show: (other, how, setting = "") => explainer.show(other, how, setting) };
}

class Explainer {
  constructor(host, measured, onChange) {
    this.host = host;
    this.measured = measured;
    this.onChange = onChange;
    this.place = [0, 0];
    this.shown = [0, 0]; // where the window is drawn while it moves to `place`
    this.outChannel = 0;
    this.inChannel = 0; // within the group
    this.pointed = null; // the place of the padded input under the pointer, in rows of the input
    this.playing = false;
    this.values = new Map();
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.palette = readPalette(this.host);
    this.input = new CanvasGrid(this.find(".cx-input .cx-canvas"), this.find(".cx-input .cx-map"));
    this.kernel = new CanvasGrid(this.find(".cx-kernel .cx-canvas"), null);
    this.output = new CanvasGrid(this.find(".cx-output .cx-canvas"), this.find(".cx-output .cx-map"));
    this.picture = new PicturePanel(this.find(".cx-picture"));
    host.hidden = false;
    this.find(".cx-sum").open = host.clientWidth >= NARROW; // it is taller than a small screen
    this.listenToSettings();
    this.listenToMoves();
    this.listenToChannels();
    watchTheme(() => {
      this.palette = readPalette(host);
      this.redraw();
      if (!this.drawn) return;
      this.drawStrips();
      this.picture.show(this.drawn, this.palette);
    });
    new ResizeObserver(() => {
      if (!this.drawn || host.clientWidth === this.width) return;
      this.layOut();
      this.drawStrips();
      this.redraw();
    }).observe(host);
  }

  find(selector) {
    return this.host.querySelector(selector);
  }

  findAll(selector) {
    return [...this.host.querySelectorAll(selector)];
  }

  // Settings

  show(problem, execution, text) {
    const reason = notDrawn(problem);
    this.base = reason ? usualExample() : problem;
    this.execution = execution;
    this.drawn = null;
    this.adopt((text && fromText(text)) || this.base);
    if (reason) this.find(".cx-mistakes").replaceChildren(element("p", {}, `${reason}; shown is an example`));
  }

  listenToSettings() {
    this.fields = this.findAll(".cx-controls [data-setting]");
    const typed = this.fields.filter((field) => field.type === "text");
    for (const field of typed) {
      field.addEventListener("input", () => this.readFields());
      this.makeStepper(field, (by) => {
        const least = leastOf(field.dataset.setting);
        const value = Number(field.value);
        field.value = String(Math.max(least, (Number.isInteger(value) ? value : least) + by));
        this.readFields();
      });
    }
    for (const field of this.fields) {
      if (field.type !== "text") field.addEventListener("change", () => this.readFields());
    }
    this.find(".cx-controls").addEventListener("submit", (event) => event.preventDefault());
    this.find(".cx-reset").addEventListener("click", () => this.choose(this.base));
    for (const [name, text] of EXAMPLES) {
      const button = element("button", { type: "button" }, name);
      button.dataset.text = text;
      button.addEventListener("click", () => this.choose(fromText(text)));
      this.find(".cx-examples").append(button);
    }
  }

  /** Make the buttons of a field and its arrow keys count up and down. */
  makeStepper(field, count) {
    field.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!by) return;
      event.preventDefault();
      count(by);
    });
    for (const button of field.parentElement.querySelectorAll("[data-by]")) {
      button.addEventListener("click", () => count(Number(button.dataset.by)));
    }
  }

  field(setting, axis = "") {
    return this.fields.find(
      (field) => field.dataset.setting === setting && (field.dataset.axis ?? "") === String(axis),
    );
  }

  /** Show a problem that the reader chose as a whole. */
  choose(problem) {
    this.adopt(problem);
    this.reportChange();
  }

  reportChange() {
    const text = toText(this.problem);
    this.onChange(text === toText(this.base) ? "" : text);
  }

  /** Show a problem in the fields and in the drawing. */
  adopt(problem) {
    const pairs = ["input_size", "kernel_size", "stride", "dilation", "padding"];
    const square = pairs.every((name) => !Array.isArray(problem[name]) || problem[name][0] === problem[name][1]);
    this.field("square").checked = square;
    for (const name of pairs) {
      for (const axis of [0, 1]) this.field(name, axis).value = Array.isArray(problem[name]) ? problem[name][axis] : 0;
    }
    this.field("padding").value = Array.isArray(problem.padding) ? "" : problem.padding;
    for (const name of ["in_channels", "out_channels", "groups"]) this.field(name).value = problem[name];
    this.field("padding_mode").value = problem.padding_mode;
    this.field("bias").checked = problem.bias;
    this.field("batch_size").value = problem.batch_size ?? 1;
    this.field("unbatched").checked = problem.batch_size === null;
    this.showMistakes([]);
    this.setProblem(problem);
  }

  /** Show the problem in the fields, or the mistakes in them. */
  readFields() {
    const square = this.field("square").checked;
    const mistakes = [];
    const number = (name, axis = "") => {
      const field = this.field(name, axis);
      const typed = field.value.trim();
      const value = /^-?\d{1,9}$/.test(typed) ? Number(typed) : Number.NaN;
      const wrong = outOfRange(name, value);
      if (wrong) mistakes.push({ field, message: `${labelOfField(field)}: ${wrong}, got '${typed.slice(0, 20)}'` });
      return value;
    };
    const pair = (name) => {
      const height = number(name, 0);
      if (square) this.field(name, 1).value = this.field(name, 0).value;
      return [height, square ? height : number(name, 1)];
    };
    const problem = {
      in_channels: number("in_channels"),
      out_channels: number("out_channels"),
      kernel_size: pair("kernel_size"),
      input_size: pair("input_size"),
      stride: pair("stride"),
      padding: this.field("padding").value || pair("padding"),
      dilation: pair("dilation"),
      groups: number("groups"),
      bias: this.field("bias").checked,
      padding_mode: this.field("padding_mode").value,
      batch_size: this.field("unbatched").checked ? null : number("batch_size"),
      module_output_size: null,
    };
    this.showMistakes(mistakes);
    if (mistakes.length) {
      this.dressFields();
      return;
    }
    this.setProblem(problem);
    this.reportChange();
  }

  showMistakes(mistakes) {
    const wrong = new Set(mistakes.map(({ field }) => field));
    for (const field of this.fields) {
      if (field.type !== "text") continue;
      field.setAttribute("aria-invalid", String(wrong.has(field)));
      if (wrong.has(field)) field.setAttribute("aria-describedby", "cx-mistakes");
      else field.removeAttribute("aria-describedby");
    }
    this.find(".cx-mistakes").replaceChildren(...mistakes.map(({ message }) => element("p", {}, message)));
    this.host.classList.toggle("cx-stale", mistakes.length > 0 || this.find(".cx-refusal").hasChildNodes());
  }

  /** Update the names and the visibility of fields that depend on other fields. */
  dressFields() {
    const square = this.field("square").checked;
    this.host.classList.toggle("cx-square", square);
    this.host.classList.toggle("cx-worded", this.field("padding").value !== "");
    this.field("batch_size").disabled = this.field("unbatched").checked;
    for (const field of this.fields) {
      if (field.type === "text") field.setAttribute("aria-label", labelOfField(field, square));
    }
  }

  setProblem(problem) {
    this.pause();
    this.problem = problem;
    this.dressFields();
    const text = toText(problem);
    for (const button of this.findAll(".cx-examples button")) {
      button.setAttribute("aria-pressed", String(button.dataset.text === text));
    }
    this.find(".cx-reset").hidden = text === toText(this.base);
    this.find(".cx-constructor").textContent = constructorText(problem);
    const reason = refusal(problem) ?? unsuitable(problem, this.execution);
    this.showRefusal(reason);
    this.showMeasured();
    this.showFormulas();
    this.host.classList.toggle("cx-stale", reason !== null);
    if (reason === null) this.startDrawing(problem);
    else if (this.drawn === null) this.startDrawing(this.firstDrawing());
    const dimmed = this.find(".cx-dimmed");
    if (dimmed) dimmed.textContent = `Dimmed below, one that works: ${constructorText(this.drawn)}`;
  }

  /** The problem to draw where torch refuses the first one: the nearest that works. */
  firstDrawing() {
    const ways = waysOut(this.problem, this.execution);
    return ways.length ? { ...this.problem, ...ways[0] } : fromText(EXAMPLES[0][1]);
  }

  showRefusal(reason) {
    const box = this.find(".cx-refusal");
    if (reason === null) {
      box.replaceChildren();
      return;
    }
    const message = element("p", {});
    message.append(element("strong", {}, "torch refuses this: "), `${reason}.`);
    const ways = element("div", { class: "cx-ways" });
    for (const way of waysOut(this.problem, this.execution).slice(0, MOST_WAYS)) {
      const better = { ...this.problem, ...way };
      const button = element("button", { type: "button", class: "cx-button" }, wayText(this.problem, way));
      button.append(element("small", {}, `output ${shapeText(outputShape(better))}`));
      button.addEventListener("click", () => this.choose(better));
      ways.append(button);
    }
    const nearest = ways.childElementCount ? [element("p", {}, "The nearest that work:"), ways] : [];
    box.replaceChildren(message, ...nearest, element("p", { class: "cx-hint cx-dimmed" }));
  }

  showMeasured() {
    const line = this.find(".cx-measured");
    line.hidden = this.measured === null;
    if (line.hidden) return;
    const found = this.measured.nearest(this.problem);
    if (found === null) {
      line.replaceChildren("Was it measured? No, and nothing like it in this run.");
      return;
    }
    const link = element("a", { href: found.href }, found.label);
    if (found.same) line.replaceChildren("Was it measured? Yes: ", link);
    else line.replaceChildren("Was it measured? No; the nearest case is ", link, ` (${found.differs})`);
  }

  showFormulas() {
    const lines = axisNames().flatMap((name, axis) => {
      const formula = element("div", { class: "cx-formula" });
      formula.dataset.axis = axis;
      formula.append(element("span", { class: "cx-axis" }, name));
      for (const [part, label] of formulaParts(this.problem, axis)) {
        const term = element("span", label ? { class: `cx-term cx-term-${label}` } : {});
        term.append(label ? element("b", {}, part) : part);
        if (label) term.append(element("small", {}, label));
        formula.append(term);
      }
      const capital = name[0].toUpperCase() + name.slice(1);
      const notes = refusal(this.problem) && outputSize(this.problem)[axis] >= 1 ? [] : axisNotes(this.problem, axis);
      return [formula, ...notes.map((note) => element("p", { class: "cx-note" }, `${capital}: ${note}`))];
    });
    this.find(".cx-formulas").replaceChildren(...lines);
  }

  // The drawing

  startDrawing(problem) {
    this.drawn = problem;
    this.values.clear();
    this.outSize = outputSize(problem);
    this.extent = dilatedKernelSize(problem);
    this.margin = pads(problem);
    this.read = [0, 1].map((axis) => rowsRead(problem, axis));
    this.place = this.place.map((at, axis) => Math.min(at, this.outSize[axis] - 1));
    this.shown = [...this.place];
    this.pointed = null;
    this.outChannel = Math.min(this.outChannel, problem.out_channels - 1);
    this.inChannel = Math.min(this.inChannel, channelsPerGroup(problem) - 1);
    this.find(".cx-summary").textContent = summaryText(problem);
    this.find(".cx-facts").replaceChildren(
      ...factsOf(problem, this.execution).map(([name, how, result]) => {
        const row = element("div", {});
        row.append(element("dt", {}, name), element("dd", { class: "cx-how" }, how));
        row.append(element("dd", { class: "cx-result" }, result));
        return row;
      }),
    );
    const progress = this.find(".cx-progress");
    progress.max = String(this.outSize[0] * this.outSize[1] - 1);
    this.nameGrids();
    this.showLegend();
    this.layOut();
    this.picture.show(problem, this.palette);
    this.showChannels();
    this.moved();
  }

  /** Compute the sizes of the cells for the available space. */
  layOut() {
    const width = this.host.clientWidth;
    this.width = width;
    const padded = paddedSize(this.drawn);
    const narrow = width < NARROW;
    const gutter = 26;
    const inputRoom = [Math.min(width, narrow ? width : Math.max(430, width * 0.45)) - gutter - 4, narrow ? 380 : 470];
    const cell = cellSize(padded, inputRoom, this.extent, { largest: LARGEST_CELL });
    this.input.fit(padded, cell, inputRoom);
    const kernelRoom = [(narrow ? width * 0.45 : 210) - 4, 240];
    this.kernel.fit(
      this.extent,
      Math.min(cell, cellSize(this.extent, kernelRoom, this.extent, { largest: LARGEST_CELL })),
      kernelRoom,
      2,
    );
    const kernelWidth = Math.max(110, this.kernel.seen[1] * this.kernel.cell + 5);
    this.find(".cx-kernel").style.width = `${kernelWidth}px`;
    const left = narrow ? width - kernelWidth - 24 : width - this.input.seen[1] * cell - gutter - kernelWidth - 80;
    const roomy = left >= 190 ? left : width;
    const outputRoom = [Math.min(roomy, 450) - gutter - 4, narrow ? 330 : 450];
    const limits = { largest: cell, whole: SMALLEST_OUTPUT_CELL };
    this.output.fit(this.outSize, cellSize(this.outSize, outputRoom, [1, 1], limits), outputRoom);
  }

  nameGrids() {
    const problem = this.drawn;
    const [size, padded, out] = [problem.input_size, paddedSize(problem), this.outSize].map((pair) => pair.join(" × "));
    const hasMargin = this.margin.flat().some(Boolean);
    const extents = this.extent.join(" × ");
    const kernel = problem.kernel_size.join(" × ");
    const name = (selector, strong, rest) => {
      this.find(`${selector} .cx-name`).replaceChildren(element("b", {}, strong), element("span", {}, rest));
    };
    name(".cx-input", "input", ` ${size}${hasMargin ? `, padded ${padded}` : ""}`);
    name(".cx-kernel", "kernel", ` ${kernel}${extents === kernel ? "" : `, spread over ${extents}`}`);
    name(".cx-output", "output", ` ${out}`);
    const unread = axisNames().map((_, axis) => this.read[axis].filter((read) => !read).length);
    const never = unread.some(Boolean) ? ` ${unread[0]} rows and ${unread[1]} columns of it are never read.` : "";
    const label = (selector, words) => this.find(`${selector} .cx-canvas`).setAttribute("aria-label", words);
    label(".cx-input", `The padded input, ${padded}: the input of ${size} with its margin.${never}`);
    label(".cx-kernel", `The kernel, ${kernel} taps spread over ${extents}.`);
    label(".cx-output", `The output, ${out}.`);
  }

  showLegend() {
    const problem = this.drawn;
    const fill = {
      zeros: "zeros",
      reflect: "the input mirrored",
      replicate: "the edge repeated",
      circular: "the opposite side",
    };
    const entries = [["value", "input"]];
    if (this.margin.flat().some(Boolean)) entries.push(["margin", `margin: ${fill[problem.padding_mode]}`]);
    entries.push(["tap", "a tap of the kernel"]);
    if (this.extent.join() !== problem.kernel_size.join())
      entries.push(["window", "the dilated kernel; between its taps it reads nothing"]);
    if (this.read.some((rows) => rows.includes(0))) entries.push(["unread", "never read"]);
    entries.push(["done", "output written"], ["now", "output of this step"]);
    entries.push(["reader", "outputs that read the input under the pointer"]);
    this.find(".cx-legend").replaceChildren(
      ...entries.map(([look, words]) => {
        const entry = element("li", {});
        entry.append(element("span", { class: `cx-swatch cx-swatch-${look}`, "aria-hidden": "true" }), words);
        return entry;
      }),
    );
  }

  /** Draw in the next frame. */
  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      this.glide(now);
      this.draw();
      if (this.playing) this.advance(now);
    });
  }

  /** Move the drawn window towards its place. */
  glide(now) {
    const apart = this.place.map((at, axis) => at - this.shown[axis]);
    const far = apart.some((distance) => Math.abs(distance) > 1);
    const passed = this.glidedAt === undefined ? 16 : Math.min(50, now - this.glidedAt);
    const step = passed / GLIDE_MS;
    if (this.still.matches || far || (this.playing && this.interval < GLIDE_MS)) this.shown = [...this.place];
    else this.shown = this.shown.map((at, axis) => at + Math.sign(apart[axis]) * Math.min(Math.abs(apart[axis]), step));
    this.glidedAt = now;
    if (this.shown.some((at, axis) => at !== this.place[axis])) this.redraw();
    else this.glidedAt = undefined;
  }

  draw() {
    const problem = this.drawn;
    const start = this.place.map((at, axis) => at * problem.stride[axis]);
    this.input.follow(start, this.extent);
    if (!this.hovering) this.output.follow(this.place, [1, 1]);
    this.readers = this.findReaders();
    this.drawInput();
    this.drawKernel();
    this.drawOutput();
    this.picture.mark(this.place.map((at, axis) => at / this.outSize[axis]));
  }

  drawInput() {
    const problem = this.drawn;
    const start = this.place.map((at, axis) => at * problem.stride[axis]);
    const isTap = (axis, at) => {
      const step = at - start[axis];
      return step >= 0 && step < this.extent[axis] && step % problem.dilation[axis] === 0;
    };
    const channel = firstChannel(problem, this.outChannel) + this.inChannel;
    const [top, left] = this.margin.map(([before]) => before);
    const source = this.pointed && this.sourceOfPlace(this.pointed);
    const numbers = this.find(".cx-numbers").checked;
    this.input.draw(
      this.palette,
      (row, column) => {
        const place = [row - top, column - left];
        const value = paddedValue(problem, channel, ...place);
        const onMargin = place.some((at, axis) => at < 0 || at >= problem.input_size[axis]);
        const tap = isTap(0, row) && isTap(1, column);
        const copied = source && onMargin === false && samePlace(source, place) && !samePlace(source, this.pointed);
        return {
          fill: tap ? "forward" : onMargin && problem.padding_mode === "zeros" ? null : "ink",
          alpha: tap ? (onMargin ? 0.26 : 0.42) : (onMargin ? 0.02 : 0.05) + value * (onMargin ? 0.012 : 0.034),
          dashed: onMargin,
          faint: onMargin && !tap,
          strong: tap && !onMargin,
          hatched: !this.read[0][row] || !this.read[1][column],
          framed: this.pointed && (samePlace(this.pointed, place) || copied) ? "link" : null,
          text: numbers ? value : undefined,
        };
      },
      (axis, at) => {
        const name = at - this.margin[axis][0];
        return name < 0 || name >= problem.input_size[axis] ? null : name;
      },
    );
    this.input.frame([top, left], problem.input_size, "muted", 1);
    const shown = this.shown.map((at, axis) => at * problem.stride[axis]);
    this.input.frame(shown, this.extent, "forward", 3);
    this.input.drawMap(this.palette, [
      { start: [top, left], extent: problem.input_size, color: "ink", alpha: 0.14 },
      ...[0, 1].map((axis) => this.leftOver(axis)),
      { start, extent: this.extent, color: "forward", alpha: 1 },
    ]);
  }

  /** The rows at the end of an axis that flooring leaves unread, for the map. */
  leftOver(axis) {
    const size = paddedSize(this.drawn);
    const used = this.read[axis].lastIndexOf(1) + 1;
    const start = [0, 0];
    start[axis] = used;
    const extent = [...size];
    extent[axis] = size[axis] - used;
    return { start, extent, color: "warn", alpha: used < size[axis] ? 0.6 : 0 };
  }

  drawKernel() {
    const problem = this.drawn;
    const numbers = this.find(".cx-numbers").checked;
    this.kernel.draw(this.palette, (row, column) => {
      const taps = [row, column].map((at, axis) => at / problem.dilation[axis]);
      if (!taps.every(Number.isInteger)) return { fill: "ink", alpha: 0.035 };
      const weight = weightValue(this.outChannel, this.inChannel, ...taps);
      return {
        fill: "forward",
        alpha: 0.2 + 0.16 * Math.abs(weight),
        text: numbers ? weight : undefined,
        strong: true,
      };
    });
    this.kernel.frame([0, 0], this.extent, "forward", 3);
  }

  drawOutput() {
    const problem = this.drawn;
    const large = Math.max(4, productsInOutput(problem) * 1.6);
    const { isWhole, showsNumbers } = this.output; // where numbers do not fit, the shades of cells show them
    const sumsUp = this.find(".cx-numbers").checked && (isWhole || showsNumbers) && !tooManyProducts(problem);
    let left = PRODUCTS_PER_FRAME;
    const valueAt = (place) => {
      const key = `${place},${this.outChannel}`;
      if (!this.values.has(key) && left > 0) {
        left -= productsInOutput(problem);
        this.values.set(key, outputValue(problem, this.outChannel, place));
      }
      return this.values.get(key);
    };
    if (sumsUp) valueAt(this.place);
    const [rows, columns] = this.readers ?? [];
    this.output.draw(
      this.palette,
      (row, column) => {
        const now = row === this.place[0] && column === this.place[1];
        const done = row < this.place[0] || (row === this.place[0] && column <= this.place[1]);
        const value = done && sumsUp ? valueAt([row, column]) : undefined;
        const strength = value === undefined ? 0.3 : Math.min(1, Math.max(0, value / large));
        return {
          fill: done ? "backward" : "ink",
          alpha: now ? 0.55 : done ? 0.1 + 0.3 * strength : 0.05,
          text: value,
          strong: now,
          framed: rows?.has(row) && columns.has(column) ? "link" : null,
        };
      },
      (_, at) => at,
    );
    this.output.frame(this.shown, [1, 1], "backward", 3);
    this.output.drawMap(this.palette, [
      { start: [0, 0], extent: [this.place[0], this.outSize[1]], color: "backward", alpha: 0.25 },
      { start: [this.place[0], 0], extent: [1, this.place[1] + 1], color: "backward", alpha: 0.35 },
      { start: this.place, extent: [1, 1], color: "backward", alpha: 1 },
    ]);
    if (left <= 0) this.redraw(); // compute the other numbers in the next frames
  }

  // The place under the pointer

  sourceOfPlace(place) {
    const source = place.map((at, axis) => sourceOf(this.drawn, axis, at));
    return source.includes(null) ? null : source;
  }

  /** [rows, columns] of the outputs that read the place under the pointer, as sets; null where there is no place. */
  findReaders() {
    if (!this.pointed) return null;
    return this.readersOfPlace(this.pointed).map((places) => new Set(places));
  }

  readersOfPlace(place) {
    const source = this.sourceOfPlace(place);
    const itself = source !== null && samePlace(source, place);
    return place.map((at, axis) => (itself ? readersOfElement : readersOf)(this.drawn, axis, at));
  }

  pointAt(cell) {
    const place = cell?.map((at, axis) => at - this.margin[axis][0]) ?? null;
    if (place === this.pointed || (place && this.pointed && samePlace(place, this.pointed))) return;
    this.pointed = place;
    this.showStep();
    this.redraw();
  }

  // Moves

  listenToMoves() {
    const moves = {
      first: () => this.go([0, 0]),
      back: () => this.goBy(-1),
      play: () => (this.playing ? this.pause() : this.play()),
      forward: () => this.goBy(1),
      last: () => this.go(this.outSize.map((size) => size - 1)),
    };
    for (const button of this.findAll("[data-move]")) {
      button.addEventListener("click", () => {
        if (button.dataset.move !== "play") this.pause();
        moves[button.dataset.move]();
      });
    }
    const progress = this.find(".cx-progress");
    progress.addEventListener("input", () => {
      this.pause();
      this.goTo(Number(progress.value));
    });
    const speed = this.find(".cx-speed select");
    this.interval = Number(speed.value);
    speed.addEventListener("change", () => {
      this.interval = Number(speed.value);
    });
    this.find(".cx-numbers").addEventListener("change", () => this.redraw());
    this.find(".cx-keys").addEventListener("keydown", (event) => this.pressed(event));
    this.listenToPointer();
  }

  pressed(event) {
    const [row, column] = this.place;
    const [rows, columns] = this.outSize;
    const to = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [rows - 1, columns - 1] : [row, columns - 1],
      PageUp: [row - this.output.seen[0], column],
      PageDown: [row + this.output.seen[0], column],
    }[event.key];
    if (event.altKey || event.metaKey || (!to && event.key !== " ")) return;
    event.preventDefault();
    if (to) {
      this.pause();
      this.go(to);
    } else if (this.playing) this.pause();
    else this.play();
  }

  listenToPointer() {
    const { input, output } = this;
    const lay = (cell) => {
      if (!cell) return;
      this.pause();
      this.hovering = true;
      this.go(cell);
    };
    output.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") lay(output.cellAt(event));
    });
    output.canvas.addEventListener("pointerdown", (event) => lay(output.cellAt(event)));
    output.canvas.addEventListener("pointerleave", () => {
      this.hovering = false;
    });
    output.map.addEventListener("pointerdown", (event) => {
      this.pause();
      this.go(output.cellOnMap(event));
    });
    for (const kind of ["pointermove", "pointerdown"]) {
      input.canvas.addEventListener(kind, (event) => {
        if (!this.playing) this.pointAt(input.cellAt(event));
      });
    }
    input.canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.pointAt(null);
    });
    input.map.addEventListener("pointerdown", (event) => {
      this.pause();
      const cell = input.cellOnMap(event);
      this.go(cell.map((at, axis) => Math.floor((at - this.extent[axis] / 2) / this.drawn.stride[axis])));
    });
  }

  /** Move the kernel to a place of the output, or to the nearest one. */
  go(place) {
    const to = place.map((at, axis) => Math.max(0, Math.min(this.outSize[axis] - 1, at)));
    if (samePlace(to, this.place)) return;
    this.place = to;
    this.moved();
  }

  get step() {
    return this.place[0] * this.outSize[1] + this.place[1];
  }

  goTo(step) {
    const columns = this.outSize[1];
    const within = Math.max(0, Math.min(this.outSize[0] * columns - 1, step));
    this.go([Math.floor(within / columns), within % columns]);
  }

  goBy(steps) {
    this.goTo(this.step + steps);
  }

  play() {
    if (this.step === this.outSize[0] * this.outSize[1] - 1) this.go([0, 0]);
    this.playing = true;
    this.hovering = false;
    this.pointed = null;
    this.steppedAt = undefined;
    this.find(".cx-play").textContent = "Pause";
    this.redraw();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.find(".cx-play").textContent = "Play";
    this.speak();
  }

  /** Continue playing in the next frame. */
  advance(now) {
    this.steppedAt ??= now;
    if (now - this.steppedAt >= this.interval) {
      this.steppedAt = now;
      const before = this.step;
      this.goBy(1);
      if (this.step === before) this.pause();
    }
    if (this.playing) this.redraw();
  }

  moved() {
    const progress = this.find(".cx-progress");
    progress.value = String(this.step);
    progress.setAttribute("aria-valuetext", `row ${this.place[0]}, column ${this.place[1]}`);
    this.showStep();
    this.showSum();
    this.redraw();
  }

  showStep() {
    const text = this.pointed
      ? readersText(this.pointed, this.sourceOfPlace(this.pointed), this.readersOfPlace(this.pointed))
      : stepText(this.drawn, this.outChannel, this.place);
    this.find(".cx-step-text").textContent = text;
    this.speak();
  }

  /** Give the sentence to screen readers, not faster than they can read it. */
  speak() {
    clearTimeout(this.speaking);
    const wait = this.playing ? SPEAK_PLAYING_MS : SPEAK_AFTER_MS;
    const due = this.playing && this.spokeAt !== undefined ? this.spokeAt + wait - performance.now() : wait;
    this.speaking = setTimeout(
      () => {
        this.spokeAt = performance.now();
        this.find(".cx-live").textContent = this.find(".cx-step-text").textContent;
      },
      Math.max(0, due),
    );
  }

  // The sum

  showSum() {
    const body = this.find(".cx-sum-body");
    if (!this.find(".cx-sum").open) return;
    const problem = this.drawn;
    if (tooManyProducts(problem)) {
      const number = countText(productsInOutput(problem));
      body.replaceChildren(element("p", {}, `${number} products for each output: too many to add up here.`));
      return;
    }
    const channels = channelsPerGroup(problem);
    const taps = problem.kernel_size[0] * problem.kernel_size[1];
    const room = Math.min(MOST_CHANNELS_LAID_OUT, Math.floor(MOST_CELLS / taps));
    const laidOut = Array.from({ length: Math.min(room, channels) }, (_, channel) => channel);
    if (laidOut.length && this.inChannel >= laidOut.length) laidOut[laidOut.length - 1] = this.inChannel;
    const products = element("div", { class: "cx-products" });
    for (const channel of laidOut) products.append(this.productsOf(channel));
    body.replaceChildren(products, this.totalOf(laidOut));
  }

  /** One channel's products, as a table with the kernel's shape. */
  productsOf(channel) {
    const problem = this.drawn;
    const figure = element("figure", { class: "cx-product" });
    const first = firstChannel(problem, this.outChannel);
    figure.append(element("figcaption", {}, `in channel ${first + channel}: input × weight`));
    const table = element("table", {});
    const taps = tapsOf(problem, this.outChannel, channel, this.place);
    const columns = problem.kernel_size[1];
    for (let start = 0; start < taps.length; start += columns) {
      const row = table.insertRow();
      for (const tap of taps.slice(start, start + columns)) {
        const cell = row.insertCell();
        if (tap.margin) cell.className = "cx-on-margin";
        cell.title = `row ${tap.row}, column ${tap.column}${tap.margin ? ", on the margin" : ""}`;
        cell.append(String(tap.x), element("i", {}, "×"), signedText(tap.w));
      }
    }
    figure.append(table);
    const sum = channelSum(problem, this.outChannel, channel, this.place);
    figure.append(element("p", {}, `= ${signedText(sum)}`));
    return figure;
  }

  totalOf(laidOut) {
    const problem = this.drawn;
    const channels = channelsPerGroup(problem);
    const sums = laidOut.map((channel) => channelSum(problem, this.outChannel, channel, this.place));
    const total = outputValue(problem, this.outChannel, this.place);
    const bias = problem.bias ? biasValue(this.outChannel) : 0;
    const line = element("p", { class: "cx-total" });
    line.append(sums.map((sum) => (sum < 0 ? `(${signedText(sum)})` : String(sum))).join(" + "));
    const hidden = channels - laidOut.length;
    if (hidden) {
      const rest = total - bias - sums.reduce((all, sum) => all + sum, 0);
      const other = laidOut.length ? "more channel" : "channel";
      line.append(laidOut.length ? " + " : "", signedText(rest));
      line.append(element("small", {}, ` (${pluralText(hidden, other)})`));
    }
    if (problem.bias) line.append(` + ${bias}`, element("small", {}, " (bias)"));
    line.append(" = ", element("b", {}, signedText(total)));
    return line;
  }

  // Channels

  listenToChannels() {
    for (const field of this.findAll("[data-channel]")) {
      const kind = field.dataset.channel;
      const set = (typed) => {
        if (/^\d{1,9}$/.test(typed)) this.chooseChannel(kind, Number(typed));
      };
      field.addEventListener("input", () => set(field.value.trim()));
      field.addEventListener("change", () => this.showChannels());
      this.makeStepper(field, (by) => this.chooseChannel(kind, this.channelShown(kind) + by));
    }
    const strip = this.find(".cx-channels");
    strip.addEventListener("pointerdown", (event) => {
      const box = strip.getBoundingClientRect();
      const hit = this.channelAt(event.clientX - box.left, event.clientY - box.top);
      if (hit) this.chooseChannel(hit.upper ? "in" : "out", hit.channel);
    });
    this.find(".cx-sum").addEventListener("toggle", () => this.drawn && this.showSum());
  }

  channelShown(kind) {
    return kind === "out" ? this.outChannel : firstChannel(this.drawn, this.outChannel) + this.inChannel;
  }

  /** Show another channel; for an input channel of another group, also change to an output channel of that group. */
  chooseChannel(kind, channel) {
    const problem = this.drawn;
    const all = kind === "out" ? problem.out_channels : problem.in_channels;
    const within = Math.max(0, Math.min(all - 1, channel));
    if (kind === "out") this.outChannel = within;
    else {
      const seen = channelsPerGroup(problem);
      const group = Math.floor(within / seen);
      const outs = problem.out_channels / problem.groups;
      if (Math.floor(this.outChannel / outs) !== group) this.outChannel = group * outs;
      this.inChannel = within % seen;
    }
    this.showChannels();
    this.moved();
  }

  showChannels() {
    const problem = this.drawn;
    for (const kind of ["in", "out"]) {
      const field = this.find(`[data-channel=${kind}]`);
      if (field !== document.activeElement || Number(field.value) !== this.channelShown(kind)) {
        field.value = this.channelShown(kind);
      }
    }
    const name = (selector, strong, rest) => {
      this.find(selector).replaceChildren(element("b", {}, strong), rest);
    };
    name(".cx-in-name", pluralText(problem.in_channels, "in channel"), "");
    const groups = problem.groups > 1 ? ` in ${countText(problem.groups)} groups` : "";
    name(".cx-out-name", pluralText(problem.out_channels, "out channel"), groups);
    const words = channelsText(problem, this.outChannel);
    this.find(".cx-channel-words").textContent = words;
    this.find(".cx-channels").setAttribute("aria-label", words);
    this.drawStrips();
  }

  drawStrips() {
    const problem = this.drawn;
    const from = firstChannel(problem, this.outChannel);
    this.channelAt = drawChannels(this.find(".cx-channels"), this.palette, this.width, {
      inputs: problem.in_channels,
      outputs: problem.out_channels,
      groups: problem.groups,
      from,
      seen: channelsPerGroup(problem),
      inChannel: from + this.inChannel,
      outChannel: this.outChannel,
    });
  }
}

function samePlace(one, other) {
  return one[0] === other[0] && one[1] === other[1];
}

/** A number with a typographic minus sign. */
function signedText(number) {
  return String(number).replace("-", "\u2212");
}

function labelOfField(field, square = false) {
  const { setting, axis } = field.dataset;
  if (!axis) return setting;
  return square ? `${setting}, height and width` : `${setting}, ${axisNames()[Number(axis)]}`;
}
