// Every case under this machine's roofs: FLOP/s over FLOP per byte (Williams, Waterman and Patterson, 2009).

import { thinned } from "./cases.js";
import { baseLayout, coloursOf, describeRow, extent, legendTraces, logAxis, MOST_DOTS } from "./charts.js";
import { palette, paper } from "./colours.js";
import { MOST_COLOURS } from "./explore.js";
import { escapePlotly, formatCount, formatNumber, formatSi } from "./format.js";

const DASHES = ["solid", "dash", "dashdot", "longdash"];
/** A dot has the shape of its roof: plotly's names, and the characters beside the roofs' names. */
const SHAPES = [
  ["circle", "\u25cf"],
  ["square", "\u25a0"],
  ["diamond", "\u25c6"],
  ["triangle-up", "\u25b2"],
  ["triangle-down", "\u25bc"],
  ["pentagon", "\u2b1f"],
];
/** The shape of a dot without a roof. */
const NO_ROOF = "circle-open";

/** The FLOP/s that a roof allows at an intensity (FLOP per byte), at the rate of the largest copy. */
export function allowed(ceiling, intensity) {
  const copies = ceiling.copies.map(([, rate]) => rate);
  return Math.min(ceiling.flops_per_s, intensity * (copies.at(-1) ?? Number.POSITIVE_INFINITY));
}

/** {traces, layout, summary} of the picture. */
export function rooflinePicture(cases, rows, { colour }, look) {
  const layout = baseLayout(look);
  layout.margin.l = 72; // the axis has a title
  const ink = paper(look.theme);
  const rate = (row) => cases.value("flops", row) / cases.value(cases.time, row);
  const intensity = (row) => cases.value("flops", row) / cases.value("bytes", row);
  const whole = rows.filter((row) => cases.value("flops", row) > 0 && cases.value("bytes", row) > 0);
  if (!whole.length) return { traces: [], layout, summary: "None of these cases has operations." };
  const some = thinned(
    [...whole].sort((a, b) => rate(a) - rate(b)),
    MOST_DOTS,
  );
  const ceilings = cases.head.ceilings;
  const [xs, ys] = [some.map(intensity), some.map(rate)];
  const [low, high] = extent([...xs, ...ceilings.map((c) => c.flops_per_s / (c.copies.at(-1)?.[1] ?? c.flops_per_s))]);
  const [from, to] = [low / 4, high * 8];
  // Roofs are in the text colour, with names at their ends. Other colours are for the dots.
  const traces = ceilings.map((ceiling, i) =>
    roofTrace(ceiling, from, to, { color: ink.muted, dash: DASHES[i % DASHES.length] }),
  );
  const several = ceilings.length > 1;
  const shapeOf = (i) => SHAPES[i % SHAPES.length];
  layout.annotations = ceilings.map((ceiling, i) => ({
    text: `${several ? `${shapeOf(i)[1]} ` : ""}${escapePlotly(ceiling.name)} ${formatSi(ceiling.flops_per_s, 3)}FLOP/s`,
    x: 1,
    xref: "paper",
    xanchor: "right",
    y: Math.log10(ceiling.flops_per_s),
    yanchor: "bottom",
    showarrow: false,
    font: { size: 11, color: ink.ink },
  }));
  for (const trace of cacheTraces(ceilings, from, to, ink)) traces.push(trace);
  const { title, codes, colours, names } = colouring(cases, colour, look);
  traces.push({
    type: "scatter",
    mode: "markers",
    x: xs,
    y: ys,
    customdata: some,
    text: some.map((row) => {
      const share = cases.value("efficiency", row);
      const bound = cases.value("bound", row);
      const own = cases.roofOf(row);
      const roof =
        share === null
          ? ""
          : `<br>${formatNumber(share * 100, 3, 0)} % of what the roofs allow; the nearer one is ${bound}` +
            `<br>its roof of compute is that of ${escapePlotly(own.name)}`;
      return `${describeRow(cases, row)}<br>${formatNumber(intensity(row), 3, 0)} FLOP per byte${roof}`;
    }),
    hovertemplate: "%{text}<extra></extra>",
    marker: {
      color: some.map((row) => colours[codes(row)]),
      symbol: some.map((row) => (cases.roofOf(row) ? shapeOf(ceilings.indexOf(cases.roofOf(row)))[0] : NO_ROOF)),
      size: some.length > 300 ? 5 : 8,
      opacity: 0.8,
    },
  });
  if (names.length && names.length <= MOST_COLOURS) {
    traces.push(...legendTraces(names, colours));
    layout.showlegend = true;
    layout.legend.title.text = title;
  } else layout.margin.t = 10;
  layout.xaxis = logAxis(ink, [from * 2, to / 2], (value, digits) => formatNumber(value, digits, 0));
  layout.yaxis = logAxis(ink, [...ys, ...ceilings.map((c) => c.flops_per_s)], formatSi);
  layout.xaxis.title = { ...layout.xaxis.title, text: "FLOP per byte" };
  layout.yaxis.title = { ...layout.yaxis.title, text: "FLOP/s" };
  const bound = (name) => whole.filter((row) => cases.value("bound", row) === name).length;
  const counts = ["compute", "memory", "launch"].filter(bound).map((name) => `${name} in ${formatCount(bound(name))}`);
  const over = whole.filter((row) => cases.value("efficiency", row) > 1).length;
  const above = over
    ? ` ${formatCount(over)} ${over === 1 ? "is above its roof: its page explains it" : "are above their roof: their pages explain it"}.`
    : "";
  const bounds = counts.length
    ? ` The nearer roof is ${counts.join(", ")} of ${formatCount(whole.length)} ${whole.length === 1 ? "case" : "cases"}.${above}`
    : "";
  const roofs = ceilings.length
    ? `The lines are this machine's roofs, measured in the run: compute at the right, memory at the left. The thin dotted line is the roof of the caches.${bounds}`
    : "No roof was measured in this run.";
  const dots =
    some.length < whole.length ? ` ${formatCount(some.length)} of ${formatCount(whole.length)} cases are drawn.` : "";
  const dot = several ? "A dot is a case, and has the shape that its roof's name shows." : "A dot is a case.";
  return { traces, layout, summary: `${dot} ${roofs}${dots}` };
}

