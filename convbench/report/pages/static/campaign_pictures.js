// The pictures of a campaign: settings machine by machine, machines over the best one, and all roofs in one plot.

import { behind, columnOf } from "./campaign_case.js";
import { thinned } from "./cases.js";
import { baseLayout, besideOne, extent, legendTraces, logAxis, MOST_DOTS, plainAxis } from "./charts.js";
import { palette, paper } from "./colours.js";
import { escapePlotly, formatCount, formatNumber, formatSeconds, formatSi } from "./format.js";
import { allowed } from "./roofline.js";

/** A machine has a shape beside its colour. */
const MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "star"];
const LINES = ["solid", "dash", "dashdot", "longdash", "dot"];

/** Narrower pictures have short titles: the buttons that save them stand beside these, in pixels. */
const NARROW = 560;

const times = (value) => `${formatNumber(value, 3, 0)}x`;
const markOf = (machine) => MARKS[machine % MARKS.length];
const colours = (cases, look) => palette(look.theme, cases.machines.length, false);

/** The legend of the machines. */
function withLegend(cases, layout, look, traces) {
  const own = legendTraces(
    cases.machines.map(({ name }) => name),
    colours(cases, look),
  );
  own.forEach((trace, machine) => {
    trace.marker.symbol = markOf(machine);
  });
  layout.showlegend = true;
  layout.margin.t = 34;
  return [...traces, ...own];
}

/** Dots of one machine. */
function dots(machine, colour, points, size) {
  return {
    type: "scatter",
    mode: "markers",
    x: points.map(({ x }) => x),
    y: points.map(({ y }) => y),
    customdata: points.map(({ row }) => row),
    text: points.map(({ text }) => text),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      color: colour,
      size,
      opacity: 0.85,
      symbol: points.map(({ hollow }) => (hollow ? `${markOf(machine)}-open` : markOf(machine))),
      line: { color: colour, width: points.some(({ hollow }) => hollow) ? 1.5 : 0 },
    },
  };
}

/** Two values of a setting on every machine: a dot is a layer on a machine, a column of dots the same layer. */
export function acrossPicture(cases, rows, pairs, { values, order }, look) {
  const one = cases.across.find((each) => each.values === values);
  const layout = baseLayout(look);
  const shown = new Set(rows);
  const count = one.bases.length;
  const held = pairs[cases.across.indexOf(one)];
  const at = (name, machine, pair) => held[name][machine * count + pair];
  const kept = Array.from({ length: count }, (_, pair) => pair).filter(
    (pair) => shown.has(one.bases[pair]) && shown.has(one.others[pair]),
  );
  if (!kept.length) return { traces: [], layout, summary: "None of these pairs is shown." };
  const first = cases.machines.findIndex(({ name }) => name === order);
  const place = (pair) => {
    const ratio = at("ratio", first, pair);
    return Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio;
  };
  kept.sort((a, b) => place(a) - place(b) || a - b);
  const rank = new Map(kept.map((pair, index) => [pair, index + 1]));
  const some = thinned(kept, Math.max(1, Math.floor(MOST_DOTS / cases.machines.length)));
  const ink = paper(look.theme);
  const size = some.length > 100 ? 5 : 8;
  const traces = cases.machines.map(({ name }, machine) => {
    const points = some
      .filter((pair) => !Number.isNaN(at("ratio", machine, pair)))
      .map((pair) => {
        const value = 1 / at("ratio", machine, pair);
        const noise = 1 + at("noise", machine, pair);
        const row = one.others[pair];
        const time = (of) => formatSeconds(cases.value(columnOf("time", machine), of));
        return {
          x: rank.get(pair),
          y: value,
          row,
          hollow: at("verdict", machine, pair) === 0,
          text: [
            `<b>${escapePlotly(cases.value("label", row))}</b>`,
            escapePlotly(name),
            `<b>${times(value)}</b> (${times(value / noise)} to ${times(value * noise)})`,
            escapePlotly(`${one.base} ${time(one.bases[pair])}, ${one.other} ${time(row)}`),
          ].join("<br>"),
        };
      });
    return dots(machine, colours(cases, look)[machine], points, size);
  });
  layout.margin.l = 72;
  layout.yaxis = logAxis(
    ink,
    [...traces.flatMap(({ y }) => y), 0.95, 1.05],
    (value, digits) => `${formatNumber(value, digits, 0)}x`,
  );
  layout.yaxis.title = { ...layout.yaxis.title, text: escapePlotly(`Speed-up over ${one.base}`, 99) };
  const last = kept.length;
  layout.xaxis = { ...plainAxis(ink), showgrid: false, range: [1 - Math.max(0.5, last * 0.02), last * 1.02 + 0.5] };
  layout.xaxis.tickformat = ",d";
  layout.xaxis.nticks = Math.min(8, last + 1);
  layout.xaxis.title = {
    ...layout.xaxis.title,
    text: look.width < NARROW ? "Layers" : escapePlotly(`Layers, by the speed-up on ${order}`, 60),
  };
  layout.shapes = [
    { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: ink.ink, width: 1.5 }, layer: "below" },
  ];
  layout.annotations = besideOne(ink, "faster", "slower");
  const turned = kept.filter((pair) => {
    const verdicts = cases.machines.map((_, machine) => at("verdict", machine, pair));
    return verdicts.includes(1) && verdicts.includes(-1);
  }).length;
  const drawn = some.length < last ? ` ${formatCount(some.length)} of them are drawn.` : "";
  const summary =
    `${one.other} over ${one.base}, of ${formatCount(last)} matched ${last === 1 ? "layer" : "layers"}. ` +
    `The ordering turns round in ${formatCount(turned)}. Dots above each other are one layer on several machines; ` +
    `hollow ones are within noise or less than 5\u00a0% apart.${drawn}`;
  return { traces: withLegend(cases, layout, look, traces), layout, summary };
}

