// How much faster each layer is at one value of a setting than at another: the picture, and the table of its pairs.

import { medianOf, rangeOf, thinned } from "./cases.js";
import {
  baseLayout,
  besideOne,
  coloursOf,
  describeRow,
  legendTraces,
  logAxis,
  MOST_DOTS,
  plainAxis,
} from "./charts.js";
import { paper } from "./colours.js";
import { element } from "./dom.js";
import { MOST_COLOURS } from "./explore.js";
import { escapePlotly, formatCount, formatNumber, formatSeconds } from "./format.js";

/** Rows of the table of pairs at most; of more, those in the middle are left out. */
const MOST_PAIRS = 400;
/** Intervals as wide as this do not widen the axis; they end at its edge. */
const WIDE = 0.5;

/** What a contrast shows: the heading of its ratios, and words for what is above and below 1x. */
const MEASURES = {
  time: { heading: "speed-up", above: "faster", below: "slower" },
  "per FLOP": { heading: "speed-up per FLOP", above: "faster per FLOP", below: "slower per FLOP" },
  longer: { heading: "times as long", above: "longer", below: "shorter" },
};
const OPEN = "too few processes to judge";

const written = (ratio) => `${formatNumber(ratio, 3, 0)}x`;

/**
 * The pairs of a contrast whose cases are both among the rows, the largest value first. `value` is the speed-up; of a
 * direction it is how many times as long it takes. `low` and `high` are what noise leaves open.
 */
export function pairsOf(pairs, contrast, rows) {
  const shown = new Set(rows);
  const longer = contrast.measure === "longer";
  return pairs
    .of(contrast)
    .filter(({ base, other }) => shown.has(base) && shown.has(other))
    .map((pair) => {
      const value = longer ? pair.ratio : 1 / pair.ratio;
      const verdict = longer ? -pair.verdict : pair.verdict;
      return { ...pair, verdict, value, low: value / (1 + pair.noise), high: value * (1 + pair.noise) };
    })
    .sort((a, b) => b.value - a.value);
}

/** The pairs of a contrast in a sentence. */
export function ratioText(found, contrast) {
  const parts = verdictTexts(found, contrast);
  const layers = `${formatCount(found.length)} matched ${found.length === 1 ? "layer" : "layers"}`;
  const ends = rangeOf(found.map(({ value }) => value));
  const is = found.length > 1 ? "the range is" : "it is";
  const { heading } = MEASURES[contrast.measure];
  const size = contrast.measure === "longer" ? `${begun(is)} ${ends} as long` : `As ${heading}, ${is} ${ends}`;
  return `${contrast.other} over ${contrast.base}, of ${layers}: ${parts.join(", ")}. ${size}.`;
}

/** `slower in 16 (2.87x in the median)`, `too few processes to judge in 7`: how many pairs have each verdict. */
export function verdictTexts(found, { measure }) {
  const { above, below } = MEASURES[measure];
  const judged = (verdict) => found.filter((pair) => pair.verdict === verdict);
  const sides = [
    [above, judged(1).map(({ value }) => value)],
    [below, judged(-1).map(({ value }) => 1 / value)],
  ];
  const texts = sides.flatMap(([word, sizes]) => {
    if (!sizes.length) return [];
    const middle = medianOf(sizes);
    return [`${word} in ${formatCount(sizes.length)} (${middle ? `${middle} in the median` : rangeOf(sizes)})`];
  });
  const open = found.filter(({ isOpen }) => isOpen).length;
  const alike = judged(0).length - open;
  if (open) texts.push(`${OPEN} in ${formatCount(open)}`);
  if (alike) texts.push(`within noise or less than 5 % apart in ${formatCount(alike)}`);
  return texts;
}

/** {traces, layout, summary, fold} of the picture; `fold` makes the table of pairs. */
export function speedupPicture(cases, rows, pairs, { axis, values, colour }, look) {
  const contrast = cases.contrasts.find((each) => each.axis === axis && each.values === values);
  const found = pairsOf(pairs, contrast, rows);
  const layout = baseLayout(look);
  if (!found.length) return { traces: [], layout, summary: "None of these pairs is shown.", fold: null };
  const ink = paper(look.theme);
  const colourAxis = cases.axis.get(colour);
  const colours = coloursOf(look, colourAxis);
  const named = colourAxis && colourAxis.texts.length <= MOST_COLOURS;
  const measure = MEASURES[contrast.measure];
  const some = thinned(
    found.map((pair, rank) => ({ ...pair, rank: rank + 1 })),
    MOST_DOTS,
  );
  const codes = colourAxis ? [...new Set(some.map(({ other }) => colourAxis.codes[other]))].sort((a, b) => a - b) : [0];
  const traces = codes.flatMap((code) =>
    drawnPairs(
      cases,
      contrast,
      some.filter(({ other }) => !colourAxis || colourAxis.codes[other] === code),
      colours[code],
    ),
  );
  if (named) {
    traces.push(...legendTraces(colourAxis.texts, colours));
    layout.showlegend = true;
    layout.legend.title.text = colourAxis.title;
  } else layout.margin.t = 10;
  const narrow = some.filter(({ noise }) => noise <= WIDE);
  const edge = [...some.map(({ value }) => value), ...narrow.flatMap(({ low, high }) => [low, high])];
  layout.margin.l = 72; // the axis has a title
  layout.yaxis = logAxis(ink, [...edge, 0.95, 1.05], (value, digits) => `${formatNumber(value, digits, 0)}x`);
  layout.yaxis.title = {
    ...layout.yaxis.title,
    text: escapePlotly(`${begun(measure.heading)} over ${contrast.base}`, 99),
  };
  const last = found.length;
  layout.xaxis = {
    ...plainAxis(ink),
    showgrid: false,
    range: [1 - Math.max(0.5, last * 0.02), last + Math.max(0.5, last * 0.02)],
  };
  layout.xaxis.tickformat = ",d";
  layout.xaxis.nticks = Math.min(8, last + 1);
  layout.xaxis.title = { ...layout.xaxis.title, text: `Layers, by ${measure.heading}` };
  layout.shapes = [
    { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: ink.ink, width: 1.5 }, layer: "below" },
  ];
  layout.annotations = besideOne(ink, measure.above, measure.below);
  const dots = some.length < last ? ` ${formatCount(some.length)} of them are drawn.` : "";
  const summary = `${ratioText(found, contrast)} Hollow dots are neither ${measure.above} nor ${measure.below}.${dots}`;
  return {
    traces,
    layout,
    summary,
    fold: { title: `Table of these ${formatCount(last)} pairs`, content: () => pairTable(cases, contrast, found) },
  };
}

