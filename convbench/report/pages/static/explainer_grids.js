// Grids of cells on canvas. A grid is shown whole where its cells are large enough to read. Otherwise a part that
// follows the kernel is shown, with a small map of the whole grid. This module does not depend on the meaning of cells.

/** Where cells would be narrower than this, only a part of a grid is shown; CSS pixels, as all sizes here. */
const SMALLEST_WHOLE_CELL = 15;
/** Size of cells where only a part is shown; they are smaller where the kernel needs more space. */
const PART_CELL = 28;
const LEAST_CELL = 3;
/** The smallest cell, and the smallest text, with legible numbers. */
const NUMBER_CELL = 15;
const SMALLEST_TEXT = 8;
/** Space for the numbers of rows and columns. */
const GUTTER = 26;
const MAP_SIDE = 84;

/** The present colours of the page, read from an element, because a CSS variable may contain an expression. */
export function readPalette(host) {
  const names = ["paper", "card", "ink", "muted", "rule", "link", "good", "warn", "bad", "forward", "backward"];
  const probe = document.createElement("span");
  host.append(probe);
  const palette = {};
  for (const name of names) {
    probe.style.color = `var(--${name}, gray)`;
    palette[name] = getComputedStyle(probe).color;
  }
  probe.style.fontFamily = "var(--mono, monospace)";
  palette.mono = getComputedStyle(probe).fontFamily;
  probe.remove();
  return palette;
}

/** Call `changed` when the page's theme changes. */
export function watchTheme(changed) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  matchMedia("print").addEventListener("change", changed);
  new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme", "class"] });
}

