// One convolution: shapes, what torch refuses, and the amount of work. The formulas are those of model/operators/ and
// report/text/explain.py, for settings that the reader changes. A problem has the fields of the class Problem;
// batch_size null is one unbatched image. Counts are BigInt, because those of large layers do not fit in a double.

const AXES = ["height", "width"];

/** How often each direction does the multiply-adds of forward. */
const PRODUCTS_OF_DIRECTION = { forward: 1n, backward: 2n, grad_input: 1n, grad_weight: 1n, train_step: 3n };

/** Bytes per element. */
const ITEM_BYTES = { float16: 2n, bfloat16: 2n, float32: 4n, float64: 8n };

export function axisNames() {
  return AXES;
}

/** [before, after] for each axis; `same` puts the odd element after, as torch does. */
export function pads(problem) {
  if (problem.padding === "valid") return problem.kernel_size.map(() => [0, 0]);
  if (problem.padding !== "same") return problem.padding.map((pad) => [pad, pad]);
  return dilatedKernelSize(problem).map((extent) => [Math.floor((extent - 1) / 2), Math.ceil((extent - 1) / 2)]);
}

/** The extent of the dilated kernel. */
export function dilatedKernelSize(problem) {
  return problem.kernel_size.map((kernel, axis) => problem.dilation[axis] * (kernel - 1) + 1);
}

export function paddedSize(problem) {
  return pads(problem).map(([before, after], axis) => problem.input_size[axis] + before + after);
}

/** The number of rows by which the window can move along each axis. */
export function travel(problem) {
  const extents = dilatedKernelSize(problem);
  return paddedSize(problem).map((size, axis) => size - extents[axis]);
}

export function outputSize(problem) {
  return travel(problem).map((steps, axis) => Math.floor(steps / problem.stride[axis]) + 1);
}

export function inputShape(problem) {
  return [...batchOf(problem), problem.in_channels, ...problem.input_size];
}

export function weightShape(problem) {
  return [problem.out_channels, channelsPerGroup(problem), ...problem.kernel_size];
}

export function biasShape(problem) {
  return problem.bias ? [problem.out_channels] : null;
}

export function outputShape(problem) {
  return [...batchOf(problem), problem.out_channels, ...outputSize(problem)];
}

function batchOf(problem) {
  return problem.batch_size === null ? [] : [problem.batch_size];
}

/** The input channels that one output channel sees. */
export function channelsPerGroup(problem) {
  return Math.floor(problem.in_channels / problem.groups);
}

/** The first input channel that an output channel sees. */
export function firstChannel(problem, outChannel) {
  const perGroup = Math.floor(problem.out_channels / problem.groups);
  return Math.floor(outChannel / perGroup) * channelsPerGroup(problem);
}

export function elements(shape) {
  return shape.reduce((total, size) => total * BigInt(size), 1n);
}

/** Numbers the layer learns. */
export function parameters(problem) {
  return elements(weightShape(problem)) + BigInt(problem.bias ? problem.out_channels : 0);
}

/** Multiply-adds of one forward pass; taps on padding with zeros are not counted. */
export function multiplyAdds(problem) {
  const outputs = outputSize(problem);
  const taps = outputs.map((out, axis) =>
    problem.padding_mode === "zeros" ? realTaps(problem, axis) : BigInt(out) * BigInt(problem.kernel_size[axis]),
  );
  return elements([problem.batch_size ?? 1, problem.out_channels, channelsPerGroup(problem), ...taps]);
}

/** The number of (output, tap) pairs along one axis that read the input and not the padding. */
function realTaps(problem, axis) {
  const before = pads(problem)[axis][0];
  return pairsBelow(problem, axis, before + problem.input_size[axis]) - pairsBelow(problem, axis, before);
}

/** The number of (output, tap) pairs along one axis with output * stride + tap * dilation < end. It has no loop. */
function pairsBelow(problem, axis, end) {
  const [out, kernel, stride, dilation] = [
    outputSize(problem)[axis],
    problem.kernel_size[axis],
    problem.stride[axis],
    problem.dilation[axis],
  ].map(BigInt);
  if (out < 1n) return 0n;
  const within = (number) => (number < 0n ? 0n : number > kernel ? kernel : number);
  const last = BigInt(end);
  const whole = within(-floorDivided((out - 1n) * stride - last, dilation)); // the taps below for all outputs
  const some = within(-floorDivided(-last, dilation)); // the taps below for at least one output
  const first = last - (some - 1n) * dilation + stride - 1n;
  return out * whole + floorSum(some - whole, dilation, first, stride);
}

