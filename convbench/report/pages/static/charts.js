// What all pictures share: axes, hover texts, panels side by side. The results are arguments for plotly.

import { palette, paper } from "./colours.js";
import { escapePlotly, formatNumber, formatSeconds, formatSi } from "./format.js";

/** Dots of a picture at most: more make the browser slow. */
export const MOST_DOTS = 2500;

/** Figures that a picture can show: a column, its name in controls, whether its axis is logarithmic, its SI unit. */
const METRICS = [
  { name: "tflops", title: "FLOP/s", log: false, unit: "FLOP/s", factor: 1e12 },
  { name: "efficiency", title: "Efficiency", log: false },
  { name: "gbps", title: "Bytes/s", log: false, unit: "B/s", factor: 1e9 },
  { name: "images_per_second", title: "Images/s", log: true },
];

/** Times that a picture can show, by the word for what leads: the leading one first. */
const TIMES = {
  floor: [
    { name: "floor_s", title: "Time (floor)", log: true },
    { name: "typical_s", title: "Time (typical)", log: true },
  ],
  median: [
    { name: "typical_s", title: "Time (median)", log: true },
    { name: "floor_s", title: "Time (floor)", log: true },
  ],
  time: [
    { name: "time_s", title: "Time (floor, or median on a device)", log: true },
    { name: "floor_s", title: "Time (floor)", log: true },
    { name: "typical_s", title: "Time (typical)", log: true },
  ],
};

/** The figures that some case has. */
export function metricsOf(cases) {
  return [...TIMES[cases.lead], ...METRICS].filter((metric) => cases.has(metric.name));
}

/** A figure by its column. */
export function metricNamed(cases, name) {
  return metricsOf(cases).find((metric) => metric.name === name);
}

/** A figure as text with its unit. */
export function metricText(metric, value) {
  if (value === null) return "-";
  if (metric.name.endsWith("_s")) return formatSeconds(value);
  if (metric.name === "efficiency") return `${formatNumber(value * 100, 3, 0)} %`;
  return metric.unit ? formatSi(value * metric.factor) + metric.unit : `${formatNumber(value, 3, 0)} ${metric.title}`;
}

/** The hover text of a row. */
export function describeRow(cases, row) {
  const lines = [`<b>${escapePlotly(cases.value("label", row))}</b>`];
  const known = metricsOf(cases).filter((metric) => cases.value(metric.name, row) !== null);
  for (const metric of known) {
    const unit = metric.name.endsWith("_s") || metric.name === "efficiency" ? `${metric.title.toLowerCase()} ` : "";
    lines.push(unit + metricText(metric, cases.value(metric.name, row)));
  }
  const spread = cases.value("spread", row);
  if (spread !== null)
    lines.push(`spread ${spread < 1 ? `${cases.text("spread", row)} %` : `${formatNumber(1 + spread, 3, 0)}x`}`);
  for (const name of ["implementation", "note"]) {
    const text = cases.value(name, row);
    if (text) lines.push(escapePlotly(text));
  }
  return lines.join("<br>");
}

/** Ticks of a logarithmic axis: decades, with more ticks between them on shorter axes. */
function logTicks(low, high, text) {
  const span = Math.log10(high / low);
  const steps = span > 2.5 ? [1] : span > 0.6 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const values = [];
  for (let decade = Math.floor(Math.log10(low)) - 1; decade <= Math.ceil(Math.log10(high)); decade += 1) {
    for (const step of steps) values.push(step * 10 ** decade);
  }
  return { tickvals: values, ticktext: values.map((value) => text(value, span > 0.6 ? 1 : 2)) };
}

/** The range of a logarithmic axis with a margin, as plotly expects it. */
export function logRange(low, high, air = 0.06) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const margin = Math.max((to - from) * air, 0.08);
  return [from - margin, to + margin];
}

/** A logarithmic axis of positive numbers; `text` names a tick. */
export function logAxis(colours, values, text) {
  const [low, high] = extent(values);
  return {
    ...plainAxis(colours),
    type: "log",
    range: logRange(low, high),
    ...logTicks(low, high, text),
  };
}

/** The smallest and the largest of some numbers. */
export function extent(values) {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** An axis that cannot be dragged, in the page's colours. */
export function plainAxis(colours) {
  return {
    gridcolor: colours.grid,
    zeroline: false,
    fixedrange: true,
    ticks: "outside",
    tickcolor: colours.grid,
    linecolor: colours.grid,
    title: { font: { size: 12, color: colours.muted }, standoff: 6 },
  };
}

/** The y axis of a figure: times are logarithmic, rates begin at 0. */
export function metricAxis(colours, metric, values) {
  if (metric.log) {
    const text = metric.name.endsWith("_s") ? formatSeconds : (value, digits) => formatNumber(value, digits, 0);
    return logAxis(colours, values, text);
  }
  const [, high] = extent(values);
  const axis = { ...plainAxis(colours), range: [0, (high > 0 ? high : 1) * 1.06] };
  return { ...axis, ...rateTicks(metric, 0, high) };
}

/** About five round numbers between two values. */
export function roundSteps(low, high) {
  const rough = (high - low || high || 1) / 5;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((size) => size * decade >= rough) * decade;
  const values = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high * 1.06; tick += step) values.push(tick);
  return values;
}

