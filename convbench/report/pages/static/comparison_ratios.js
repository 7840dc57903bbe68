// The plot of a comparison: every case's ratio with its interval, grouped by verdict, and bands of the thresholds.

import { thinned } from "./cases.js";
import { baseLayout, extent, logAxis, plainAxis, roundSteps } from "./charts.js";
import { paper } from "./colours.js";
import { escapePlotly, formatChange, formatCount, formatNumber, formatSeconds } from "./format.js";

/** Marks at most; of more, unchanged cases are left out first. */
const MOST_MARKS = 900;
/** Bands of different thresholds at most. */
const MOST_BANDS = 4;

/** How each verdict looks: a shape besides the colour (static/comparison.css has the same). */
export const VERDICTS = [
  { name: "unchanged", symbol: "circle", light: "#3a7ca5", dark: "#6fa8cc" },
  { name: "inconclusive", symbol: "diamond-open", light: "#8a5a00", dark: "#e8b04a" },
  { name: "not judged", symbol: "x-thin-open", light: "#5f6570", dark: "#a4abb6" },
  { name: "improved", symbol: "triangle-down", light: "#00775a", dark: "#3fd0a4" },
  { name: "regressed", symbol: "triangle-up", light: "#b24a00", dark: "#ff9a5c" },
];
/** The range of the picture of changes near the thresholds, in units of the largest threshold. */
const NEAR = 3;
const CHANGED = new Set(["improved", "regressed"]);

/** A column of changes as a factor; null where there is none. */
export function factor(cases, name, row) {
  const change = cases.value(name, row);
  return change === null ? null : change + 1;
}

export function hasRatio(cases, row) {
  return factor(cases, "change", row) > 0;
}

/** The lines of a case's hover text about its change. */
export function changeLines(cases, row) {
  const value = (name) => cases.value(name, row);
  const percent = (name) => `${cases.text(name, row)} %`;
  const lines = [];
  if (hasRatio(cases, row)) {
    const ends = ["low", "high"].map((name) => formatChange(factor(cases, name, row)));
    lines.push(`${formatChange(factor(cases, "change", row))} (${ends.join(" to ")})`);
    lines.push(`${formatSeconds(value("base_s"))} -> ${formatSeconds(value("new_s"))}`);
  }
  if (value("median_change") !== null) lines.push(`median pair ${formatChange(factor(cases, "median_change", row))}`);
  if (value("noise") !== null) lines.push(`noise ${percent("noise")}, threshold ${percent("threshold")}`);
  if (value("q") !== null) lines.push(`q ${cases.text("q", row)}`);
  if (value("again") !== null) lines.push("measured again");
  return lines;
}

function describe(cases, row) {
  const why = cases.value("why", row);
  return [
    `<b>${escapePlotly(cases.value("label", row))}</b>`,
    `<b>${cases.value("verdict", row)}</b>`,
    ...changeLines(cases, row),
    ...(why ? [escapePlotly(why)] : []),
  ].join("<br>");
}

/** The logarithmic axis of ratios, so that 2x and 0.5x are equally far from no change. Its ticks are changes. */
export function ratioAxis(colours, low, high) {
  const margin = Math.max(Math.log10(high / low) * 0.06, 0.002);
  const span = high / low;
  let values;
  if (span < 2) values = roundSteps(low - 1, high - 1).map((change) => 1 + change);
  else {
    values = [];
    const steps = span < 6 ? [1, 1.2, 1.5, 2, 3, 4, 6, 8] : span < 100 ? [1, 2, 5] : [1];
    for (let decade = -12; decade <= 12; decade += 1) for (const step of steps) values.push(step * 10 ** decade);
  }
  const text = (value) => {
    const change = Number(((value - 1) * 100).toPrecision(3));
    return `${change > 0 ? "+" : ""}${formatNumber(change, null, change % 1 ? 1 : 0)} %`;
  };
  return {
    ...plainAxis(colours),
    type: "log",
    range: [Math.log10(low) - margin, Math.log10(high) + margin],
    tickvals: values,
    ticktext: values.map((value) => (Math.abs(value - 1) < 1e-9 ? "0" : text(value))),
  };
}

/** At most so many rows that are drawn, changes first. */
function drawn(cases, rows) {
  const changed = rows.filter((row) => CHANGED.has(cases.value("verdict", row)));
  const others = rows.filter((row) => !CHANGED.has(cases.value("verdict", row)));
  return new Set([...thinned(changed, MOST_MARKS), ...thinned(others, MOST_MARKS)]);
}