function floorDivided(number, divisor) {
  return number / divisor - (number % divisor < 0n ? 1n : 0n);
}

/** The sum of (factor * i + first) / divisor, rounded down, over i from 0 to count - 1; by Euclid's algorithm. */
function floorSum(count, factor, first, divisor) {
  let total = 0n;
  for (;;) {
    total += ((count * (count - 1n)) / 2n) * (factor / divisor) + count * floorDivided(first, divisor);
    [factor, first] = [factor % divisor, first - floorDivided(first, divisor) * divisor];
    const end = factor * count + first;
    if (end < divisor) return total;
    [count, first] = [end / divisor, end % divisor];
    [factor, divisor] = [divisor, factor];
  }
}

/** Floating-point operations of one iteration; a multiply-add is 2, the bias is not counted. */
export function flops(problem, direction) {
  return 2n * productsOf(direction) * multiplyAdds(problem);
}

/** How often a direction does the multiply-adds of forward. */
export function productsOf(direction) {
  return PRODUCTS_OF_DIRECTION[direction];
}

/** The elements of all operands, each read once, and of all results, each written once. */
export function elementsMoved(problem, direction) {
  const x = elements(inputShape(problem));
  const y = elements(outputShape(problem));
  const w = elements(weightShape(problem));
  const b = BigInt(problem.bias ? problem.out_channels : 0);
  const forward = x + w + b + y;
  const backward = y + x + w + (x + w + b);
  const moved = {
    forward,
    backward,
    grad_input: y + w + x,
    grad_weight: y + x + w + b,
    train_step: forward + backward,
  };
  return moved[direction];
}

/** Bytes of one iteration; with autocast the output and its gradient have the compute dtype. */
export function bytesMoved(problem, { direction, dtype, autocast = "none" }) {
  const moved = elementsMoved(problem, direction) * ITEM_BYTES[dtype];
  if (autocast === "none") return moved;
  const outputs = elements(outputShape(problem)) * (direction === "train_step" ? 2n : 1n);
  return moved + outputs * (ITEM_BYTES[autocast] - ITEM_BYTES[dtype]);
}

export function itemBytes(dtype) {
  return ITEM_BYTES[dtype];
}

/** Why torch would refuse this layer; null where torch would run it. The order is torch's. */
export function refusal(problem) {
  for (const name of ["in_channels", "out_channels"]) {
    if (problem[name] % problem.groups) {
      return `${name} (${problem[name]}) must be divisible by groups (${problem.groups})`;
    }
  }
  if (problem.padding === "same" && problem.stride.some((stride) => stride !== 1)) {
    const stride = problem.stride.join("x");
    return `padding 'same' is not defined for a stride other than 1, and the stride is ${stride}`;
  }
  return wrapping(problem) ?? tooLarge(problem);
}

function wrapping(problem) {
  for (const [axis, [before, after]] of pads(problem).entries()) {
    const size = problem.input_size[axis];
    const pad = Math.max(before, after);
    if (problem.padding_mode === "reflect" && pad >= size) {
      return `reflect padding must be smaller than the input: ${pad} rows at ${AXES[axis]} ${size}`;
    }
    if (problem.padding_mode === "circular" && pad > size) {
      return `circular padding must not wrap around more than once: ${pad} rows at ${AXES[axis]} ${size}`;
    }
  }
  return null;
}

function tooLarge(problem) {
  if (travel(problem).every((steps) => steps >= 0)) return null;
  const kernel = problem.kernel_size.join("x");
  const spread = dilatedKernelSize(problem).join("x");
  const dilated = spread === kernel ? "" : `, ${spread} with dilation`;
  return `the kernel (${kernel}${dilated}) is larger than the padded input (${paddedSize(problem).join("x")})`;
}

