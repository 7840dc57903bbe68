// All cases from the fastest to the slowest, leading time beside the other; and all blocks over time, to see the noise.

import { median, thinned } from "./cases.js";
import { baseLayout, coloursOf, describeRow, extent, legendTraces, logAxis, plainAxis } from "./charts.js";
import { palette, paper } from "./colours.js";
import { MOST_COLOURS } from "./explore.js";
import { formatChange, formatCount, formatNumber, formatSeconds } from "./format.js";

const MOST_CASES = 1000;
const MOST_BLOCKS = 2500;
/** Slices of the run; the picture shows the probe's median in each. */
const SLICES = 120;

/** {traces, layout, summary}: a dot is a case's leading time, and the line from it ends at the other one. */
export function rankingPicture(cases, rows, { colour }, look) {
  const layout = baseLayout(look);
  if (!rows.length) return { traces: [], layout, summary: "No case passed." };
  const ink = paper(look.theme);
  const axis = cases.axis.get(colour);
  const colours = coloursOf(look, axis);
  const sorted = [...rows].sort((a, b) => cases.value(cases.time, a) - cases.value(cases.time, b));
  const ranks = thinned(
    sorted.map((_, rank) => rank),
    MOST_CASES,
  );
  const stems = { x: [], y: [] };
  for (const rank of ranks) {
    stems.x.push(rank + 1, rank + 1, null);
    stems.y.push(cases.value("floor_s", sorted[rank]), cases.value("typical_s", sorted[rank]), null);
  }
  const traces = [
    { ...stems, type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: ink.muted, width: 1 }, opacity: 0.7 },
    {
      type: "scatter",
      mode: "markers",
      x: ranks.map((rank) => rank + 1),
      y: ranks.map((rank) => cases.value(cases.time, sorted[rank])),
      customdata: ranks.map((rank) => sorted[rank]),
      text: ranks.map((rank) => describeRow(cases, sorted[rank])),
      hovertemplate: "%{text}<extra></extra>",
      marker: {
        color: ranks.map((rank) => colours[axis ? axis.codes[sorted[rank]] : 0]),
        size: ranks.length > 300 ? 4 : 7,
      },
    },
  ];
  if (axis && axis.texts.length <= MOST_COLOURS) {
    traces.push(...legendTraces(axis.texts, colours));
    layout.showlegend = true;
    layout.legend.title.text = axis.title;
  } else layout.margin.t = 10;
  const total = rows.length;
  layout.xaxis = {
    ...plainAxis(ink),
    showgrid: false,
    range: [0.5 - total * 0.01, total * 1.01 + 0.5],
    tickformat: ",d",
    ...(total < 8 ? { tickvals: ranks.map((rank) => rank + 1) } : {}),
  };
  layout.xaxis.title = { ...layout.xaxis.title, text: "Rank" };
  layout.yaxis = logAxis(
    ink,
    stems.y.filter((value) => value > 0),
    formatSeconds,
  );
  const [low, high] = extent(rows.map((row) => cases.value(cases.time, row)));
  const ratio = median(rows.map((row) => cases.value("typical_s", row) / cases.value("floor_s", row)));
  const typical = formatNumber((ratio - 1) * 100, 3, 0);
  const meaning = {
    floor: "floor, and the line above it ends at its typical time",
    median: "median, and the line below it ends at its floor. The median is",
    time: "time, and the line goes from its floor to its typical time",
  };
  const range =
    total === 1
      ? `1 case, ${formatSeconds(low)}`
      : `${formatCount(total)} cases, ${formatSeconds(low)} to ${formatSeconds(high)}`;
  const dots = ranks.length < total ? ` ${formatCount(ranks.length)} of them are drawn.` : "";
  const summary = `${range}. A dot is a case's ${meaning[cases.lead]}: ${typical} % longer${total === 1 ? "" : " in the median"}.${dots}`;
  return { traces, layout, summary };
}

