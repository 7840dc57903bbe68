// Time, rate or efficiency over any setting, coloured and split by two others.

import { geometricMean, thinned } from "./cases.js";
import {
  baseLayout,
  coloursOf,
  describeRow,
  legendTraces,
  metricAxis,
  metricNamed,
  metricText,
  panels,
  settingAxis,
  suffix,
} from "./charts.js";
import { paper } from "./colours.js";
import { escapePlotly, formatCount } from "./format.js";

/** Lines in one panel at most: more would hide each other. Means are over all lines. */
const MOST_LINES = 60;
/** Dots in all panels at most: the browser draws so many in 1 s. Each series has some lines in any case. */
const MOST_DOTS_DRAWN = 1500;
const LEAST_LINES = 10;
const MOST_PANELS = 9;
/** Values in a legend at most. Of more values, the hover text names each. */
export const MOST_COLOURS = 12;

/**
 * The series of the picture, one per panel and colour: {panel, colour, lines, mean, matched}. A line is the rows of one
 * layer, all else equal, in the order of x. `matched` counts the lines that have every value of the series. `mean` is
 * their geometric mean by position on the x axis, null where there is none. No mean has a row whose threads waited.
 */
export function series(cases, rows, { x, y, colour, split }) {
  const [axis, colours, splits] = [x, colour, split].map((name) => cases.axis.get(name));
  const { groups } = cases.groups([x]);
  const found = new Map();
  for (const row of rows) {
    if (cases.value(y, row) === null) continue;
    const place = { panel: splits ? splits.codes[row] : 0, colour: colours ? colours.codes[row] : 0 };
    const key = `${place.panel} ${place.colour}`;
    if (!found.has(key)) found.set(key, { ...place, lines: new Map() });
    const { lines } = found.get(key);
    if (!lines.has(groups[row])) lines.set(groups[row], new Map());
    const line = lines.get(groups[row]);
    if (!line.has(axis.codes[row])) line.set(axis.codes[row], row); // the default and the same value by name are one point
  }
  const sorted = [...found.values()].sort((a, b) => a.panel - b.panel || a.colour - b.colour);
  return sorted.map(({ panel, colour: code, lines }) => {
    const all = [...lines.values()].map((line) => [...line].sort(([a], [b]) => a - b));
    const sound = all.map((line) => line.filter(([, row]) => !cases.waiting.has(row)));
    const places = [...new Set(sound.flatMap((line) => line.map(([at]) => at)))].sort((a, b) => a - b);
    const matched = sound.filter((line) => line.length === places.length);
    const mean =
      places.length > 1 && matched.length
        ? places.map((at, i) => [at, geometricMean(matched.map((line) => cases.value(y, line[i][1])))])
        : null;
    return { panel, colour: code, lines: all, mean, matched: matched.length };
  });
}

