// Each layer at two values of a setting, for example forward and backward.

import { medianOf, rangeOf, thinned } from "./cases.js";
import { baseLayout, coloursOf, describeRow, extent, legendTraces, logAxis, MOST_DOTS, metricNamed } from "./charts.js";
import { paper } from "./colours.js";
import { MOST_COLOURS } from "./explore.js";
import { escapePlotly, formatCount, formatNumber, formatSeconds } from "./format.js";
import { pairsOf, ratioText } from "./ratio.js";

/** Pairs of rows that differ in `axis` alone: [row with value `first`, row with value `second`]. */
export function sidePairs(cases, rows, axis, first, second) {
  const { groups } = cases.groups([axis]);
  const { codes } = cases.axis.get(axis);
  const one = new Map();
  for (const row of rows) if (codes[row] === first && !one.has(groups[row])) one.set(groups[row], row);
  const seen = new Set();
  const pairs = [];
  for (const row of rows) {
    if (codes[row] !== second || seen.has(groups[row]) || !one.has(groups[row])) continue;
    seen.add(groups[row]);
    pairs.push([one.get(groups[row]), row]);
  }
  return pairs;
}

/** `4.57x as long as forward in the median of 16 matched layers (4.01x to 5.68x)`; of few pairs the range alone. */
export function sizeText(ratios, first) {
  const layers = `${formatCount(ratios.length)} matched ${ratios.length === 1 ? "layer" : "layers"}`;
  const [middle, ends] = [medianOf(ratios), rangeOf(ratios)];
  return middle
    ? `${middle} as long as ${first} in the median of ${layers} (${ends})`
    : `${ends} as long as ${first} in ${layers}`;
}

/**
 * What the pairs say: their verdicts where the run judged these two values, as the picture of ratios and the findings
 * have them. Of two values that it did not judge against each other it is the size alone.
 */
function judgedText(cases, rows, judgedPairs, { axis, first, second }, pairs) {
  const isOf = (each) => each.axis === axis && [each.base, each.other].join() === [first, second].join();
  const contrast = cases.contrasts.find(isOf);
  const found = contrast ? pairsOf(judgedPairs, contrast, rows) : [];
  if (found.length) return ratioText(found, contrast);
  const time = (row) => cases.value(cases.time, row);
  return `${second} takes ${sizeText(
    pairs.map(([a, b]) => time(b) / time(a)),
    first,
  )}; the run did not judge these two values against each other.`;
}

/** {traces, layout, summary} of the picture. */
export function sidesPicture(cases, rows, judgedPairs, choice, look) {
  const { axis, first, second, colour } = choice;
  const setting = cases.axis.get(axis);
  const [one, other] = [first, second].map((text) => setting.texts.indexOf(text));
  const sound = rows.filter((row) => !cases.waiting.has(row));
  const pairs = sidePairs(cases, sound, axis, one, other);
  const layout = baseLayout(look);
  layout.margin.l = 72; // the axis has a title
  if (!pairs.length) return { traces: [], layout, summary: "No two of these layers differ in that setting alone." };
  const ink = paper(look.theme);
  const colourAxis = cases.axis.get(colour);
  const colours = coloursOf(look, colourAxis);
  const named = colourAxis && colourAxis.texts.length <= MOST_COLOURS;
  if (!named) layout.margin.t = 10;
  const time = (row) => cases.value(cases.time, row);
  const some = thinned(
    [...pairs].sort(([a], [b]) => time(a) - time(b)),
    MOST_DOTS,
  );
  const xs = some.map(([a]) => time(a));
  const ys = some.map(([, b]) => time(b));
  const traces = guides(extent([...xs, ...ys]), ink);
  traces.push({
    type: "scatter",
    mode: "markers",
    x: xs,
    y: ys,
    customdata: some.map(([, b]) => b),
    text: some.map(([a, b]) => {
      const ratio = `${formatNumber(time(b) / time(a), 3, 0)}x`;
      return `${describeRow(cases, b)}<br><b>${ratio}</b> the ${formatSeconds(time(a))} of ${escapePlotly(first)}`;
    }),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      color: some.map(([, b]) => colours[colourAxis ? colourAxis.codes[b] : 0]),
      size: some.length > 300 ? 5 : 8,
      opacity: 0.8,
    },
  });
  if (named) {
    traces.push(...legendTraces(colourAxis.texts, colours));
    layout.showlegend = true;
    layout.legend.title.text = colourAxis.title;
  }
  layout.xaxis = logAxis(ink, xs, formatSeconds);
  layout.yaxis = logAxis(ink, ys, formatSeconds);
  const timeAt = (value) =>
    escapePlotly(`${metricNamed(cases, cases.time).title}, ${setting.title.toLowerCase()} ${value}`);
  layout.xaxis.title = {
    ...layout.xaxis.title,
    text: timeAt(first),
  };
  layout.yaxis.title = {
    ...layout.yaxis.title,
    text: timeAt(second),
  };
  const dots = some.length < pairs.length ? ` ${formatCount(some.length)} of them are drawn.` : "";
  const said = judgedText(cases, rows, judgedPairs, choice, pairs);
  const summary = `${said} The lines are at 1x, 2x and 3x.${dots}`;
  return { traces, layout, summary };
}

/** Lines of equal ratio. */
function guides([low, high], ink) {
  return [1, 2, 3].map((ratio) => ({
    type: "scatter",
    mode: "lines",
    x: [low / 10, high * 10],
    y: [(low / 10) * ratio, high * 10 * ratio],
    line: { color: ratio === 1 ? ink.muted : ink.grid, width: 1, dash: ratio === 1 ? "solid" : "dot" },
    hoverinfo: "skip",
  }));
}