/** {traces, layout, summary}: blocks in the order of time, as ratios to their case's time, and the probe among them. */
export function noisePicture(cases, rows, blocks, look) {
  const layout = baseLayout(look);
  const all = [];
  for (const row of rows) for (const block of blocks.of(row)) all.push([block, row]);
  if (!all.length) return { traces: [], layout, summary: "No block was timed." };
  const ink = paper(look.theme);
  const colours = palette(look.theme, 2, false);
  const some = thinned(all, MOST_BLOCKS);
  const probe = probeLine(blocks, all);
  const ratio = (block, row) => {
    const found = blocks.leading(cases, row, block);
    return found === null ? null : (found * cases.value("floor_s", row)) / cases.value(cases.time, row);
  };
  const traces = [
    {
      type: "scatter",
      mode: "markers",
      name: `a block: its ${{ floor: "minimum", median: "median", time: "time" }[cases.lead]} over the case's ${cases.lead}`,
      x: some.map(([block]) => blocks.time(block)),
      y: some.map(([block, row]) => ratio(block, row)),
      customdata: some.map(([, row]) => row),
      text: some.map(
        ([block, row]) =>
          `${describeRow(cases, row)}<br>process ${blocks.processes[block] + 1}: this block took ` +
          `${formatChange(ratio(block, row))} against the ${cases.leads(row)}`,
      ),
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: colours[0], size: some.length > 600 ? 4 : 6, opacity: 0.55 },
      showlegend: true,
    },
    {
      type: "scatter",
      mode: "lines",
      name: "the probe, a fixed piece of work",
      x: probe.map(([time]) => time),
      y: probe.map(([, ratio]) => ratio),
      text: probe.map(([, ratio]) => `probe ${formatChange(ratio)} against its fastest`),
      hovertemplate: "%{text}<extra></extra>",
      line: { color: colours[1], width: 2 },
      showlegend: true,
    },
  ];
  layout.showlegend = true;
  layout.xaxis = { ...plainAxis(ink), showgrid: false, rangemode: "tozero" };
  layout.xaxis.title = { ...layout.xaxis.title, text: "Seconds since the run began" };
  const ratios = [...traces[0].y, ...traces[1].y].filter((value) => value !== null);
  layout.yaxis = logAxis(ink, [1, ...ratios], (value) => (value === 1 ? "0 %" : formatChange(value)));
  layout.shapes = processStarts(blocks, all).map((time) => ({
    type: "line",
    x0: time,
    x1: time,
    y0: 0,
    y1: 1,
    yref: "paper",
    line: { color: ink.grid, width: 1, dash: "dot" },
  }));
  const dots =
    some.length < all.length ? ` ${formatCount(some.length)} of ${formatCount(all.length)} blocks are drawn.` : "";
  const summary = `A dot is a block against its case's ${cases.lead}, the line is the probe against its fastest time. A dotted line is the start of a process.${dots}`;
  return { traces, layout, summary };
}

/** The median probe of each slice of the run: [seconds, ratio to the fastest]. */
export function probeLine(blocks, all) {
  const slices = Array.from({ length: SLICES }, () => []);
  for (const [block] of all) {
    const ratio = blocks.ratio("probe", block);
    if (ratio !== null) slices[Math.min(SLICES - 1, Math.floor((blocks.times[block] / 65536) * SLICES))].push(ratio);
  }
  return slices.flatMap((ratios, slice) => {
    if (!ratios.length) return [];
    return [[((slice + 0.5) / SLICES) * blocks.seconds, median(ratios)]];
  });
}

function processStarts(blocks, all) {
  const first = new Map();
  for (const [block] of all) {
    const process = blocks.processes[block];
    first.set(process, Math.min(first.get(process) ?? Number.POSITIVE_INFINITY, blocks.time(block)));
  }
  return [...first]
    .sort(([a], [b]) => a - b)
    .slice(1)
    .map(([, time]) => time);
}