const begun = (text) => text[0].toUpperCase() + text.slice(1);

/** The intervals of some pairs as one trace of lines, and their dots. */
function drawnPairs(cases, contrast, some, color) {
  const lines = { x: [], y: [] };
  for (const { rank, low, high, noise } of some) {
    if (!Number.isFinite(noise)) continue; // one process does not show what noise leaves open
    lines.x.push(rank, rank, null);
    lines.y.push(low, high, null);
  }
  const size = some.length > 300 ? 5 : 8;
  return [
    { ...lines, type: "scatter", mode: "lines", line: { color, width: 1 }, opacity: 0.5, hoverinfo: "skip" },
    {
      type: "scatter",
      mode: "markers",
      x: some.map(({ rank }) => rank),
      y: some.map(({ value }) => value),
      customdata: some.map(({ other }) => other),
      text: some.map((pair) => describePair(cases, contrast, pair)),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color,
        size,
        symbol: some.map(({ verdict }) => (verdict ? "circle" : "circle-open")),
        line: { color, width: 1.5 },
      },
    },
  ];
}

/** `1.20x to 1.40x`: what noise leaves open. */
const openText = ({ low, high, noise }) =>
  Number.isFinite(noise) ? `${written(low)} to ${written(high)}` : "unknown from one process";

function describePair(cases, contrast, pair) {
  const { base, other, value } = pair;
  const { heading } = MEASURES[contrast.measure];
  const time = (row) => formatSeconds(cases.value(cases.time, row));
  return [
    describeRow(cases, other),
    `<b>${written(value)}</b> ${heading} (${openText(pair)})`,
    escapePlotly(`${contrast.base} ${time(base)}, ${contrast.other} ${time(other)}`),
  ].join("<br>");
}

/** The words of both labels of a pair: its label without the compared setting. */
export function commonLabel(cases, { base, other }) {
  const [one, two] = [base, other].map((row) => cases.value("label", row).split(" "));
  // longest[i][j] has the longest common words of one from i on and two from j on.
  const longest = Array.from({ length: one.length + 1 }, () => Array(two.length + 1).fill([]));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = two.length - 1; j >= 0; j -= 1) {
      const [without, or] = [longest[i + 1][j], longest[i][j + 1]];
      const more = without.length >= or.length ? without : or;
      longest[i][j] = one[i] === two[j] ? [one[i], ...longest[i + 1][j + 1]] : more;
    }
  }
  return longest[0][0].join(" ") || cases.value("label", other);
}

/** The table of pairs, the largest ratio first. */
export function pairTable(cases, contrast, found) {
  const measure = MEASURES[contrast.measure];
  const words = { 1: measure.above, 0: "-", [-1]: measure.below };
  const named = (row) => cases.value("implementation", row) ?? "";
  const half = MOST_PAIRS / 2;
  const [first, last] = found.length > MOST_PAIRS ? [found.slice(0, half), found.slice(-half)] : [found, []];
  const row = (pair) =>
    element(
      "tr",
      {},
      element(
        "td",
        { class: "label" },
        element(
          "a",
          { href: `#case=${cases.value("case_id", pair.other)}`, dataset: { row: pair.other } },
          commonLabel(cases, pair),
        ),
      ),
      ...[pair.base, pair.other].map((each) =>
        element("td", { class: "number" }, formatSeconds(cases.value(cases.time, each))),
      ),
      element("td", { class: "number" }, written(pair.value)),
      element("td", { class: "number" }, openText(pair)),
      element("td", {}, pair.isOpen ? OPEN : words[pair.verdict]),
      element("td", {}, named(pair.base)),
      element("td", {}, named(pair.other)),
    );
  const gap = element(
    "tr",
    {},
    element("td", { colspan: "8" }, `${formatCount(found.length - MOST_PAIRS)} pairs in the middle are left out.`),
  );
  const heads = [
    ["layer", ""],
    [contrast.base, "number"],
    [contrast.other, "number"],
    [measure.heading, "number"],
    ["with noise", "number"],
    ["verdict", ""],
    [`code with ${contrast.base}`, ""],
    [`code with ${contrast.other}`, ""],
  ].map(([text, kind]) => element("th", { scope: "col", class: kind || null }, text));
  const table = element(
    "table",
    { class: "plain" },
    element(
      "caption",
      {},
      `Times are ${cases.lead === "time" ? "leading times" : `${cases.lead}s`}. Ratios are over the rounds that both cases have. A verdict is beyond noise and at least 5 %.`,
    ),
    element("thead", {}, element("tr", {}, heads)),
    element("tbody", {}, first.map(row), last.length ? gap : null, last.map(row)),
  );
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of pairs" }, table);
}
