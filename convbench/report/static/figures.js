// Drawing: what report/figures.py computed becomes plotly figures. One plot per panel, drawn when it comes into view.

// Okabe and Ito's palette, which colour-blind readers can tell apart; the lighter of each pair on dark paper.
const COLOURS = {
  light: {
    ink: "#1d1f23", muted: "#5f6570", grid: "#e7e4de", paper: "rgba(0,0,0,0)", hover: "#ffffff", faintest: 0.2,
    forward: "#0072b2", backward: "#d55e00", grad_input: "#009e73", grad_weight: "#cc79a7", train_step: "#8a6d00",
    "all directions": "#1d1f23",
  },
  dark: {
    ink: "#eceae5", muted: "#a4abb6", grid: "#2d323a", paper: "rgba(0,0,0,0)", hover: "#22262d", faintest: 0.35,
    forward: "#56b4e9", backward: "#f08a4b", grad_input: "#2fc79b", grad_weight: "#dd9bc0", train_step: "#f0e442",
    "all directions": "#eceae5",
  },
};

/** What a reader learns of one row when pointing at it. */
function describeRow(data, row) {
  const value = (name) => data.values[name][row];
  const lines = [`<b>${escapePlotly(value("label"))}</b>`];
  lines.push(`floor ${formatSeconds(value("floor_s"))}, typical ${formatSeconds(value("typical_s"))}`);
  for (const column of data.columns) {
    if (["spread", "tflops", "gbps"].includes(column.name) && value(column.name) !== null) {
      lines.push(`${column.heading} ${formatCell(value(column.name), column)} ${column.unit}`.trim());
    }
  }
  return lines.join("<br>");
}

/** Ticks of a logarithmic time axis: decades, the more between them the less there is to see. */
function timeTicks(low, high) {
  const span = Math.log10(high / low);
  const steps = span > 2.5 ? [1] : span > 0.6 ? [1, 2, 5] : [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9];
  const values = [];
  for (let decade = Math.floor(Math.log10(low)) - 1; decade <= Math.ceil(Math.log10(high)); decade += 1) {
    for (const step of steps) values.push(step * 10 ** decade);
  }
  return { tickvals: values, ticktext: values.map((value) => formatSeconds(value, span > 0.6 ? 1 : 2)) };
}

/** The range of a logarithmic axis with some air, as plotly wants it. */
function logRange(low, high, air = 0.06) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const margin = Math.max((to - from) * air, 0.08);
  return [from - margin, to + margin];
}

const LONGEST_TICK = 20; // characters; the numbers below a figure have whole texts

/** As many texts as fit side by side, the first among them; the others stay unnamed. */
function thinTexts(all, width) {
  const texts = all.map((text) => (text.length > LONGEST_TICK ? `${text.slice(0, LONGEST_TICK - 1)}\u2026` : text));
  const longest = Math.max(...texts.map((text) => text.length));
  const fit = Math.max(2, Math.floor(width / (longest * 7 + 14)));
  const step = Math.ceil(texts.length / fit);
  return texts.map((text, index) => (index % step ? "" : text));
}

function baseLayout(colours, low, high) {
  return {
    margin: { l: 58, r: 14, t: 8, b: 34 },
    paper_bgcolor: colours.paper,
    plot_bgcolor: colours.paper,
    font: { family: "system-ui, sans-serif", size: 12, color: colours.muted },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: {
      align: "left",
      bgcolor: colours.hover,
      bordercolor: colours.grid,
      font: { family: "system-ui, sans-serif", size: 12, color: colours.ink },
    },
    dragmode: false,
    xaxis: { showgrid: false, zeroline: false, ticks: "outside", tickcolor: colours.grid, linecolor: colours.grid },
    yaxis: {
      type: "log", range: logRange(low, high), gridcolor: colours.grid, zeroline: false, fixedrange: true,
      ...timeTicks(low, high),
    },
  };
}

/** Times of all rows that a figure shows, for the one time axis that its panels share. */
function timesOf(data, figure) {
  return figure.panels.flatMap((panel) => panel.lines.flatMap((line) => line.map(([, row]) => data.values.floor_s[row])));
}