/** The colours of the dots: by a setting, or by the nearer roof. */
function colouring(cases, colour, look) {
  if (colour === "bound" && cases.has("bound")) {
    const names = ["compute", "memory", "launch"];
    return {
      title: "Nearer roof",
      names,
      colours: palette(look.theme, 3, false),
      codes: (row) => Math.max(0, names.indexOf(cases.value("bound", row))),
    };
  }
  const axis = cases.axis.get(colour);
  return {
    title: axis?.title,
    names: axis?.texts ?? [],
    colours: coloursOf(look, axis),
    codes: (row) => (axis ? axis.codes[row] : 0),
  };
}

function roofTrace(ceiling, from, to, line) {
  const copies = ceiling.copies.map(([, rate]) => rate);
  const ridge = copies.length ? ceiling.flops_per_s / copies.at(-1) : from;
  const x = [from, ridge, to].filter((value) => value >= from && value <= to);
  return {
    type: "scatter",
    mode: "lines",
    x,
    y: x.map((value) => allowed(ceiling, value)),
    line: { ...line, width: 2 },
    text: x.map(() => `<b>${escapePlotly(ceiling.name)}</b><br>at most ${formatSi(ceiling.flops_per_s, 3)}FLOP/s`),
    hovertemplate: "%{text}<extra></extra>",
  };
}

/** The roofs of the caches: a dotted line for each different set of copies. */
function cacheTraces(ceilings, from, to, ink) {
  const seen = new Map();
  for (const { copies, flops_per_s: flops } of ceilings) {
    if (!copies.length) continue;
    const best = Math.max(...copies.map(([, rate]) => rate));
    seen.set(best, Math.max(seen.get(best) ?? 0, flops));
  }
  return [...seen].map(([best, flops]) => {
    const end = Math.min(to, flops / best);
    return {
      type: "scatter",
      mode: "lines",
      x: [from, end],
      y: [from * best, end * best],
      line: { color: ink.muted, width: 1, dash: "dot" },
      text: [0, 1].map(() => `<b>copies within the caches</b><br>${formatSi(best, 3)}B/s`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
}
