// The small numbers in the explainer's grids. They depend on their places alone, so a test can compute the same with
// torch. They are integers, so sums are exact and easy to check.

import { channelsPerGroup, firstChannel, sourceOf, tapPosition } from "./geometry.js";

/** Numbers are mixed from places modulo this prime. Tables have twice its length, for the sum of two residues. */
const PRIME = 1009;
const INPUTS = new Int8Array(2 * PRIME).map((_, mixed) => scattered(mixed) % 6);
const WEIGHTS = new Int8Array(2 * PRIME).map((_, mixed) => (scattered(mixed) % 4) - 1);

/** A pseudo-random number. */
function scattered(mixed) {
  const within = mixed % PRIME;
  return (((within * within) % PRIME) * within + 11 * within) % PRIME;
}

/** The part of the mix from all places except the last; `partOf` is the last one's part. */
function mixOf(...places) {
  return places.reduce((sum, place) => ((sum + partOf(place)) * 31 + 7) % PRIME, 5);
}

function partOf(place) {
  return ((place % PRIME) * 17) % PRIME;
}

/** The input's element, 0 to 5. */
export function inputValue(channel, row, column) {
  return INPUTS[mixOf(channel, row) + partOf(column)];
}

/** The weight of a tap, -1 to 2; `channel` counts within the group. */
export function weightValue(outChannel, channel, row, column) {
  return WEIGHTS[mixOf(outChannel, channel, row) + partOf(column)];
}

export function biasValue(outChannel) {
  return (outChannel % 3) + 1;
}

/** The number at a position of the padded input, which may be in the padding. */
export function paddedValue(problem, channel, row, column) {
  const source = [sourceOf(problem, 0, row), sourceOf(problem, 1, column)];
  return source.includes(null) ? 0 : inputValue(channel, ...source);
}

/** The values that one output's taps read in one channel: [{row, column, x, w, margin}], by rows of the kernel. */
export function tapsOf(problem, outChannel, channel, [outRow, outColumn]) {
  const taps = [];
  const [height, width] = problem.input_size;
  for (let i = 0; i < problem.kernel_size[0]; i++) {
    const row = tapPosition(problem, 0, outRow, i);
    for (let j = 0; j < problem.kernel_size[1]; j++) {
      const column = tapPosition(problem, 1, outColumn, j);
      taps.push({
        row,
        column,
        x: paddedValue(problem, firstChannel(problem, outChannel) + channel, row, column),
        w: weightValue(outChannel, channel, i, j),
        margin: row < 0 || column < 0 || row >= height || column >= width,
      });
    }
  }
  return taps;
}

/** The sum of one channel's products for one output element. */
export function channelSum(problem, outChannel, channel, place) {
  return sumOfProducts(problem, outChannel, channel, channel + 1, place);
}

/** One element of the output, with its bias. */
export function outputValue(problem, outChannel, place) {
  const bias = problem.bias ? biasValue(outChannel) : 0;
  return sumOfProducts(problem, outChannel, 0, channelsPerGroup(problem), place) + bias;
}

/** The sum over channels `start` up to `end`. A layer may have a million products, so the inner loop only adds. */
function sumOfProducts(problem, outChannel, start, end, place) {
  const [rows, columns] = problem.kernel_size.map((kernel, axis) =>
    Array.from({ length: kernel }, (_, tap) => [
      tap,
      sourceOf(problem, axis, tapPosition(problem, axis, place[axis], tap)),
    ]).filter(([, source]) => source !== null),
  );
  const tapParts = columns.map(([tap]) => partOf(tap));
  const inputParts = columns.map(([, source]) => partOf(source));
  const first = firstChannel(problem, outChannel);
  let sum = 0;
  for (let channel = start; channel < end; channel++) {
    for (const [tap, source] of rows) {
      const inputMix = mixOf(first + channel, source);
      const weightMix = mixOf(outChannel, channel, tap);
      for (let j = 0; j < tapParts.length; j++) {
        sum += INPUTS[inputMix + inputParts[j]] * WEIGHTS[weightMix + tapParts[j]];
      }
    }
  }
  return sum;
}

/** How many products are in one element of the output. */
export function productsInOutput(problem) {
  return channelsPerGroup(problem) * problem.kernel_size[0] * problem.kernel_size[1];
}