/** {traces, layout} of one panel of time over a setting. */
function axisPlot(data, figure, panel, colours, width) {
  const colour = colours[panel.title] ?? colours.ink;
  const thin = { x: [], y: [], text: [] };
  for (const line of panel.lines) {
    for (const [place, row] of line) {
      thin.x.push(figure.places[place]);
      thin.y.push(data.values.floor_s[row]);
      thin.text.push(describeRow(data, row));
    }
    thin.x.push(null);
    thin.y.push(null);
    thin.text.push("");
  }
  const faint = Math.max(colours.faintest, Math.min(0.6, 8 / panel.lines.length));
  const traces = [
    {
      ...thin, type: "scatter", mode: "lines+markers", hovertemplate: "%{text}<extra></extra>", connectgaps: false,
      line: { color: colour, width: 1 }, marker: { color: colour, size: 5 }, opacity: faint,
    },
  ];
  if (panel.middle.length) {
    traces.push({
      x: figure.places, y: panel.middle, type: "scatter", mode: "lines+markers",
      line: { color: colour, width: 3 }, marker: { color: colour, size: 9 },
      text: panel.middle.map((time, place) =>
        `<b>${escapePlotly(figure.texts[place])}</b><br>${formatSeconds(time)}, mean of ${panel.layers}`),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  const times = timesOf(data, figure);
  const layout = baseLayout(colours, Math.min(...times), Math.max(...times));
  const [first, last] = [figure.places[0], figure.places.at(-1)];
  const air = (last - first) * (figure.scale === "words" ? 0.25 : 0.06);
  Object.assign(layout.xaxis, {
    type: figure.scale === "log" ? "log" : "linear",
    range: figure.scale === "log" ? logRange(first, last) : [first - air, last + air],
    tickvals: figure.places,
    ticktext: thinTexts(figure.texts, width - 72).map((text) => escapePlotly(text)),
    fixedrange: true,
  });
  return { traces, layout };
}

/** {traces, layout} of all cases from the fastest to the slowest. */
function rankingPlot(data, { rows, total }, colours) {
  const direction = (row) => data.values.direction[row];
  const step = rows.length > 1 ? (total - 1) / (rows.length - 1) : 1; // some ranks are left out where there are many
  const place = (rank) => Math.round(rank * step) + 1;
  const stems = { x: [], y: [] };
  rows.forEach((row, rank) => {
    stems.x.push(place(rank), place(rank), null);
    stems.y.push(data.values.floor_s[row], data.values.typical_s[row], null);
  });
  const traces = [
    { ...stems, type: "scatter", mode: "lines", hoverinfo: "skip", line: { color: colours.muted, width: 1 }, opacity: 0.7 },
  ];
  const ranked = rows.map((row, rank) => ({ row, rank }));
  for (const name of new Set(rows.map(direction))) {
    const some = ranked.filter(({ row }) => direction(row) === name);
    traces.push({
      name, x: some.map(({ rank }) => place(rank)), y: some.map(({ row }) => data.values.floor_s[row]),
      text: some.map(({ row }) => describeRow(data, row)), hovertemplate: "%{text}<extra></extra>",
      type: "scatter", mode: "markers",
      marker: { color: colours[name] ?? colours.ink, size: rows.length > 300 ? 4 : 7 },
    });
  }
  const low = data.values.floor_s[rows[0]];
  const high = rows.reduce((most, row) => Math.max(most, data.values.typical_s[row]), low);
  const layout = baseLayout(colours, low, high);
  layout.margin.t = 30;
  layout.showlegend = traces.length > 2;
  layout.legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemclick: false, itemdoubleclick: false };
  traces[0].showlegend = false;
  Object.assign(layout.xaxis, {
    range: [0.5 - total * 0.01, total * 1.01 + 0.5], fixedrange: true, tickformat: ",d",
    ...(total < 3 ? { tickvals: rows.map((_, rank) => rank + 1) } : {}),
  });
  return { traces, layout };
}

/** Draw one panel, or draw it again in other colours. */
async function drawPlot(data, element, theme) {
  const colours = COLOURS[theme];
  const figure = data.figures[element.dataset.figure];
  const { traces, layout } = element.dataset.plot === "ranking"
    ? rankingPlot(data, data.ranking, colours)
    : axisPlot(data, figure, figure.panels[element.dataset.panel], colours, element.clientWidth);
  layout.height = element.clientHeight;
  await globalThis.Plotly.react(element, traces, layout, { displayModeBar: false, responsive: true });
  element.dataset.drawn = theme;
}

/**
 * Draw every panel when it comes near the reader's view, the others when the browser has nothing else to do (a print has
 * them all); follow the theme. Panels are drawn one after the other, each in the colours wanted last.
 */
function showFigures(data) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("[data-plot]")];
  let library = null;
  let queue = Promise.resolve();
  const draw = (element) => {
    library ??= runPacked("plotly");
    queue = queue.then(async () => {
      await library;
      const theme = dark.matches ? "dark" : "light";
      if (element.dataset.drawn !== theme) await drawPlot(data, element, theme);
    });
    return queue;
  };
  const watch = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        watch.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "400px" });
  plots.forEach((element) => watch.observe(element));
  dark.addEventListener("change", () => plots.filter((element) => element.dataset.drawn).forEach(draw));
  const whenIdle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 200));
  const drawRest = () => {
    const next = plots.find((element) => !element.dataset.drawn);
    if (next) draw(next).then(() => whenIdle(drawRest));
  };
  return () => whenIdle(drawRest);
}
