// Where a network's time goes: each layer's time times how often it occurs.

import { baseLayout, coloursOf, describeRow, legendTraces, plainAxis, roundSteps } from "./charts.js";
import { palette, paper } from "./colours.js";
import { escapePlotly, formatCount, formatNumber, formatSeconds } from "./format.js";

const MOST_BARS = 20;
/** Bars of all combinations of settings together at most, and combinations at most. */
const MOST_BARS_IN_ALL = 60;
const MOST_WAYS_DRAWN = 8;
/** The choice that shows a bar for each combination of settings. */
export const EACH_WAY = "each";

/**
 * {text, parts} for each combination of settings of each network, with the parts that are among the rows. A network is
 * one value of a setting that multiplies all layers, as one batch size: no picture adds up several (analysis/findings/
 * layers.py). A part is {row, layer, often}.
 */
export function ways(cases, rows) {
  const shown = new Set(rows);
  const some = cases.ways.map(({ text, parts }) => ({ text, parts: parts.filter(({ row }) => shown.has(row)) }));
  return some.filter(({ parts }) => parts.length);
}

/** What a case takes in all its occurrences, seconds. */
const secondsOf = (cases, { row, often }) => cases.value(cases.time, row) * often;

const sum = (numbers) => numbers.reduce((all, number) => all + number, 0);

/** Layers by their share of the time, the largest first: {layer, parts, seconds}. A layer has a part a direction. */
export function shares(cases, parts) {
  const layers = new Map();
  for (const part of parts) {
    if (!layers.has(part.layer)) layers.set(part.layer, { layer: part.layer, parts: [], seconds: 0 });
    const layer = layers.get(part.layer);
    layer.parts.push(part);
    layer.seconds += secondsOf(cases, part);
  }
  return [...layers.values()].sort((a, b) => b.seconds - a.seconds);
}

/** {traces, layout, summary} of the picture. */
export function networkPicture(cases, rows, { way }, look) {
  if (way === EACH_WAY) return waysPicture(cases, rows, look);
  const layout = baseLayout(look);
  const all = ways(cases, rows);
  const chosen = all.find(({ text }) => text === way) ?? all[0];
  if (!chosen) return { traces: [], layout, summary: "No case passed." };
  const ink = paper(look.theme);
  const layers = shares(cases, chosen.parts);
  const total = sum(layers.map(({ seconds }) => seconds));
  const bars = layers.slice(0, MOST_BARS);
  const direction = cases.axis.get("direction");
  const colours = coloursOf(look, direction);
  const present = new Set(chosen.parts.map(({ row }) => row));
  const whole = cases.ways.find(({ text }) => text === chosen.text);
  const lost = whole.parts.filter(({ row }) => !present.has(row));
  const missing = [...new Set(lost.map(({ row }) => layerName(cases, row)))];
  const short = (row) => shortName(cases, row, look);
  const byDirection = new Map();
  bars.forEach(({ parts }, place) => {
    for (const part of parts) {
      const code = direction ? direction.codes[part.row] : 0;
      if (!byDirection.has(code)) byDirection.set(code, []);
      byDirection.get(code).push([place, part]);
    }
  });
  const traces = [...byDirection]
    .sort(([a], [b]) => a - b)
    .map(([code, some]) => ({
      type: "bar",
      orientation: "h",
      y: some.map(([place]) => place),
      x: some.map(([, part]) => secondsOf(cases, part)),
      customdata: some.map(([, { row }]) => row),
      text: some.map(([, part]) => {
        const seconds = secondsOf(cases, part);
        const share = formatNumber((seconds / total) * 100, 2, 0);
        return `${describeRow(cases, part.row)}<br>${formatCount(part.often)} times: <b>${formatSeconds(seconds)}</b>, ${share} %`;
      }),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: colours[code] },
    }));
  if (direction) {
    traces.push(...legendTraces(direction.texts, colours));
    layout.showlegend = true;
    layout.legend.title.text = direction.title;
    layout.legend.traceorder = "normal";
  } else layout.margin.t = 10;
  layout.barmode = "stack";
  layerAxes(
    layout,
    ink,
    bars.map(({ parts: [{ row }] }) => short(row)),
    { each: 28, high: bars[0].seconds },
  );
  layout.annotations = bars.map(({ seconds }, place) => ({
    x: seconds,
    y: place,
    xanchor: "left",
    showarrow: false,
    text: ` ${formatNumber((seconds / total) * 100, 2, 0)} %`,
    font: { size: 11 },
  }));
  layout.margin.r = 52;
  const rest = sum(layers.slice(MOST_BARS).map(({ seconds }) => seconds));
  const more = rest
    ? ` The other ${formatCount(layers.length - bars.length)} layers take ${formatNumber((rest / total) * 100, 2, 0)} %.`
    : "";
  const summary = [
    `${missing.length ? "The layers below" : "All layers"}, as often as they occur, take ${formatSeconds(total)}`,
    chosen.text === "as measured" ? "" : ` (${chosen.text})`,
    `: ${cases.lead}s times counts`,
    direction ? `; ${each(cases, chosen.parts, direction)}` : "",
    ".",
    missing.length ? ` Left out, because they did not pass or are not shown: ${missing.join(", ")}.` : "",
    more,
  ].join("");
  return { traces, layout, summary };
}