/** Set a canvas's size in CSS pixels, with the screen's resolution; the context draws in CSS pixels. */
export function sizedContext(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  const pixels = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/**
 * The size of a cell with which a grid fits in a width and a height. Only a part of the grid is shown where its cells
 * would be smaller than `whole`; `need` rows and columns must fit.
 */
export function cellSize([rows, columns], [width, height], need, { largest, whole = SMALLEST_WHOLE_CELL }) {
  const fits = Math.floor(Math.min(width / columns, height / rows));
  if (fits >= whole) return Math.min(fits, largest);
  const least = Math.floor(Math.min(width / (need[1] + 2), height / (need[0] + 2)));
  return Math.max(LEAST_CELL, Math.min(PART_CELL, largest, least));
}

/** A grid on a canvas, with a map of the whole grid on a second canvas. */
export class CanvasGrid {
  constructor(canvas, map) {
    this.canvas = canvas;
    this.map = map;
    this.size = [1, 1];
    this.first = [0, 0];
    this.seen = [1, 1];
    this.cell = PART_CELL;
    this.gutter = GUTTER;
  }

  /** Set the numbers of rows and columns, the size of their cells, and the available space in CSS pixels. */
  fit(size, cell, [width, height], gutter = GUTTER) {
    this.size = size;
    this.cell = cell;
    this.gutter = gutter;
    const room = [height, width];
    this.seen = size.map((number, axis) => Math.max(1, Math.min(number, Math.floor(room[axis] / cell))));
    this.first = this.first.map((first, axis) => Math.max(0, Math.min(first, size[axis] - this.seen[axis])));
    if (this.map) this.map.hidden = this.isWhole;
  }

  get isWhole() {
    return this.seen.every((number, axis) => number === this.size[axis]);
  }

  get showsNumbers() {
    return this.cell >= NUMBER_CELL;
  }

  /** Scroll minimally to show `extent` rows and columns from `start`, with one more on each side where possible. */
  follow(start, extent) {
    for (const axis of [0, 1]) {
      const spare = this.seen[axis] >= extent[axis] + 2 ? 1 : 0;
      const latest = start[axis] - spare;
      const earliest = start[axis] + extent[axis] + spare - this.seen[axis];
      const wanted = Math.max(Math.min(this.first[axis], latest), Math.min(earliest, latest));
      this.first[axis] = Math.max(0, Math.min(wanted, this.size[axis] - this.seen[axis]));
    }
  }

  /** Draw the visible cells with the style `paint(row, column)`, and the optional numbers `names(axis, at)`. */
  draw(palette, paint, names) {
    const { cell, gutter } = this;
    const [rows, columns] = this.seen;
    const context = sizedContext(this.canvas, gutter + columns * cell + 3, gutter + rows * cell + 3);
    this.context = context;
    this.palette = palette;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        this.drawCell(paint(this.first[0] + i, this.first[1] + j), gutter + j * cell, gutter + i * cell);
      }
    }
    if (names) this.drawNames(names);
    this.drawEdges();
  }

  drawCell(look, x, y) {
    const { context, palette, cell } = this;
    const gap = cell >= 8 ? 1 : 0;
    const side = cell - gap;
    if (look.fill) {
      context.globalAlpha = look.alpha ?? 1;
      context.fillStyle = palette[look.fill];
      context.fillRect(x, y, side, side);
    }
    if (look.dashed && cell >= 8) {
      context.globalAlpha = 0.55;
      context.strokeStyle = palette.muted;
      context.lineWidth = 1;
      context.setLineDash([2, 2]);
      context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
      context.setLineDash([]);
    }
    if (look.hatched) this.hatch(x, y, side);
    if (look.framed) {
      context.globalAlpha = 1;
      context.strokeStyle = palette[look.framed];
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, side - 2, side - 2);
    }
    if (look.text !== undefined && this.showsNumbers) this.drawNumber(look, x + side / 2, y + side / 2 + 0.5);
    context.globalAlpha = 1;
  }

  drawNumber(look, x, y) {
    const { context, palette, cell } = this;
    const text = String(look.text).replace("-", "\u2212");
    const size = Math.min(17, Math.max(SMALLEST_TEXT, cell * 0.5), (cell * 1.6) / text.length);
    if (size < SMALLEST_TEXT) return;
    context.globalAlpha = look.faint ? 0.62 : 1;
    context.fillStyle = palette[look.faint ? "muted" : "ink"];
    context.font = `${look.strong ? 700 : 400} ${size}px ${palette.mono}`;
    context.fillText(text, x, y);
  }

  hatch(x, y, side) {
    const { context, palette } = this;
    context.save();
    context.beginPath();
    context.rect(x, y, side, side);
    context.clip();
    context.strokeStyle = palette.warn;
    context.globalAlpha = 0.75;
    context.lineWidth = 1.25;
    context.beginPath();
    for (let offset = -side; offset < side; offset += 6) {
      context.moveTo(x + offset, y + side);
      context.lineTo(x + offset + side, y);
    }
    context.stroke();
    context.restore();
  }

  /** Draw the numbers of rows and columns, as many as fit. */
  drawNames(names) {
    const { context, palette, cell, gutter, first, seen, size } = this;
    context.font = `10.5px ${palette.mono}`;
    context.fillStyle = palette.muted;
    for (const axis of [0, 1]) {
      const widest = String(size[axis]).length * 6.5 + 6;
      const every = [1, 2, 5, 10, 20, 50, 100].find((step) => step * cell >= (axis ? widest : 13)) ?? 200;
      for (let place = 0; place < seen[axis]; place++) {
        const name = names(axis, first[axis] + place);
        if (name === null || name % every) continue;
        const middle = gutter + (place + 0.5) * cell - 0.5;
        context.textAlign = axis ? "center" : "right";
        context.fillText(String(name), axis ? middle : gutter - 5, axis ? gutter - 9 : middle);
      }
    }
    context.textAlign = "center";
  }

  /** Fade the sides where the grid continues outside the visible part. */
  drawEdges() {
    const { context, cell, gutter, first, seen, size } = this;
    const [height, width] = seen.map((number) => number * cell);
    const deep = Math.min(16, cell);
    const sides = [
      [first[0] > 0, [0, 0, 0, deep], [0, 0, width, deep]],
      [first[0] + seen[0] < size[0], [0, height, 0, height - deep], [0, height - deep, width, deep]],
      [first[1] > 0, [0, 0, deep, 0], [0, 0, deep, height]],
      [first[1] + seen[1] < size[1], [width, 0, width - deep, 0], [width - deep, 0, deep, height]],
    ];
    context.save();
    context.translate(gutter, gutter);
    context.globalCompositeOperation = "destination-out"; // works for any colour of the page
    for (const [goesOn, line, area] of sides) {
      if (!goesOn) continue;
      const fade = context.createLinearGradient(...line);
      fade.addColorStop(0, "rgb(0 0 0 / 0.9)");
      fade.addColorStop(1, "rgb(0 0 0 / 0)");
      context.fillStyle = fade;
      context.fillRect(...area);
    }
    context.restore();
  }

  /** Draw a frame around rows and columns from `start`, which may be between cells while the frame moves. */
  frame(start, extent, color, lineWidth = 2.5, dash = []) {
    const { context, palette, cell, gutter, first, seen } = this;
    context.save();
    context.beginPath();
    context.rect(gutter - 2, gutter - 2, seen[1] * cell + 4, seen[0] * cell + 4);
    context.clip();
    context.strokeStyle = palette[color];
    context.lineWidth = lineWidth;
    context.lineJoin = "round";
    context.setLineDash(dash);
    const x = gutter + (start[1] - first[1]) * cell - 0.5;
    const y = gutter + (start[0] - first[0]) * cell - 0.5;
    context.strokeRect(x, y, extent[1] * cell, extent[0] * cell);
    context.restore();
  }

  /** Draw the map of the whole grid: the visible part, and `marks` [{start, extent, color, alpha}] in cells. */
  drawMap(palette, marks) {
    if (!this.map || this.isWhole) return;
    const scale = MAP_SIDE / Math.max(...this.size);
    const [height, width] = this.size.map((number) => Math.max(6, number * scale));
    const context = sizedContext(this.map, width + 2, height + 2);
    const box = (start, extent, least) => {
      const [h, w] = extent.map((number) => Math.max(least, number * scale));
      const [y, x] = start.map((number) => 1 + number * scale);
      return [Math.min(x, 1 + width - w), Math.min(y, 1 + height - h), w, h];
    };
    for (const { start, extent, color, alpha } of marks) {
      context.globalAlpha = alpha;
      context.fillStyle = palette[color];
      context.fillRect(...box(start, extent, 3));
    }
    context.globalAlpha = 1;
    context.strokeStyle = palette.ink;
    context.lineWidth = 1;
    context.strokeRect(...box(this.first, this.seen, 3));
    context.strokeStyle = palette.muted;
    context.strokeRect(0.5, 0.5, width + 1, height + 1);
  }

  /** The cell under a pointer, null outside the grid. */
  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = [event.clientY - box.top, event.clientX - box.left].map((at) => (at - this.gutter) / this.cell);
    if (place.some((at, axis) => at < 0 || at >= this.seen[axis])) return null;
    return place.map((at, axis) => Math.floor(at) + this.first[axis]);
  }

  /** The cell of the whole grid under a pointer on the map. */
  cellOnMap(event) {
    const box = this.map.getBoundingClientRect();
    const shares = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    return shares.map((share, axis) => Math.max(0, Math.min(this.size[axis] - 1, Math.floor(share * this.size[axis]))));
  }
}

