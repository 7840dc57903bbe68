// A heat map of a figure over any two settings.

import { geometricMean } from "./cases.js";
import { baseLayout, metricNamed, metricText, plainAxis, rateTicks, thinTexts } from "./charts.js";
import { HEAT, paper } from "./colours.js";
import { escapePlotly, formatCount, formatNumber } from "./format.js";

/**
 * The cells: {value, rows} by [y code][x code], null where there is no case. The value is a geometric mean. Where some
 * layers were measured in every cell that has cases, it is over these `matched` layers, so cells differ in the two
 * settings alone. Otherwise it is over all cases of the cell, and `matched` is 0. Rows whose threads waited for cores
 * are left out.
 */
export function cells(cases, rows, { x, y, metric }) {
  const [across, down] = [cases.axis.get(x), cases.axis.get(y)];
  const { groups } = cases.groups([x, y]);
  const grid = down.texts.map(() => across.texts.map(() => null));
  const members = new Map();
  for (const row of rows) {
    if (cases.value(metric, row) === null || cases.waiting.has(row)) continue;
    const [j, i] = [down.codes[row], across.codes[row]];
    grid[j][i] ??= { value: 0, rows: [], matched: 0 };
    grid[j][i].rows.push(row);
    if (!members.has(groups[row])) members.set(groups[row], new Set());
    members.get(groups[row]).add(j * across.texts.length + i);
  }
  const filled = grid.flat().filter(Boolean).length;
  const everywhere = new Set([...members].filter(([, places]) => places.size === filled).map(([group]) => group));
  for (const cell of grid.flat()) {
    if (!cell) continue;
    const matched = everywhere.size ? cell.rows.filter((row) => everywhere.has(groups[row])) : cell.rows;
    cell.matched = everywhere.size ? matched.length : 0;
    cell.value = geometricMean(matched.map((row) => cases.value(metric, row)));
  }
  return { grid, matched: everywhere.size };
}

/** {traces, layout, summary} of the picture. A cell's custom data are its rows. */
export function heatPicture(cases, rows, choice, look) {
  const metric = metricNamed(cases, choice.metric);
  const [across, down] = [cases.axis.get(choice.x), cases.axis.get(choice.y)];
  const { grid, matched } = cells(cases, rows, choice);
  const ink = paper(look.theme);
  const layout = baseLayout(look);
  const value = (cell) => (cell ? (metric.log ? Math.log10(cell.value) : cell.value) : null);
  const known = grid.flat().filter(Boolean);
  if (!known.length) return { traces: [], layout, summary: "None of these cases has that figure." };
  const labels = Math.max(...down.texts.map((text) => Math.min(text.length, 20)));
  layout.margin = { l: 24 + labels * 7, r: 96, t: 10, b: 46 };
  const room = look.width - layout.margin.l - layout.margin.r;
  layout.height = Math.max(look.height * 0.6, Math.min(760, 34 * down.texts.length + 70));
  const narrow = room / across.texts.length < 52;
  const trace = {
    type: "heatmap",
    z: grid.map((line) => line.map(value)),
    x: across.texts.map((_, i) => i),
    y: down.texts.map((_, j) => j),
    customdata: grid.map((line) => line.map((cell) => cell?.rows ?? null)),
    text: grid.map((line, j) => line.map((cell, i) => describeCell(cell, metric, across, down, i, j))),
    hovertemplate: "%{text}<extra></extra>",
    colorscale: HEAT,
    reversescale: metric.name.endsWith("_s"), // bright is fast
    xgap: 2,
    ygap: 2,
    hoverongaps: false,
    colorbar: {
      thickness: 12,
      outlinewidth: 0,
      title: { text: metric.title, side: "right" },
      ...barTicks(metric, known),
    },
  };
  const one = across.texts.length * down.texts.length;
  if (!narrow && one <= 400) layout.annotations = numbersIn(grid, metric, value);
  layout.xaxis = {
    ...plainAxis(ink),
    showgrid: false,
    tickvals: across.texts.map((_, i) => i),
    ticktext: thinTexts(across.texts, room),
  };
  layout.yaxis = {
    ...plainAxis(ink),
    showgrid: false,
    tickvals: down.texts.map((_, j) => j),
    ticktext: down.texts.map((text) => escapePlotly(text.length > 20 ? `${text.slice(0, 19)}\u2026` : text, 99)),
  };
  layout.xaxis.title = { ...layout.xaxis.title, text: escapePlotly(across.title) };
  layout.yaxis.title = { ...layout.yaxis.title, text: escapePlotly(down.title) };
  const over = matched
    ? `the geometric mean over the ${matched === 1 ? "layer" : `${formatCount(matched)} layers`} measured in every cell`
    : "the geometric mean over the cell's cases, which are not the same layers in each cell";
  const summary = `${metric.title} over ${across.title.toLowerCase()} and ${down.title.toLowerCase()}: ${over}. Bright is ${metric.name.endsWith("_s") ? "fast" : "high"}.`;
  const waited = rows.some((row) => cases.waiting.has(row))
    ? " Cases whose threads waited for cores are left out."
    : "";
  return { traces: [trace], layout, summary: summary + waited };
}

function describeCell(cell, metric, across, down, i, j) {
  if (!cell) return "";
  return [
    `<b>${escapePlotly(across.title)} ${escapePlotly(across.texts[i])}</b>`,
    `<b>${escapePlotly(down.title)} ${escapePlotly(down.texts[j])}</b>`,
    metricText(metric, cell.value),
    cell.matched ? `mean of ${formatCount(cell.matched)} layers` : "mean of all cases here",
    cell.rows.length === 1 ? "1 case here" : `${formatCount(cell.rows.length)} cases here`,
  ].join("<br>");
}

/** Numbers in the cells, in a colour with contrast to each cell. */
function numbersIn(grid, metric, value) {
  const all = grid.flat().filter(Boolean).map(value);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  return grid.flatMap((line, j) =>
    line.flatMap((cell, i) => {
      if (!cell) return [];
      const share = high > low ? (value(cell) - low) / (high - low) : 0.5;
      const bright = metric.name.endsWith("_s") ? share < 0.5 : share > 0.5;
      const text = metricText(metric, cell.value).replace(metric.title, "").trim();
      return [{ x: i, y: j, text, showarrow: false, font: { size: 11, color: bright ? "#14161a" : "#ffffff" } }];
    }),
  );
}

function barTicks(metric, known) {
  if (!metric.log) {
    const values = known.map((cell) => cell.value);
    return rateTicks(metric, Math.min(...values), Math.max(...values));
  }
  const logs = known.map((cell) => Math.log10(cell.value));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const ticks = high > low ? [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low)) : [low];
  const text = (value) => (metric.name.endsWith("_s") ? metricText(metric, value) : formatNumber(value, 2, 0));
  return { tickvals: ticks, ticktext: ticks.map((tick) => text(10 ** tick)) };
}