/** A bar for each layer, each combination of settings and each network, all directions together. */
function waysPicture(cases, rows, look) {
  const layout = baseLayout(look);
  const ink = paper(look.theme);
  const all = ways(cases, rows).map(({ text, parts }) => ({ text, layers: shares(cases, parts) }));
  const total = (way) => sum(way.layers.map(({ seconds }) => seconds));
  const shown = all.sort((a, b) => total(a) - total(b)).slice(0, MOST_WAYS_DRAWN);
  if (!shown.length) return { traces: [], layout, summary: "No case passed." };
  const slowest = new Map();
  for (const { layers: some } of shown)
    for (const { layer, parts, seconds } of some)
      if (!(slowest.get(layer)?.seconds >= seconds)) slowest.set(layer, { seconds, row: parts[0].row });
  const most = Math.max(6, Math.min(MOST_BARS, Math.floor(MOST_BARS_IN_ALL / shown.length)));
  const bars = [...slowest].sort(([, a], [, b]) => b.seconds - a.seconds).slice(0, most);
  const place = new Map(bars.map(([layer], i) => [layer, i]));
  const colours = palette(look.theme, shown.length, false);
  const traces = shown.map(({ text, layers: some }, i) => {
    const own = some.filter(({ layer }) => place.has(layer));
    return {
      type: "bar",
      orientation: "h",
      y: own.map(({ layer }) => place.get(layer)),
      x: own.map(({ seconds }) => seconds),
      customdata: own.map(({ parts: [{ row }] }) => row),
      text: own.map(({ parts: [{ row, often }], seconds }) => {
        const title = `<b>${escapePlotly(layerName(cases, row))}</b><br>${escapePlotly(text)}`;
        return `${title}<br>${formatCount(often)} times: <b>${formatSeconds(seconds)}</b>`;
      }),
      textposition: "none",
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: colours[i] },
    };
  });
  traces.push(
    ...legendTraces(
      shown.map(({ text }) => text),
      colours,
    ),
  );
  layout.showlegend = true;
  layout.legend.traceorder = "normal";
  layout.barmode = "group";
  layerAxes(
    layout,
    ink,
    bars.map(([, { row }]) => shortName(cases, row, look)),
    { each: 10 + 9 * shown.length, high: bars[0][1].seconds },
  );
  const sums = shown.map((way) => `${way.text} ${formatSeconds(total(way))}`).join(", ");
  const rest = slowest.size - bars.length;
  const left = rest ? ` ${formatCount(rest)} layers that take less are not drawn.` : "";
  const many = all.length > shown.length ? ` The fastest ${shown.length} of ${formatCount(all.length)} are drawn.` : "";
  return { traces, layout, summary: `All layers, as often as they occur, take: ${sums}.${left}${many}` };
}

/** The axes of horizontal bars, one place of `each` pixels for each layer. */
function layerAxes(layout, ink, names, { each: pixels, high }) {
  const longest = Math.max(...names.map((name) => name.length));
  layout.margin.l = 16 + longest * 6.4;
  layout.height = pixels * names.length + layout.margin.t + layout.margin.b;
  layout.bargap = 0.25;
  layout.yaxis = {
    ...plainAxis(ink),
    showgrid: false,
    ticks: "",
    range: [names.length - 0.5, -0.5],
    tickvals: names.map((_, place) => place),
    ticktext: names,
  };
  layout.xaxis = { ...plainAxis(ink), rangemode: "tozero", ...timeTicks(high) };
}

function layerName(cases, row) {
  return (cases.value("name", row) ?? cases.value("label", row)).replace(/\s+/g, " ");
}

/** A layer's name at its bar. */
function shortName(cases, row, look) {
  const text = layerName(cases, row);
  const most = look.width < 560 ? 16 : 34;
  return escapePlotly(text.length > most ? `${text.slice(0, most - 1)}\u2026` : text, 99);
}

/** `forward 96.3 ms, backward 213 ms`. */
function each(cases, parts, direction) {
  const sums = direction.texts.map((text, code) => {
    const some = parts.filter(({ row }) => direction.codes[row] === code);
    return [text, sum(some.map((part) => secondsOf(cases, part)))];
  });
  return sums.flatMap(([text, seconds]) => (seconds ? [`${text} ${formatSeconds(seconds)}`] : [])).join(", ");
}

/** Round ticks of a linear time axis, all in one unit. */
function timeTicks(high) {
  const values = roundSteps(0, high);
  return {
    tickvals: values,
    ticktext: values.map((value) => (value ? formatSeconds(Number(value.toPrecision(6)), 2) : "0")),
  };
}