/** Why the execution's settings do not fit the problem, which is valid; null where they fit. */
export function unsuitable(problem, { memory_format: format, input_format: input } = {}) {
  if (![format, input].includes("channels_last") || problem.batch_size !== null) return null;
  return "channels_last needs a batch: an unbatched image has 3 dimensions, the format 4";
}

/**
 * The smallest changes of the problem's settings with which torch accepts it, the smallest effect first. Each is
 * {setting: value}; single changes where one is enough, else the fewest combined.
 */
export function waysOut(problem, execution) {
  const refused = (changed) => refusal(changed) ?? unsuitable(changed, execution);
  if (refused(problem) === null) return [];
  const candidates = candidateChanges(problem);
  for (let together = 1; together <= candidates.length; together++) {
    const found = combinationsOf(candidates, together)
      .filter((changes) => new Set(changes.map(([name]) => name)).size === together)
      .map((changes) => Object.fromEntries(changes))
      .filter((changes) => refused({ ...problem, ...changes }) === null);
    if (found.length) return found;
  }
  return [];
}

function combinationsOf(items, size) {
  if (size === 0) return [[]];
  return items.flatMap((item, place) =>
    combinationsOf(items.slice(place + 1), size - 1).map((rest) => [item, ...rest]),
  );
}

/** Changes of one setting that each remove one kind of refusal. */
function candidateChanges(problem) {
  const margins = pads(problem);
  const extents = dilatedKernelSize(problem);
  const widest = margins.map((sides) => Math.max(...sides));
  const padded = paddedSize(problem);
  const limit = { reflect: -1, circular: 0 }[problem.padding_mode];
  const eachAxis = (value) => problem.input_size.map((size, axis) => value(size, axis));
  const proposals = [
    ["batch_size", 1],
    ["groups", nearestDivisor(problem)],
    ["in_channels", nearestMultiple(problem.in_channels, problem.groups)],
    ["out_channels", nearestMultiple(problem.out_channels, problem.groups)],
    ["stride", eachAxis(() => 1)],
    ["padding", eachAxis((_, axis) => Math.floor((extents[axis] - 1) / 2))],
  ];
  if (limit !== undefined && Array.isArray(problem.padding)) {
    proposals.push(["padding", eachAxis((size, axis) => Math.min(widest[axis], size + limit))]);
  }
  proposals.push(
    ["padding", eachAxis((size, axis) => Math.max(widest[axis], Math.ceil((extents[axis] - size) / 2)))],
    [
      "dilation",
      eachAxis((_, axis) => {
        const gaps = Math.max(1, problem.kernel_size[axis] - 1);
        return Math.min(problem.dilation[axis], Math.max(1, Math.floor((padded[axis] - 1) / gaps)));
      }),
    ],
    [
      "kernel_size",
      eachAxis((_, axis) =>
        Math.min(problem.kernel_size[axis], Math.floor((padded[axis] - 1) / problem.dilation[axis]) + 1),
      ),
    ],
    [
      "input_size",
      eachAxis((size, axis) => {
        const unwrapped = limit === undefined ? 0 : widest[axis] - limit;
        return Math.max(size, extents[axis] - (padded[axis] - size), unwrapped, 1);
      }),
    ],
    ["padding_mode", "zeros"],
  );
  const seen = new Set(Object.entries(problem).map((entry) => JSON.stringify(entry)));
  return proposals.filter((proposal) => {
    const text = JSON.stringify(proposal);
    return !seen.has(text) && seen.add(text);
  });
}

/** The common divisor of both channel numbers that is nearest to groups; of two the smaller one. */
function nearestDivisor({ in_channels: inChannels, out_channels: outChannels, groups }) {
  let nearest = 1;
  const consider = (divisor) => {
    if (inChannels % divisor || outChannels % divisor) return;
    const nearer = Math.abs(divisor - groups) - Math.abs(nearest - groups);
    if (nearer < 0 || (nearer === 0 && divisor < nearest)) nearest = divisor;
  };
  for (let low = 1; low * low <= inChannels; low++) {
    consider(low);
    if (inChannels % low === 0) consider(inChannels / low);
  }
  return nearest;
}

