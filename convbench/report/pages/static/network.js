// Where a network's time goes: each layer's time times how often it occurs.

import { baseLayout, coloursOf, describeRow, legendTraces, plainAxis, roundSteps } from "./charts.js";
import { paper } from "./colours.js";
import { escapePlotly, formatCount, formatNumber, formatSeconds } from "./format.js";

const MOST_BARS = 20;

/** Whether the run is of a network: some layer occurs more than once. */
export function isNetwork(cases) {
  return cases.ranked.some((row) => cases.value("count", row) > 1);
}

/** {text, rows} for each combination of settings beside the problem and the direction. */
export function ways(cases, rows) {
  const execution = cases.axes.filter((axis) => !cases.problem.includes(axis.name) && axis.name !== "direction");
  const found = new Map();
  for (const row of rows) {
    const text = execution.map((axis) => cases.axisText(axis, row)).join(", ") || "as measured";
    if (!found.has(text)) found.set(text, []);
    found.get(text).push(row);
  }
  return [...found].map(([text, some]) => ({ text, rows: some }));
}

/** Layers by their share of the time, the largest first: {rows, seconds}. A layer has a row for each direction. */
export function shares(cases, rows) {
  const { groups } = cases.groups(["direction"]);
  const layers = new Map();
  for (const row of rows) {
    if (!layers.has(groups[row])) layers.set(groups[row], { rows: [], seconds: 0 });
    const layer = layers.get(groups[row]);
    layer.rows.push(row);
    layer.seconds += cases.value(cases.time, row) * cases.value("count", row);
  }
  return [...layers.values()].sort((a, b) => b.seconds - a.seconds);
}

/** {traces, layout, summary} of the picture. */
export function networkPicture(cases, rows, { way }, look) {
  const layout = baseLayout(look);
  const chosen = ways(cases, rows).find(({ text }) => text === way) ?? ways(cases, rows)[0];
  if (!chosen) return { traces: [], layout, summary: "No case passed." };
  const ink = paper(look.theme);
  const layers = shares(cases, chosen.rows);
  const total = layers.reduce((sum, { seconds }) => sum + seconds, 0);
  const bars = layers.slice(0, MOST_BARS);
  const direction = cases.axis.get("direction");
  const colours = coloursOf(look, direction);
  const name = (row) => cases.value("name", row) ?? cases.value("label", row);
  const present = new Set(chosen.rows);
  const whole = ways(cases, cases.rows()).find(({ text }) => text === chosen.text);
  const lost = whole.rows.filter((row) => !present.has(row));
  const missing = [...new Set(lost.map((row) => name(row).replace(/\s+/g, " ")))];
  const short = (row) => {
    const text = name(row).replace(/\s+/g, " ");
    const most = look.width < 560 ? 16 : 34;
    return escapePlotly(text.length > most ? `${text.slice(0, most - 1)}\u2026` : text, 99);
  };
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
  const longest = Math.max(...bars.map(({ rows: [row] }) => short(row).length));
  layout.margin.l = 16 + longest * 6.4;
  layout.height = 28 * bars.length + layout.margin.t + layout.margin.b;
  layout.barmode = "stack";
  layout.bargap = 0.25;
  layout.yaxis = {
    ...plainAxis(ink),
    showgrid: false,
    ticks: "",
    range: [bars.length - 0.5, -0.5],
    tickvals: bars.map((_, place) => place),
    ticktext: bars.map(({ rows: [row] }) => short(row)),
  };
  layout.xaxis = { ...plainAxis(ink), rangemode: "tozero", ...timeTicks(bars[0].seconds) };
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
