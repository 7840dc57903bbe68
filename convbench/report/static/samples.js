// The small numbers that stand in the explainer's grids: made up from their places, so that a sum can be done in the
// head and a test can ask torch for the same. Exact, for they are integers.

import { channelsPerGroup, firstChannel, sourceOf, tapPosition } from "./geometry.js";

/** The input's element, 0 to 5. */
export function inputValue(channel, row, column) {
  return (row * row + 2 * row + 3 * column + ((row * column) % 5) + 4 * channel) % 6;
}

/** The weight of a tap, -1 to 2; `channel` counts within the group. */
export function weightValue(outChannel, channel, row, column) {
  return ((5 * row + 3 * column + row * column + 2 * channel + 3 * outChannel + 1) % 4) - 1;
}

export function biasValue(outChannel) {
  return (outChannel % 3) + 1;
}

/** The number at a position of the padded input, which may lie on the margin. */
export function paddedValue(problem, channel, row, column) {
  const source = [sourceOf(problem, 0, row), sourceOf(problem, 1, column)];
  return source.includes(null) ? 0 : inputValue(channel, ...source);
}

/** What one output's taps read in one channel: [{row, column, x, w, margin}], the kernel's rows one after the other. */
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
export function channelSum(problem, outChannel, channel, [outRow, outColumn]) {
  const columns = Array.from({ length: problem.kernel_size[1] }, (_, j) =>
    sourceOf(problem, 1, tapPosition(problem, 1, outColumn, j)),
  );
  const first = firstChannel(problem, outChannel);
  let sum = 0;
  for (let i = 0; i < problem.kernel_size[0]; i++) {
    const row = sourceOf(problem, 0, tapPosition(problem, 0, outRow, i));
    if (row === null) continue;
    for (let j = 0; j < columns.length; j++) {
      if (columns[j] !== null)
        sum += inputValue(first + channel, row, columns[j]) * weightValue(outChannel, channel, i, j);
    }
  }
  return sum;
}

/** One element of the output, its bias added. */
export function outputValue(problem, outChannel, place) {
  let sum = problem.bias ? biasValue(outChannel) : 0;
  for (let channel = 0; channel < channelsPerGroup(problem); channel++) {
    sum += channelSum(problem, outChannel, channel, place);
  }
  return sum;
}

/** How many products are in one element of the output. */
export function productsInOutput(problem) {
  return channelsPerGroup(problem) * problem.kernel_size[0] * problem.kernel_size[1];
}
