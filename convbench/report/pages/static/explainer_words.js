// The explainer's sentences and sums as text; where report/text/explain.py has the same sentence, the words are equal.

import { formatNumber } from "./format.js";
import {
  axisNames,
  biasShape,
  bytesMoved,
  channelsPerGroup,
  dilatedKernelSize,
  elements,
  elementsMoved,
  firstChannel,
  flops,
  inputShape,
  itemBytes,
  multiplyAdds,
  outputShape,
  outputSize,
  pads,
  parameters,
  productsOf,
  tapPosition,
  tapsOnInput,
  travel,
  unread,
  weightShape,
} from "./geometry.js";
import { outputValue, productsInOutput } from "./samples.js";

/** More products than this are not summed: that would block the page, and readers could not follow the sum. */
const MOST_PRODUCTS = 2_000_000;
const ROW_WORDS = { height: ["row", "above", "below"], width: ["column", "left", "right"] };

/** An integer, also a BigInt, with thousands separated. */
export function countText(value) {
  return value.toLocaleString("en-US");
}

export function pluralText(number, noun) {
  return `${countText(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function shortPair(values) {
  return new Set(values).size === 1 ? String(values[0]) : values.join("x");
}

/** `(3, 64, 64)`. */
export function shapeText(shape) {
  return `(${shape.join(", ")})`;
}

function argumentText(values) {
  return new Set(values).size === 1 ? String(values[0]) : shapeText(values);
}

/** A setting as written in a sweep: `3`, `[1, 7]`, `same`. */
export function settingText(value) {
  if (!Array.isArray(value)) return String(value);
  return new Set(value).size === 1 ? String(value[0]) : `[${value.join(", ")}]`;
}

/** The constructor call with all arguments that are not default, and its input. */
export function constructorText(problem) {
  const words = [problem.in_channels, problem.out_channels, `kernel_size=${argumentText(problem.kernel_size)}`];
  if (problem.stride.some((value) => value !== 1)) words.push(`stride=${argumentText(problem.stride)}`);
  if (!Array.isArray(problem.padding)) words.push(`padding='${problem.padding}'`);
  else if (problem.padding.some(Boolean)) words.push(`padding=${argumentText(problem.padding)}`);
  if (problem.dilation.some((value) => value !== 1)) words.push(`dilation=${argumentText(problem.dilation)}`);
  if (problem.groups !== 1) words.push(`groups=${problem.groups}`);
  if (!problem.bias) words.push("bias=False");
  if (problem.padding_mode !== "zeros") words.push(`padding_mode='${problem.padding_mode}'`);
  const images = problem.batch_size === null ? "one unbatched image" : pluralText(problem.batch_size, "image");
  return `Conv2d(${words.join(", ")}) on ${images} of ${[problem.in_channels, ...problem.input_size].join("x")}`;
}

/** What the layer does, in one sentence. */
export function summaryText(problem) {
  const extents = dilatedKernelSize(problem).join("x");
  const kernel = problem.kernel_size.join("x");
  const spread = extents === kernel ? "" : ` spread over ${extents}`;
  const channels = channelsPerGroup(problem);
  let sees = problem.in_channels === 1 ? "the only channel" : `all ${countText(channels)} channels`;
  if (problem.groups > 1) {
    sees = channels === 1 ? "one channel of its own" : `${countText(channels)} channels of its group`;
  }
  const step = problem.stride.every((value) => value === 1) ? "one by one" : `in steps of ${shortPair(problem.stride)}`;
  const out = outputSize(problem);
  const slides = out[0] * out[1] === 1 ? "is laid once on" : `slides ${step} over`;
  const subject = problem.out_channels === 1 ? "One filter" : `Each of ${countText(problem.out_channels)} filters`;
  const each = problem.batch_size === null || problem.batch_size === 1 ? "" : " for each image";
  return (
    `${subject} ${slides} a ${problem.input_size.join("x")} image, sees ${sees} through a ${kernel} window${spread}, ` +
    `and writes one number per stop: ${pluralText(problem.out_channels, "map")} of ${out.join("x")}${each}.`
  );
}

/** The formula of the output's size along an axis, with all numbers: [text, label] pairs, some without a label. */
export function formulaParts(problem, axis) {
  const [before, after] = pads(problem)[axis];
  const stride = problem.stride[axis];
  const steps = travel(problem)[axis];
  const out = outputSize(problem)[axis];
  return [
    ["floor(("],
    [String(problem.input_size[axis]), "input"],
    [" + "],
    [String(before), ROW_WORDS[axisNames()[axis]][1]],
    [" + "],
    [String(after), ROW_WORDS[axisNames()[axis]][2]],
    [" - "],
    [String(problem.dilation[axis]), "dilation"],
    [" * ("],
    [String(problem.kernel_size[axis]), "kernel"],
    [" - 1) - 1) / "],
    [String(stride), "stride"],
    [") + 1 "],
    [`= floor(${steps} / ${stride}) + 1 `],
    [`= ${Math.floor(steps / stride)} + 1 `],
    ["= "],
    [String(out), "output"],
  ];
}

/** Notes for readers about one axis: a kernel that does not fit, dropped rows, rows that are never read. */
export function axisNotes(problem, axis) {
  const row = ROW_WORDS[axisNames()[axis]][0];
  if (outputSize(problem)[axis] < 1) {
    return [`less than one ${row} of output, for the kernel does not fit into the padded input.`];
  }
  const notes = [];
  const steps = travel(problem)[axis];
  const left = steps % problem.stride[axis];
  if (left) {
    const last = left === 1 ? `the last ${row}` : `the last ${left} ${row}s`;
    const stride = problem.stride[axis];
    notes.push(`${steps} is no multiple of the stride ${stride}, so flooring leaves ${last} of the padded input over.`);
  }
  const rows = unread(problem, axis);
  if (rows.length) {
    const verb = rows.length === 1 ? "is" : "are";
    const all = pluralText(problem.input_size[axis], row);
    notes.push(
      `${countText(rows.length)} of ${all} of the input ${verb} never read: ${placesText(rows)} (counted from 0).`,
    );
  } else if (left) {
    notes.push(`what is left over is padding; every ${row} of the input is read.`);
  }
  return notes;
}

/** `63`, `60 to 63`, `1, 3, 5, ..., 63`. */
export function placesText(places) {
  const [first, last] = [places[0], places[places.length - 1]];
  if (places.length > 2 && last - first === places.length - 1) return `${first} to ${last}`;
  if (places.length <= 5) return places.join(", ");
  return `${places.slice(0, 3).join(", ")}, ..., ${last}`;
}

export function tooManyProducts(problem) {
  return productsInOutput(problem) > MOST_PRODUCTS;
}

/** The kernel's present place, and the output's value there. */
export function stepText(problem, outChannel, place) {
  const spans = place.map((at, axis) => {
    const start = tapPosition(problem, axis, at, 0);
    const end = tapPosition(problem, axis, at, problem.kernel_size[axis] - 1);
    const noun = ROW_WORDS[axisNames()[axis]][0];
    if (start === end) return `${noun} ${start}`;
    return `${noun}s ${start} to ${end}${problem.dilation[axis] > 1 ? ` in steps of ${problem.dilation[axis]}` : ""}`;
  });
  const [height, width] = place.map((at, axis) => tapsOnInput(problem, axis, at));
  const all = problem.kernel_size[0] * problem.kernel_size[1];
  const on = height * width;
  const margin = on === all ? "" : `, ${countText(all - on)} of ${pluralText(all, "tap")} on the margin`;
  const value = tooManyProducts(problem) ? "" : ` Its value is ${countText(outputValue(problem, outChannel, place))}.`;
  return `Output row ${place[0]}, column ${place[1]} reads input ${spans.join(", ")}${margin}.${value}`;
}

/** The outputs that read a place of the padded input. */
export function readersText([row, column], source, [rows, columns]) {
  const isMargin = source === null || source[0] !== row || source[1] !== column;
  let what = `Input row ${row}, column ${column}`;
  if (isMargin) {
    const holds = source ? `holds a copy of input row ${source[0]}, column ${source[1]}` : "holds a zero";
    what = `The margin at row ${row}, column ${column} ${holds}; it`;
  }
  const number = rows.length * columns.length;
  if (!number) return `${what} is never read.`;
  const where = `row${rows.length > 1 ? "s" : ""} ${placesText(rows)}, column${columns.length > 1 ? "s" : ""} ${placesText(columns)}`;
  return `${what} is read for ${pluralText(number, "output")} of each channel: ${where}.`;
}

/** The input channels that an output channel reads. */
export function channelsText(problem, outChannel) {
  const seen = channelsPerGroup(problem);
  const first = firstChannel(problem, outChannel);
  if (problem.groups === 1) {
    const all = seen === 1 ? "the only in channel" : `all ${countText(seen)} in channels`;
    return `Out channel ${outChannel} is the sum over ${all}.`;
  }
  const channels = seen === 1 ? `in channel ${first} alone` : `in channels ${first} to ${first + seen - 1}`;
  const kind = seen === 1 ? "This is a depthwise convolution: channels never meet. " : "";
  return (
    `Out channel ${outChannel} sees ${channels}, its group (one of ${countText(problem.groups)}). ` +
    `${kind}That is 1/${problem.groups} of the weights and of the work of the same layer without groups.`
  );
}

/** `groups 2 instead of 4`, and so on for each changed setting. */
export function wayText(problem, way) {
  return Object.entries(way)
    .map(([name, value]) => `${name} ${settingText(value)} instead of ${settingText(problem[name])}`)
    .join(" and ");
}

function productText(factors) {
  return factors.map(countText).join(" x ");
}

function scaled(value, steps) {
  const [size, unit] = steps.find(([least]) => value >= least) ?? steps[steps.length - 1];
  return `${formatNumber(value / size, 3, 0)} ${unit}`;
}

const OPERATIONS = [
  [1e12, "TFLOP"],
  [1e9, "GFLOP"],
  [1e6, "MFLOP"],
  [1e3, "kFLOP"],
  [1, "FLOP"],
];
const SIZES = [
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
];

/** The numbers of a layer as [name, how it is computed, the number]. */
export function factsOf(problem, execution) {
  const bias = biasShape(problem);
  const output = outputShape(problem);
  const window = [channelsPerGroup(problem), ...problem.kernel_size];
  const taps = elements(output) * elements(window);
  const real = multiplyAdds(problem);
  const work = flops(problem, execution.direction);
  const times = productsOf(execution.direction);
  const moved = elementsMoved(problem, execution.direction);
  const bytes = bytesMoved(problem, execution);
  const batch = problem.batch_size === null ? "" : "images, ";
  const facts = [
    ["input", `${batch}channels, height, width`, shapeText(inputShape(problem))],
    [
      "weight",
      `out, in${problem.groups > 1 ? " / groups" : ""}, kernel height, width`,
      shapeText(weightShape(problem)),
    ],
    ["bias", bias ? "one for each out channel" : "", bias ? shapeText(bias) : "none"],
    ["output", `${batch}channels, height, width`, shapeText(output)],
    ["weights", productText(weightShape(problem)), countText(elements(weightShape(problem)))],
    [
      "parameters",
      bias ? `weights + ${countText(problem.out_channels)} of the bias` : "weights alone",
      countText(parameters(problem)),
    ],
    ["multiply-adds", `${productText(output)} outputs x ${productText(window)} taps`, countText(taps)],
  ];
  if (taps !== real) {
    facts.push([
      "on zero padding",
      `${shareText(taps - real, taps)} of them, no work`,
      `\u2212${countText(taps - real)}`,
    ]);
  }
  const autocast = execution.autocast ?? "none";
  facts.push(
    [
      `FLOPs, ${execution.direction}`,
      `${times === 1n ? "" : `${times} x `}2 x ${countText(real)}`,
      `${countText(work)}${work < 1000n ? "" : ` (${scaled(Number(work), OPERATIONS)})`}`,
    ],
    [
      "bytes, at the least",
      autocast === "none"
        ? `${countText(moved)} elements x ${itemBytes(execution.dtype)} (${execution.dtype})`
        : `${countText(moved)} elements (${execution.dtype}, computed in ${autocast})`,
      bytes < 1024n ? countText(bytes) : `${countText(bytes)} (${scaled(Number(bytes), SIZES)})`,
    ],
    ["FLOPs per byte", "", formatNumber(Number(work) / Number(bytes), 3, 0)],
  );
  return facts;
}

function shareText(part, whole) {
  return `${formatNumber((Number(part) / Number(whole)) * 100, null, 1)} %`;
}