function nearestMultiple(value, of) {
  return Math.max(of, Math.floor((value + Math.floor(of / 2)) / of) * of);
}

/** The row of the input that a tap of an output reads along an axis; on the margin negative or at least the size. */
export function tapPosition(problem, axis, out, tap) {
  return out * problem.stride[axis] + tap * problem.dilation[axis] - pads(problem)[axis][0];
}

/** The row of the input whose element is at a position along an axis; null on padding with zeros. */
export function sourceOf(problem, axis, position) {
  const size = problem.input_size[axis];
  if (position >= 0 && position < size) return position;
  switch (problem.padding_mode) {
    case "reflect":
      return position < 0 ? -position : 2 * (size - 1) - position;
    case "replicate":
      return position < 0 ? 0 : size - 1;
    case "circular":
      return position < 0 ? position + size : position - size;
    default:
      return null;
  }
}

/** The taps along an axis of which one output reads a row from `first` to `last` of the padded input: [from, to]. */
function tapsBetween(problem, axis, first, last) {
  const dilation = problem.dilation[axis];
  return [
    Math.max(0, Math.ceil(first / dilation)),
    Math.min(problem.kernel_size[axis] - 1, Math.floor(last / dilation)),
  ];
}

/** How many taps of an output read the input along an axis, and not the margin. */
export function tapsOnInput(problem, axis, out) {
  const before = pads(problem)[axis][0] - out * problem.stride[axis];
  const [from, to] = tapsBetween(problem, axis, before, before + problem.input_size[axis] - 1);
  return Math.max(0, to - from + 1);
}

/** The outputs along an axis that read a position. */
export function readersOf(problem, axis, position) {
  const padded = position + pads(problem)[axis][0];
  const [stride, dilation] = [problem.stride[axis], problem.dilation[axis]];
  const [from, to] = tapsBetween(problem, axis, padded - (outputSize(problem)[axis] - 1) * stride, padded);
  const found = [];
  for (let tap = to; tap >= from; tap--) {
    const place = (padded - tap * dilation) / stride;
    if (Number.isInteger(place)) found.push(place);
  }
  return found;
}

/** The outputs along an axis that read a row of the input or a copy of it on the margin. */
export function readersOfElement(problem, axis, row) {
  const size = problem.input_size[axis];
  const [before, after] = pads(problem)[axis];
  const found = new Set(readersOf(problem, axis, row));
  const read = (position) => {
    if (sourceOf(problem, axis, position) !== row) return;
    for (const place of readersOf(problem, axis, position)) found.add(place);
  };
  for (let step = 1; step <= before; step++) read(-step);
  for (let step = 0; step < after; step++) read(size + step);
  return [...found].sort((a, b) => a - b);
}

/** For every row of the padded input along an axis: 1 where a tap reads it, else 0. */
export function rowsRead(problem, axis) {
  const [stride, dilation, kernel] = [problem.stride[axis], problem.dilation[axis], problem.kernel_size[axis]];
  const length = paddedSize(problem)[axis];
  const reach = outputSize(problem)[axis] * stride;
  // A tap reads every `stride`-th row of an interval: mark the ends of the intervals, then sum along the rows.
  const marks = new Int32Array(length + stride);
  for (let tap = 0, first = 0; tap < kernel; tap++, first += dilation) {
    marks[first] += 1;
    marks[first + reach] -= 1;
  }
  for (let row = stride; row < length; row++) marks[row] += marks[row - stride];
  return Uint8Array.from(marks.subarray(0, length).map(Math.sign));
}

/** The rows of the input that no tap reads along an axis, including their copies on the margin. */
export function unread(problem, axis) {
  const size = problem.input_size[axis];
  const before = pads(problem)[axis][0];
  const touched = rowsRead(problem, axis);
  const read = touched.slice(before, before + size);
  const readCopy = (row) => {
    const source = touched[row] ? sourceOf(problem, axis, row - before) : null;
    if (source !== null) read[source] = 1;
  };
  for (let row = 0; row < before; row++) readCopy(row);
  for (let row = before + size; row < touched.length; row++) readCopy(row);
  const rows = [];
  for (let row = 0; row < size; row++) if (!read[row]) rows.push(row);
  return rows;
}