/** Round ticks of a rate between two values, with its prefix; the axis names the unit. */
export function rateTicks(metric, low, high) {
  if (!metric.unit) return metric.name === "efficiency" ? { tickformat: ".0%" } : {};
  const values = roundSteps(low, high);
  const text = (value) => (value === 0 ? "0" : formatSi(Number((value * metric.factor).toPrecision(6)), 2).trim());
  return { tickvals: values, ticktext: values.map(text) };
}

const LONGEST_TICK = 20; // characters; hover texts and the numbers below have whole texts

/** As many texts as fit side by side, the first among them. */
export function thinTexts(all, width) {
  const texts = all.map((text) => (text.length > LONGEST_TICK ? `${text.slice(0, LONGEST_TICK - 1)}\u2026` : text));
  const longest = Math.max(...texts.map((text) => text.length));
  const fit = Math.max(2, Math.floor(width / (longest * 7 + 14)));
  const step = Math.ceil(texts.length / fit);
  return texts.map((text, index) => (index % step ? "" : escapePlotly(text)));
}

/** The x axis of a setting's values. */
export function settingAxis(colours, axis, width) {
  const [first, last] = extent(axis.places);
  const air = (last - first) * (axis.scale === "words" ? 0.5 / Math.max(1, axis.places.length - 1) : 0.06);
  return {
    ...plainAxis(colours),
    showgrid: false,
    type: axis.scale === "log" ? "log" : "linear",
    range: axis.scale === "log" ? logRange(first, last) : [first - air, last + air],
    tickvals: axis.places,
    ticktext: thinTexts(axis.texts, width),
  };
}

/** Colours for the values of an axis; without one, a single colour. */
export function coloursOf(look, axis) {
  if (!axis) return palette(look.theme, 1, false);
  return palette(look.theme, axis.texts.length, axis.scale !== "words");
}

/** Layout that all pictures have. */
export function baseLayout(look) {
  const colours = paper(look.theme);
  return {
    width: look.width,
    height: look.height,
    margin: { l: 62, r: 14, t: 34, b: 46 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colours.muted },
    showlegend: false,
    legend: {
      orientation: "h",
      x: 0,
      y: 1,
      yref: "container",
      yanchor: "top",
      itemclick: false,
      itemdoubleclick: false,
      title: { font: { size: 12 } },
    },
    hovermode: "closest",
    hoverlabel: {
      align: "left",
      bgcolor: colours.hover,
      bordercolor: colours.muted,
      font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
    },
    dragmode: false,
    annotations: [],
    shapes: [],
  };
}

const PANEL_WIDTH = 300;
const GAP = { x: 26, y: 62 }; // pixels between panels

/**
 * As many panels as fit, side by side in one plot: {domains, columns, rows, width}. `domains` are the panels' places, and
 * `width` is that of one panel in pixels. `look.height` is the height of one panel; the layout grows with the rows.
 */
export function panels(layout, look, titles) {
  const colours = paper(look.theme);
  const columns = Math.max(1, Math.min(titles.length, Math.floor((look.width + GAP.x) / (PANEL_WIDTH + GAP.x))));
  const rows = Math.ceil(titles.length / columns);
  const inner = look.width - layout.margin.l - layout.margin.r;
  const panelHeight = look.height - layout.margin.t - layout.margin.b;
  layout.height = look.height + (rows - 1) * (panelHeight + GAP.y);
  const innerHeight = layout.height - layout.margin.t - layout.margin.b;
  const width = (inner - GAP.x * (columns - 1)) / columns;
  const domains = titles.map((title, index) => {
    const [column, row] = [index % columns, Math.floor(index / columns)];
    const left = (column * (width + GAP.x)) / inner;
    const top = 1 - (row * (panelHeight + GAP.y)) / innerHeight;
    const domain = { x: [left, left + width / inner], y: [top - panelHeight / innerHeight, top], first: column === 0 };
    if (title !== null) {
      layout.annotations.push({
        text: `<b>${escapePlotly(title, 60)}</b>`,
        x: left,
        y: top,
        xref: "paper",
        yref: "paper",
        xanchor: "left",
        yanchor: "bottom",
        showarrow: false,
        font: { size: 12, color: colours.ink },
      });
    }
    return domain;
  });
  return { domains, width };
}

/** The suffix of the n-th axis in plotly's names: "", "2", "3". */
export function suffix(index) {
  return index ? String(index + 1) : "";
}

/** Legend entries without data, so that the legend has every value once and in order. */
export function legendTraces(names, colours) {
  return names.map((name, i) => ({
    type: "scatter",
    mode: "markers",
    x: [null],
    y: [null],
    name: escapePlotly(name, 30),
    marker: { color: colours[i], size: 9 },
    showlegend: true,
    hoverinfo: "skip",
  }));
}

/** Words above and below the line of 1x of a logarithmic y axis. */
export function besideOne(colours, above, below) {
  return [
    [above, 6, "bottom"],
    [below, -6, "top"],
  ].map(([text, yshift, yanchor]) => ({
    text,
    xref: "paper",
    x: 1,
    y: 0, // log10 of 1x
    yshift,
    xanchor: "right",
    yanchor,
    showarrow: false,
    font: { size: 12, color: colours.muted },
  }));
}

const BINS = 24;

/** {x, y} of a horizontal histogram: counts, and the edges of bins of one ratio. */
export function histogram(values) {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const width = (high - low) / BINS || 0.01;
  const counts = new Array(BINS).fill(0);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor((Math.log(value) - low) / width))] += 1;
  return { x: [0, ...counts, 0], y: [...counts, 0, 0].map((_, edge) => Math.exp(low + Math.min(edge, BINS) * width)) };
}