/** {traces, layout, summary}: a mark is a case's ratio, and the line through it is its interval. */
export function ratioPicture(cases, rows, { over, reach }, look) {
  const layout = baseLayout(look);
  layout.margin.l = 74;
  if (!rows.length) return { traces: [], layout, summary: "None of these cases was measured on both sides." };
  const ink = paper(look.theme);
  const ratio = (row) => factor(cases, "change", row);
  const byRatio = [...rows].sort((a, b) => ratio(a) - ratio(b));
  const place = over === "base" ? (row) => cases.value("base_s", row) : null;
  const some = drawn(cases, byRatio);
  const points = byRatio.flatMap((row, rank) => (some.has(row) ? [{ row, x: place ? place(row) : rank + 1 }] : []));
  const traces = VERDICTS.flatMap((look_) => marksOf(cases, points, look_, look));
  const judged = points.filter(({ row }) => cases.value("verdict", row) !== "inconclusive").map(({ row }) => row);
  const ends = judged.flatMap((row) => [factor(cases, "low", row), factor(cases, "high", row)]);
  const thresholds = [...new Set(rows.map((row) => cases.value("threshold", row)))].filter((each) => each > 0);
  thresholds.sort((a, b) => a - b);
  const bands = thinned(thresholds, MOST_BANDS);
  const { shift } = cases.head;
  const least = thresholds.length ? [shift / (1 + thresholds[0]), shift * (1 + thresholds[0])] : [shift];
  const all = [...points.map(({ row }) => ratio(row)), ...ends, ...least].filter((each) => each > 0);
  const limit = reach === "near" && thresholds.length ? 1 + NEAR * thresholds.at(-1) : Number.POSITIVE_INFINITY;
  const [low, high] = extent(all.map((each) => Math.min(Math.max(each, 1 / limit), limit)));
  const beyond = rows.filter((row) => Math.abs(Math.log(ratio(row))) > Math.log(limit)).length;
  layout.yaxis = ratioAxis(ink, low, high);
  layout.shapes = bandsOf(bands, shift, ink, look.theme);
  layout.showlegend = true;
  if (place) {
    layout.xaxis = logAxis(ink, rows.map(place), formatSeconds);
    layout.xaxis.title = { ...layout.xaxis.title, text: `Base ${cases.lead}` };
  } else {
    const total = rows.length;
    layout.xaxis = {
      ...plainAxis(ink),
      showgrid: false,
      range: [0.5 - total * 0.01, total * 1.01 + 0.5],
      tickformat: ",d",
      ...(total < 6 ? { tickvals: points.map(({ x }) => x) } : {}),
    };
    layout.xaxis.title = { ...layout.xaxis.title, text: "Cases by their change" };
  }
  const counted = VERDICTS.map(({ name }) => [name, rows.filter((row) => cases.value("verdict", row) === name).length]);
  const counts = counted.flatMap(([name, count]) => (count ? [`${formatCount(count)} ${name}`] : [])).reverse();
  const limits = bands.map((each) => `${formatNumber(each * 100, null, each * 100 < 10 ? 1 : 0)} %`);
  const left = some.size < rows.length ? ` ${formatCount(some.size)} of ${formatCount(rows.length)} are drawn.` : "";
  const summary =
    `${formatCount(rows.length)} ${rows.length === 1 ? "case" : "cases"}: ${counts.join(", ")}. A mark is a case's change, and the ` +
    `line through it is its interval. ${limits.length === 1 ? "The band is the threshold" : "The bands are the thresholds"}: ` +
    `${limits.join(", ")}${shift === 1 ? "" : `, around the common shift of ${formatChange(shift)}`}.${left}${beyond ? ` ${formatCount(beyond)} are outside the picture.` : ""}`;
  return { traces, layout, summary };
}

/** The marks of a verdict, and the lines of their intervals. */
function marksOf(cases, points, verdict, look) {
  const own = points.filter(({ row }) => cases.value("verdict", row) === verdict.name);
  if (!own.length) return [];
  const colour = verdict[look.theme];
  const lines = { x: [], y: [] };
  for (const { row, x } of own) {
    lines.x.push(x, x, null);
    lines.y.push(factor(cases, "low", row), factor(cases, "high", row), null);
  }
  const size = points.length > 300 ? 6 : 9;
  return [
    { ...lines, type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: colour, width: 1 }, opacity: 0.45 },
    {
      type: "scatter",
      mode: "markers",
      name: verdict.name,
      x: own.map(({ x }) => x),
      y: own.map(({ row }) => factor(cases, "change", row)),
      customdata: own.map(({ row }) => row),
      text: own.map(({ row }) => describe(cases, row)),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: colour,
        symbol: verdict.symbol,
        size: CHANGED.has(verdict.name) ? size + 1 : size - 1,
        line: { width: verdict.symbol.endsWith("open") ? 1.5 : 0, color: colour },
      },
      showlegend: true,
    },
  ];
}

/** A band for each threshold around the common shift, the widest below, and the line of no change. */
function bandsOf(thresholds, shift, ink, theme) {
  const across = { xref: "paper", x0: 0, x1: 1, layer: "below" };
  const bands = thresholds.map((threshold) => ({
    ...across,
    type: "rect",
    y0: shift / (1 + threshold),
    y1: shift * (1 + threshold),
    fillcolor: theme === "dark" ? "rgba(164,171,182,0.11)" : "rgba(95,101,112,0.10)",
    line: { width: 0 },
  }));
  const none = { ...across, type: "line", y0: 1, y1: 1, line: { color: ink.muted, width: 1, dash: "dot" } };
  return [...bands.reverse(), none];
}

/** The picture, as the argument of `Pictures`. */
export const COMPARISON_PICTURES = {
  ratios: {
    applies: (cases) => cases.ranked.length > 0,
    controls: (cases) => [
      {
        key: "over",
        label: "Ordered by",
        options: [
          { value: "change", text: "change" },
          { value: "base", text: `base ${cases.lead}` },
        ],
        usual: "change",
      },
      {
        key: "reach",
        label: "showing",
        options: [
          { value: "all", text: "all changes" },
          { value: "near", text: "changes near the thresholds" },
        ],
        usual: "all",
      },
    ],
    draw: ({ cases, rows, choice, look }) => ratioPicture(cases, rows, choice, look),
  },
};