/** {traces, layout, summary} of the picture; `summary` describes it in a sentence. */
export function explorePicture(cases, rows, choice, look) {
  const { x, y, colour, split } = choice;
  const [axis, colourAxis, splitAxis] = [x, colour, split].map((name) => cases.axis.get(name));
  const metric = metricNamed(cases, y);
  const found = series(cases, rows, choice);
  const [ink, colours] = [paper(look.theme), coloursOf(look, colourAxis)];
  const shown = [...new Set(found.map(({ panel }) => panel))];
  const kept = shown.slice(0, MOST_PANELS);
  const layout = baseLayout(look);
  if (metric.unit) layout.margin.l = 72; // the axis has a title
  const named = colourAxis && colourAxis.texts.length <= MOST_COLOURS;
  if (!named) layout.margin.t = splitAxis ? 24 : 10;
  else if (splitAxis) layout.margin.t = 54;
  const titles = kept.map((code) => (splitAxis ? `${splitAxis.title}: ${splitAxis.texts[code]}` : null));
  const { domains, width } = panels(layout, look, titles);
  const traces = [];
  const values = [];
  const room = Math.floor(MOST_DOTS_DRAWN / (found.length * axis.texts.length || 1));
  const most = Math.max(LEAST_LINES, Math.min(MOST_LINES, room));
  let [drawn, total] = [0, 0];
  for (const { panel, colour: code, lines, mean, matched } of found) {
    const at = kept.indexOf(panel);
    if (at < 0) continue;
    const some = thinned(byHeight(lines, cases, y), most);
    drawn += some.length;
    total += lines.length;
    for (const line of some) for (const [, row] of line) values.push(cases.value(y, row));
    const axes = { xaxis: `x${suffix(at)}`, yaxis: `y${suffix(at)}` };
    // Dots without a line must be visible.
    const alone = some.filter((line) => line.length === 1);
    const joined = some.filter((line) => line.length > 1);
    const faint = Math.max(look.theme === "dark" ? 0.4 : 0.3, Math.min(0.75, 8 / joined.length));
    const drawing = { color: colours[code], x: axis.places, y, axes };
    if (joined.length) traces.push(linesTrace(cases, joined, { ...drawing, size: 5, opacity: faint }));
    if (alone.length) traces.push(linesTrace(cases, alone, { ...drawing, size: 7, opacity: 0.75 }));
    if (mean && matched > 1) {
      traces.push({
        ...axes,
        x: mean.map(([place]) => axis.places[place]),
        y: mean.map(([, value]) => value),
        text: mean.map(([place, value]) => {
          const of = colourAxis ? `, ${escapePlotly(colourAxis.texts[code])}` : "";
          return `<b>${escapePlotly(axis.texts[place])}${of}</b><br>${metricText(metric, value)}, mean of ${formatCount(matched)}`;
        }),
        type: "scatter",
        mode: "lines+markers",
        hovertemplate: "%{text}<extra></extra>",
        line: { color: colours[code], width: 3 },
        marker: { color: colours[code], size: 8 },
      });
    }
  }
  if (!values.length) return { traces: [], layout, summary: "None of these cases has that figure." };
  domains.forEach((domain, i) => {
    layout[`xaxis${suffix(i)}`] = {
      ...settingAxis(ink, axis, width),
      domain: domain.x,
      anchor: `y${suffix(i)}`,
    };
    layout[`xaxis${suffix(i)}`].title = { ...layout[`xaxis${suffix(i)}`].title, text: escapePlotly(axis.title) };
    layout[`yaxis${suffix(i)}`] = {
      ...metricAxis(ink, metric, values),
      domain: domain.y,
      anchor: `x${suffix(i)}`,
      showticklabels: domain.first,
    };
    if (metric.unit && domain.first) layout[`yaxis${suffix(i)}`].title.text = metric.unit;
  });
  if (named) {
    traces.push(...legendTraces(colourAxis.texts, colours));
    layout.showlegend = true;
    layout.legend.title.text = colourAxis.title;
  }
  return {
    traces,
    layout,
    summary: summaryOf({
      axis,
      metric,
      colourAxis,
      splitAxis,
      found,
      drawn,
      total,
      shown,
      kept,
      waiting: cases.waiting,
    }),
  };
}

/** One trace of many lines, with a gap between them. */
function linesTrace(cases, lines, { color, x, y, axes, size, opacity }) {
  const thin = { x: [], y: [], text: [], customdata: [] };
  for (const line of lines) {
    for (const [place, row] of line) {
      thin.x.push(x[place]);
      thin.y.push(cases.value(y, row));
      thin.text.push(describeRow(cases, row));
      thin.customdata.push(row);
    }
    for (const list of Object.values(thin)) list.push(null);
  }
  return {
    ...thin,
    ...axes,
    type: "scatter",
    mode: "lines+markers",
    hovertemplate: "%{text}<extra></extra>",
    connectgaps: false,
    line: { color, width: 1 },
    marker: { color, size },
    opacity,
  };
}

/** The lines, the lowest first, so that a thinned choice covers the whole range. */
function byHeight(lines, cases, y) {
  return lines
    .map((line) => ({ line, first: cases.value(y, line[0][1]) }))
    .sort((a, b) => a.first - b.first)
    .map(({ line }) => line);
}

function summaryOf({ axis, metric, colourAxis, splitAxis, found, drawn, total, shown, kept, waiting }) {
  const parts = [`${metric.title} over ${axis.title.toLowerCase()}`];
  if (colourAxis) parts.push(`coloured by ${colourAxis.title.toLowerCase()}`);
  if (splitAxis) parts.push(`split by ${splitAxis.title.toLowerCase()}`);
  const sentences = [`${parts.join(", ")}.`];
  if (found.some(({ mean, matched }) => mean && matched > 1)) {
    sentences.push(
      "A thin line is one layer, all else equal. A bold line is the geometric mean of the layers with all values.",
    );
  }
  if (found.some(({ lines }) => lines.some((line) => line.some(([, row]) => waiting.has(row))))) {
    sentences.push("No mean has cases whose threads waited for cores.");
  }
  if (drawn < total)
    sentences.push(
      `${formatCount(drawn)} of ${formatCount(total)} lines are drawn, evenly chosen. Means are over all lines.`,
    );
  if (kept.length < shown.length)
    sentences.push(`The first ${kept.length} of ${formatCount(shown.length)} panels are shown.`);
  return sentences.join(" ");
}