/** Every machine's time over that of the best one, the cases by the best time. */
export function behindPicture(cases, rows, look) {
  const layout = baseLayout(look);
  const ink = paper(look.theme);
  const least = (row) => cases.value(columnOf("time", cases.best(row)), row);
  const ordered = [...rows].sort((a, b) => least(a) - least(b));
  const some = thinned(ordered, Math.max(1, Math.floor(MOST_DOTS / cases.machines.length)));
  const size = some.length > 100 ? 5 : 8;
  const traces = cases.machines.map(({ name }, machine) => {
    const points = some
      .filter((row) => cases.value(columnOf("ratio", machine), row) !== null)
      .map((row) => ({
        x: least(row),
        y: Math.max(1, cases.value(columnOf("ratio", machine), row)),
        row,
        hollow: cases.best(row) !== machine && !(cases.value(columnOf("low", machine), row) > 1),
        text: [
          `<b>${escapePlotly(cases.value("label", row))}</b>`,
          escapePlotly(`${name}: ${formatSeconds(cases.value(columnOf("time", machine), row))}`),
          `over the best: ${behind(cases, row, machine)}`,
        ].join("<br>"),
      }));
    return dots(machine, colours(cases, look)[machine], points, size);
  });
  layout.margin.l = 72;
  layout.xaxis = logAxis(ink, ordered.map(least), formatSeconds);
  layout.xaxis.title = { ...layout.xaxis.title, text: look.width < NARROW ? "Best time" : "Time of the best machine" };
  layout.yaxis = logAxis(
    ink,
    [...traces.flatMap(({ y }) => y), 1.05],
    (value, digits) => `${formatNumber(value, digits, 0)}x`,
  );
  layout.yaxis.title = { ...layout.yaxis.title, text: "Time over the best machine's" };
  const drawn = some.length < rows.length ? ` ${formatCount(some.length)} of them are drawn.` : "";
  const summary =
    `${formatCount(rows.length)} ${rows.length === 1 ? "case" : "cases"}. The best machine of a case is at 1x; ` +
    `hollow dots are as fast within noise.${drawn}`;
  return { traces: withLegend(cases, layout, look, traces), layout, summary };
}

