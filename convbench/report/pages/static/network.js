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

/** The settings beside the problem and the direction: their combinations are the ways to run the network. */
function executionAxes(cases) {
  return cases.axes.filter((axis) => !cases.problem.includes(axis.name) && axis.name !== "direction");
}

/** {text, rows} for each combination of settings beside the problem and the direction. */
export function ways(cases, rows) {
  const execution = executionAxes(cases);
  const found = new Map();
  for (const row of rows) {
    const text = execution.map((axis) => cases.axisText(axis, row)).join(", ") || "as measured";
    if (!found.has(text)) found.set(text, []);
    found.get(text).push(row);
  }
  return [...found].map(([text, some]) => ({ text, rows: some }));
}

/** Layers by their share of the time, the largest first: {rows, seconds}. A layer has a row for each direction. */
export function shares(cases, rows, across = []) {
  const { groups } = cases.groups(["direction", ...across]);
  const layers = new Map();
  for (const row of rows) {
    if (!layers.has(groups[row])) layers.set(groups[row], { group: groups[row], rows: [], seconds: 0 });
    const layer = layers.get(groups[row]);
    layer.rows.push(row);
    layer.seconds += cases.value(cases.time, row) * cases.value("count", row);
  }
  return [...layers.values()].sort((a, b) => b.seconds - a.seconds);
}

/** {traces, layout, summary} of the picture. */
export function networkPicture(cases, rows, { way }, look) {
  if (way === EACH_WAY) return waysPicture(cases, rows, look);
  const layout = baseLayout(look);
  const chosen = ways(cases, rows).find(({ text }) => text === way) ?? ways(cases, rows)[0];
  if (!chosen) return { traces: [], layout, summary: "No case passed." };
  const ink = paper(look.theme);
  const layers = shares(cases, chosen.rows);
  const total = layers.reduce((sum, { seconds }) => sum + seconds, 0);
  const bars = layers.slice(0, MOST_BARS);
  const direction = cases.axis.get("direction");
  const colours = coloursOf(look, direction);
  const present = new Set(chosen.rows);
  const whole = ways(cases, cases.rows()).find(({ text }) => text === chosen.text);
  const lost = whole.rows.filter((row) => !present.has(row));
  const missing = [...new Set(lost.map((row) => layerName(cases, row)))];
  const short = (row) => shortName(cases, row, look);
  const byDirection = new Map();
  bars.forEach(({ rows: some }, place) => {
    for (const row of some) {
      const code = direction ? direction.codes[row] : 0;
      if (!byDirection.has(code)) byDirection.set(code, []);
      byDirection.get(code).push([place, row]);
    }
  });
  const traces = [...byDirection]
    .sort(([a], [b]) => a - b)
    .map(([code, some]) => ({
      type: "bar",
      orientation: "h",
      y: some.map(([place]) => place),
      x: some.map(([, row]) => cases.value(cases.time, row) * cases.value("count", row)),
      customdata: some.map(([, row]) => row),
      text: some.map(([, row]) => {
        const seconds = cases.value(cases.time, row) * cases.value("count", row);
        const share = formatNumber((seconds / total) * 100, 2, 0);
        return `${describeRow(cases, row)}<br>${formatCount(cases.value("count", row))} times: <b>${formatSeconds(seconds)}</b>, ${share} %`;
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
    bars.map(({ rows: [row] }) => short(row)),
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
  const rest = layers.slice(MOST_BARS).reduce((sum, { seconds }) => sum + seconds, 0);
  const more = rest
    ? ` The other ${formatCount(layers.length - bars.length)} layers take ${formatNumber((rest / total) * 100, 2, 0)} %.`
    : "";
  const summary = [
    `${missing.length ? "The layers below" : "All layers"}, as often as they occur, take ${formatSeconds(total)}`,
    chosen.text === "as measured" ? "" : ` (${chosen.text})`,
    `: ${cases.lead}s times counts`,
    direction ? `; ${each(cases, chosen.rows, direction)}` : "",
    ".",
    missing.length ? ` Left out, because they did not pass or are not shown: ${missing.join(", ")}.` : "",
    more,
  ].join("");
  return { traces, layout, summary };
}

/** A bar for each layer and each combination of settings, all directions together. */
function waysPicture(cases, rows, look) {
  const layout = baseLayout(look);
  const ink = paper(look.theme);
  const across = executionAxes(cases).map(({ name }) => name);
  const layers = (some) => shares(cases, some, across);
  const all = ways(cases, rows).map(({ text, rows: some }) => ({ text, layers: layers(some) }));
  const total = (way) => way.layers.reduce((sum, { seconds }) => sum + seconds, 0);
  const shown = all.sort((a, b) => total(a) - total(b)).slice(0, MOST_WAYS_DRAWN);
  if (!shown.length) return { traces: [], layout, summary: "No case passed." };
  const slowest = new Map();
  for (const { layers: some } of shown)
    for (const { group, rows: own, seconds } of some)
      if (!(slowest.get(group)?.seconds >= seconds)) slowest.set(group, { seconds, row: own[0] });
  const most = Math.max(6, Math.min(MOST_BARS, Math.floor(MOST_BARS_IN_ALL / shown.length)));
  const bars = [...slowest].sort(([, a], [, b]) => b.seconds - a.seconds).slice(0, most);
  const place = new Map(bars.map(([group], i) => [group, i]));
  const colours = palette(look.theme, shown.length, false);
  const traces = shown.map(({ text, layers: some }, i) => {
    const own = some.filter(({ group }) => place.has(group));
    return {
      type: "bar",
      orientation: "h",
      y: own.map(({ group }) => place.get(group)),
      x: own.map(({ seconds }) => seconds),
      customdata: own.map(({ rows: [row] }) => row),
      text: own.map(({ rows: [row], seconds }) => {
        const title = `<b>${escapePlotly(layerName(cases, row))}</b><br>${escapePlotly(text)}`;
        return `${title}<br>${formatCount(cases.value("count", row))} times: <b>${formatSeconds(seconds)}</b>`;
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
function each(cases, rows, direction) {
  const sums = direction.texts.map((text, code) => {
    const some = rows.filter((row) => direction.codes[row] === code);
    return [text, some.reduce((sum, row) => sum + cases.value(cases.time, row) * cases.value("count", row), 0)];
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