/**
 * The problem as a short word for a URL: `c3-64x64-k10-5x5-s2x2-p1x1`, without default values.
 */
export function toText(problem) {
  const pair = (values) => values.join("x");
  const words = [`c${problem.in_channels}`, pair(problem.input_size)];
  words.push(`k${problem.out_channels}`, pair(problem.kernel_size));
  if (problem.stride.some((value) => value !== 1)) words.push(`s${pair(problem.stride)}`);
  if (!Array.isArray(problem.padding)) words.push(problem.padding);
  else if (problem.padding.some((value) => value !== 0)) words.push(`p${pair(problem.padding)}`);
  if (problem.dilation.some((value) => value !== 1)) words.push(`d${pair(problem.dilation)}`);
  if (problem.groups !== 1) words.push(`g${problem.groups}`);
  if (!problem.bias) words.push("unbiased");
  if (problem.padding_mode !== "zeros") words.push(problem.padding_mode);
  if (problem.batch_size === null) words.push("unbatched");
  else if (problem.batch_size !== 1) words.push(`n${problem.batch_size}`);
  return words.join("-");
}

const TEXT_FORM =
  /^c(\d+)-(\d+x\d+)-k(\d+)-(\d+x\d+)(?:-s(\d+x\d+))?(?:-(same|valid)|-p(\d+x\d+))?(?:-d(\d+x\d+))?(?:-g(\d+))?(-unbiased)?(?:-(reflect|replicate|circular))?(?:-(unbatched)|-n(\d+))?$/;

/** The problem that `toText` wrote; null for any other text, and for numbers that a field does not accept. */
export function fromText(text) {
  const found = TEXT_FORM.exec(text);
  if (!found) return null;
  const pair = (sides, otherwise) => (sides ? sides.split("x").map(Number) : [otherwise, otherwise]);
  const problem = {
    in_channels: Number(found[1]),
    out_channels: Number(found[3]),
    kernel_size: pair(found[4]),
    input_size: pair(found[2]),
    stride: pair(found[5], 1),
    padding: found[6] ?? pair(found[7], 0),
    dilation: pair(found[8], 1),
    groups: Number(found[9] ?? 1),
    bias: !found[10],
    padding_mode: found[11] ?? "zeros",
    batch_size: found[12] ? null : Number(found[13] ?? 1),
    module_output_size: null,
  };
  const fits = (name) => [problem[name]].flat().every((value) => outOfRange(name, value) === null);
  return Object.keys(LARGEST).every((name) => typeof problem[name] === "string" || fits(name)) ? problem : null;
}

/** The largest values that a reader may set. Larger ones do not occur in layers and would block the page. */
const LARGEST = {
  in_channels: 65536,
  out_channels: 65536,
  kernel_size: 1024,
  input_size: 65536,
  stride: 65536,
  padding: 65536,
  dilation: 4096,
  groups: 65536,
  batch_size: 1048576,
};

/** The most rows of the padded input, or of the kernel, along one axis that can be drawn; each of them is read. */
const MOST_DRAWN = 10_000_000;

/** Why a layer cannot be drawn; null where it can. All layers that a reader may set can be drawn. */
export function notDrawn(problem) {
  if (problem.module_output_size !== null) return "a module that pads by itself is not drawn";
  const largest = Math.max(...paddedSize(problem), ...dilatedKernelSize(problem));
  if (largest <= MOST_DRAWN) return null;
  const [found, most] = [largest, MOST_DRAWN].map((rows) => rows.toLocaleString("en-US"));
  return `this layer is too large to be drawn: expected at most ${most} rows of padded input and of kernel, got ${found}`;
}

/** The smallest number of a setting. */
export function leastOf(name) {
  return name === "padding" || name === "batch_size" ? 0 : 1;
}

/** What is wrong with a number for a setting; null where it is valid. */
export function outOfRange(name, value) {
  if (value === null) return null;
  const least = leastOf(name);
  if (!Number.isInteger(value) || value < least) return `expected an integer of at least ${least}`;
  return value > LARGEST[name] ? `expected an integer of at most ${LARGEST[name].toLocaleString("en-US")}` : null;
}