/** Every machine's roofs of one dtype in one plot (Williams, Waterman and Patterson, 2009), and its cases below them. */
export function rooflinesPicture(cases, rows, { dtype }, look) {
  const layout = baseLayout(look);
  const ink = paper(look.theme);
  const code = cases.dtypes.indexOf(dtype);
  const own = rows.filter((row) => cases.dtypeCodes[row] === code && cases.value("flops", row) > 0);
  const ceilings = cases.machines.map((machine) =>
    machine.ceilings.filter(({ name }) => name === dtype || name.startsWith(`${dtype},`)),
  );
  const intensity = (row) => cases.value("flops", row) / cases.value("bytes", row);
  const some = thinned(own, Math.max(1, Math.floor(MOST_DOTS / cases.machines.length)));
  const size = some.length > 100 ? 5 : 8;
  const all = colours(cases, look);
  const traces = cases.machines.map(({ name }, machine) => {
    const points = some
      .filter((row) => cases.value(columnOf("ratio", machine), row) !== null)
      .map((row) => {
        const time = cases.value(columnOf("time", machine), row);
        const rate = cases.value("flops", row) / time;
        return {
          x: intensity(row),
          y: rate,
          row,
          text: [
            `<b>${escapePlotly(cases.value("label", row))}</b>`,
            escapePlotly(`${name}: ${formatSeconds(time)}, ${formatSi(rate, 3)}FLOP/s`),
            `${formatNumber(intensity(row), 3, 0)} FLOP per byte`,
          ].join("<br>"),
        };
      });
    return dots(machine, all[machine], points, size);
  });
  const [xs, ys] = ["x", "y"].map((name) => traces.flatMap((trace) => trace[name]));
  const roofs = ceilings.flat();
  if (!xs.length && !roofs.length) return { traces: [], layout, summary: `No case of ${dtype} has a time or a roof.` };
  const ridges = roofs.map((roof) => roof.flops_per_s / (roof.copies.at(-1)?.[1] ?? roof.flops_per_s));
  const [low, high] = extent([...xs, ...ridges]);
  const [from, to] = [low / 3, high * 4];
  const lines = ceilings.flatMap((some_, machine) =>
    some_.map((roof, at) => {
      const ridge = roof.copies.length ? roof.flops_per_s / roof.copies.at(-1)[1] : from;
      const x = [from, ridge, to].filter((value) => value >= from && value <= to);
      const text = `<b>${escapePlotly(cases.machines[machine].name)}</b><br>${escapePlotly(roof.name)}: at most ${formatSi(roof.flops_per_s, 3)}FLOP/s`;
      return {
        type: "scatter",
        mode: "lines",
        x,
        y: x.map((value) => allowed(roof, value)),
        line: { color: all[machine], width: 2, dash: LINES[at % LINES.length] },
        text: x.map(() => text),
        hovertemplate: "%{text}<extra></extra>",
      };
    }),
  );
  layout.margin.l = 72;
  layout.xaxis = logAxis(ink, [from * 1.5, to / 1.5], (value, digits) => formatNumber(value, digits, 0));
  layout.xaxis.title = { ...layout.xaxis.title, text: "FLOP per byte" };
  layout.yaxis = logAxis(ink, [...ys, ...roofs.map((roof) => roof.flops_per_s)], formatSi);
  layout.yaxis.title = { ...layout.yaxis.title, text: "FLOP/s" };
  const highest = cases.machines.flatMap(({ name }, machine) => {
    const rates = ceilings[machine].map((roof) => roof.flops_per_s);
    return rates.length ? [`${name} ${formatSi(Math.max(...rates), 3)}FLOP/s`] : [];
  });
  const summary =
    `${dtype}: ${formatCount(own.length)} ${own.length === 1 ? "case" : "cases"} on each machine. A line is a machine's roof in its colour: ` +
    `compute at the right, memory at the left. ${highest.length ? `The highest: ${highest.join(", ")}.` : "No roof was measured."}`;
  return { traces: withLegend(cases, layout, look, [...lines, ...traces]), layout, summary };
}

const named = (texts) => texts.map((text) => ({ value: text, text }));

/** The pictures, as the argument of `Pictures`. */
export const CAMPAIGN_PICTURES = {
  across: {
    applies: (cases) => cases.across.length > 0,
    needs: "pairs",
    controls: (cases) => {
      const machines = cases.machines.map(({ name }) => name);
      return [
        {
          key: "values",
          label: "Compare",
          options: cases.across.map(({ values, title }) => ({ value: values, text: `${title}: ${values}` })),
          usual: cases.across[0].values,
        },
        { key: "order", label: "ordered by", options: named(machines), usual: machines[0] },
      ];
    },
    draw: ({ cases, rows, source, choice, look }) => acrossPicture(cases, rows, source, choice, look),
  },
  behind: {
    applies: (cases) => cases.machines.length > 1 && cases.ranked.length > 0,
    controls: () => [],
    draw: ({ cases, rows, look }) => behindPicture(cases, rows, look),
  },
  rooflines: {
    applies: (cases) => cases.ranked.length > 0,
    controls: (cases) => [
      { key: "dtype", label: "Cases and roofs of", options: named(cases.dtypes), usual: cases.dtypes[0] },
    ],
    draw: ({ cases, rows, choice, look }) => rooflinesPicture(cases, rows, choice, look),
  },
};