/**
 * Draw the input channels above, the output channels below, and those that the chosen output reads. Returns a function
 * from coordinates to the channel there.
 */
export function drawChannels(canvas, palette, width, { inputs, outputs, from, seen, groups, inChannel, outChannel }) {
  const [bar, between, widest] = [26, 54, 42];
  const context = sizedContext(canvas, width, 2 * bar + between + 2);
  const sideOf = (number) => Math.min(widest, width / number);
  const drawBar = (number, y, chosen, first, count, color) => {
    const side = sideOf(number);
    const perGroup = number / groups;
    const paint = (start, length, fill, alpha) => {
      context.globalAlpha = alpha;
      context.fillStyle = palette[fill];
      context.fillRect(start * side, y, Math.max(1, length * side - (side >= 5 ? 1 : 0)), bar);
    };
    if (side >= 5) {
      for (let channel = 0; channel < number; channel++) {
        const mine = channel >= first && channel < first + count;
        const shade = Math.floor(channel / perGroup) % 2 ? 0.2 : 0.1;
        paint(channel, 1, mine ? color : "ink", channel === chosen ? 0.95 : mine ? 0.38 : shade);
      }
    } else {
      paint(0, number, "ink", 0.12);
      if (groups > 1 && perGroup * side >= 4) {
        for (let group = 1; group < groups; group += 2) paint(group * perGroup, perGroup, "ink", 0.12);
      }
      paint(first, count, color, 0.45);
      const least = Math.max(1, 3 / side);
      paint(Math.min(chosen, number - least), least, color, 1);
    }
    context.globalAlpha = 1;
    if (side >= 20) {
      context.font = `11px ${palette.mono}`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (let channel = 0; channel < number; channel++) {
        context.fillStyle = palette[channel === chosen ? "paper" : "ink"];
        context.fillText(String(channel), (channel + 0.5) * side - 0.5, y + bar / 2 + 0.5);
      }
    }
  };
  const outGroup = outputs / groups;
  const [inSide, outSide] = [sideOf(inputs), sideOf(outputs)];
  const low = bar + between;
  const ribbon = context.createLinearGradient(0, bar, 0, low);
  ribbon.addColorStop(0, palette.forward);
  ribbon.addColorStop(1, palette.backward);
  context.fillStyle = ribbon;
  const path = (left, right) => {
    const [x0, x1] = [outChannel * outSide, Math.max((outChannel + 1) * outSide - 1, outChannel * outSide + 2)];
    const bend = bar + between / 2;
    context.beginPath();
    context.moveTo(left, bar + 1);
    context.lineTo(right, bar + 1);
    context.bezierCurveTo(right, bend, x1, bend, x1, low - 1);
    context.lineTo(x0, low - 1);
    context.bezierCurveTo(x0, bend, left, bend, left, bar + 1);
    context.fill();
  };
  if (inSide >= 5) {
    context.globalAlpha = 0.2;
    for (let channel = from; channel < from + seen; channel++) path(channel * inSide, (channel + 1) * inSide - 1);
  }
  context.globalAlpha = inSide >= 5 ? 0.12 : 0.28;
  path(from * inSide, (from + seen) * inSide);
  drawBar(inputs, 0, inChannel, from, seen, "forward");
  drawBar(outputs, low, outChannel, Math.floor(outChannel / outGroup) * outGroup, outGroup, "backward");
  return (x, y) => {
    const upper = y < bar + between / 2;
    const channel = Math.floor(x / (upper ? inSide : outSide));
    return channel < (upper ? inputs : outputs) && channel >= 0 ? { upper, channel } : null;
  };
}
