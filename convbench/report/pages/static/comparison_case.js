// One case of a comparison: its verdict and reason, both sides' blocks in the order of time, both sides' figures.

import { CaseDialog } from "./casedialog.js";
import { median } from "./cases.js";
import { baseLayout, histogram, logAxis, plainAxis, roundSteps } from "./charts.js";
import { palette, paper, theme } from "./colours.js";
import { changeLines, factor, hasRatio } from "./comparison_ratios.js";
import { element } from "./dom.js";
import { escapePlotly, formatChange, formatNumber, formatSeconds } from "./format.js";
import { runPacked } from "./load.js";
import { linkTo } from "./view.js";

const SIDES = ["base", "new"];
const NARROW = 620; // pixels: in narrower plots the sides are one below the other

/**
 * The blocks of a row on both sides: for each side {blocks: [{block, process, seconds, minimum, median, counted}], processes}. Seconds are the leading time.
 * Counted blocks are those that both sides have: the first processes of each side, and the first blocks of each process
 * (convbench/measure/alike.py).
 */
export function bothSides(cases, blocks, row) {
  const sides = SIDES.map((side) => {
    const floor = cases.value(`${side}_floor_s`, row);
    const processes = new Map();
    const all = blocks[side].of(row).map((block) => {
      const process = blocks[side].processes[block];
      const found = {
        process,
        time: blocks[side].time(block),
        seconds: (blocks[side].leading(cases, row, block) ?? Number.NaN) * floor,
        minimum: (blocks[side].ratio("minimum", block) ?? Number.NaN) * floor,
        median: (blocks[side].ratio("median", block) ?? Number.NaN) * floor,
        probe: (blocks[side].ratio("probe", block) ?? Number.NaN) * floor,
      };
      if (!processes.has(process)) processes.set(process, []);
      processes.get(process).push(found);
      return found;
    });
    return { side, blocks: all, processes: [...processes.entries()].sort(([a], [b]) => a - b).map(([, own]) => own) };
  });
  const leading = cases.leads(row) === "floor" ? (numbers) => Math.min(...numbers) : median;
  const [base, other] = sides;
  for (const each of [base, other]) {
    const its = each === base ? other : base;
    each.processes.forEach((own, rank) => {
      const common = Math.min(own.length, its.processes[rank]?.length ?? 0);
      own.forEach((block, at) => {
        block.counted = at < common;
      });
    });
    each.lines = each.processes
      .map((own) => own.filter(({ counted }) => counted))
      .filter((own) => own.length)
      .map((own) => ({
        seconds: leading(own.map(({ seconds }) => seconds)),
        from: own[0].time,
        to: own.at(-1).time,
        process: own[0].process,
      }));
  }
  return sides;
}

/** The quantile of some numbers at a share. */
function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Ticks of an axis that covers less than a decade. */
function fineTicks(low, high) {
  const values = roundSteps(low, high);
  return { tickvals: values, ticktext: values.map((value) => formatSeconds(value, 4)) };
}

/** {traces, layout, summary} of both sides' blocks: side by side with one axis of time, or one below the other. */
export function sidesOfCase(cases, blocks, row, look) {
  const ink = paper(look.theme);
  const colours = palette(look.theme, 2, false);
  const layout = baseLayout(look);
  const sides = bothSides(cases, blocks, row).filter((each) => each.blocks.length);
  const narrow = look.width < NARROW;
  const word = cases.processWord;
  const levels = sides.flatMap((each) => each.lines.map(({ seconds }) => seconds));
  const times = sides.flatMap((each) => each.blocks.map(({ seconds }) => seconds)).filter((each) => each > 0);
  if (!times.length) return { traces: [], layout, summary: "No block has a time." };
  const bottom = Math.min(...times);
  const top = Math.max(quantile(times, 0.9), ...levels, bottom * 1.01) * 1.01;
  const traces = [];
  const step = sides.length > 1 && !narrow ? 0.4 : 0.8;
  sides.forEach((each, index) => {
    const suffix = index ? String(index + 1) : "";
    const axes = narrow ? { xaxis: `x${suffix}`, yaxis: `y${suffix}` } : { xaxis: `x${suffix}`, yaxis: "y" };
    const colour = colours[SIDES.indexOf(each.side)];
    const marks = (counted, marker) => {
      const own = each.blocks.filter((block) => block.counted === counted);
      return {
        ...axes,
        type: "scatter",
        mode: "markers",
        x: own.map(({ time }) => time),
        y: own.map(({ seconds }) => seconds),
        text: own.map(
          ({ process, time, minimum, median: middle }) =>
            `${each.side}, ${word} ${process + 1}, ${formatNumber(time, 3, 0)} s<br>minimum ${formatSeconds(minimum, 4)}` +
            `<br>median ${formatSeconds(middle, 4)}${counted ? "" : "<br>not compared: the other side has fewer blocks"}`,
        ),
        hovertemplate: "%{text}<extra></extra>",
        marker,
        showlegend: false,
      };
    };
    traces.push(marks(true, { color: colour, size: 7, symbol: index ? "square" : "circle", opacity: 0.75 }));
    traces.push(marks(false, { color: colour, size: 7, symbol: index ? "square-open" : "circle-open" }));
    const lasts = Math.max(...each.blocks.map(({ time }) => time)) || 1;
    const steps = each.lines.flatMap(({ seconds, from, to }) => [
      [from - lasts * 0.008, seconds],
      [to + lasts * 0.008, seconds],
      [null, null],
    ]);
    traces.push({
      ...axes,
      type: "scatter",
      mode: "lines",
      x: steps.map(([x]) => x),
      y: steps.map(([, y]) => y),
      line: { color: colour, width: 2.5 },
      hoverinfo: "skip",
      showlegend: false,
    });
    traces.push({
      ...axes,
      type: "scatter",
      mode: "lines",
      x: each.blocks.map(({ time }) => time),
      y: each.blocks.map(({ probe }) => probe),
      line: { color: ink.muted, width: 1, dash: "dot" },
      opacity: 0.6,
      hoverinfo: "skip",
      showlegend: false,
    });
    const shape = histogram(each.blocks.map(({ seconds }) => seconds).filter((value) => value > 0 && value <= top));
    const last = { xaxis: "x9", yaxis: narrow ? "y9" : "y" };
    traces.push({
      ...last,
      ...shape,
      type: "scatter",
      mode: "lines",
      line: { color: colour, width: 1.5, shape: "vh" },
      fill: "tozerox",
      fillcolor: `${colour}22`,
      hoverinfo: "skip",
      showlegend: false,
    });
    const left = narrow || !index ? 0 : 0.42;
    layout[`xaxis${suffix}`] = { ...plainAxis(ink), showgrid: false, domain: [left, left + step], nticks: 6 };
    if (narrow) layout[`xaxis${suffix}`].anchor = `y${suffix}`;
    layout.annotations.push({
      text: `<b>${escapePlotly(each.side)}</b>${index ? " \u25a0" : " \u25cf"}`,
      xref: `x${suffix} domain`,
      yref: narrow ? `y${suffix} domain` : "paper",
      x: 0,
      y: 1,
      xanchor: "left",
      yanchor: "bottom",
      showarrow: false,
      font: { size: 12, color: colour },
    });
  });
  const air = Math.max(Math.log10(top / bottom) * 0.05, 0.001);
  const axis = {
    ...logAxis(ink, [bottom, top], (value) => formatSeconds(value, 3)),
    ...(top / bottom < 1.5 ? fineTicks(bottom, top) : {}),
    range: [Math.log10(bottom) - air, Math.log10(top) + air / 2],
  };
  layout.xaxis9 = { ...plainAxis(ink), showgrid: false, domain: [0.84, 1], nticks: 3, tickformat: "d" };
  layout.margin.l = 70;
  layout.margin.t = 26;
  if (narrow) {
    layout.height = look.height * (sides.length > 1 ? 1.6 : 1);
    const panels =
      sides.length > 1
        ? [
            [0.57, 1],
            [0, 0.43],
          ]
        : [[0, 1]];
    panels.forEach((domain, index) => {
      layout[`yaxis${index ? 2 : ""}`] = { ...axis, domain, anchor: `x${index ? 2 : ""}` };
    });
    layout.yaxis9 = { ...axis, domain: panels[0], anchor: "x9", showticklabels: false };
    layout.xaxis9.anchor = "y9";
    layout.xaxis9.title = { ...layout.xaxis9.title, text: "Blocks" };
    const last = layout[`xaxis${sides.length > 1 ? 2 : ""}`];
    last.title = { ...last.title, text: "Seconds since it began" };
  } else {
    layout.yaxis = axis;
    for (const index of sides.keys()) {
      const each = layout[`xaxis${index ? 2 : ""}`];
      each.title = { ...each.title, text: "Seconds since it began" };
    }
    layout.xaxis9.title = { ...layout.xaxis9.title, text: "Blocks" };
  }
  const above = times.filter((each) => each > top).length;
  const left = sides.reduce((sum, each) => sum + each.blocks.filter(({ counted }) => !counted).length, 0);
  const summary =
    `A mark is a block's ${cases.leads(row) === "floor" ? "minimum" : "median"}, and a line is the ${cases.leads(row)} of a ${word}. The dotted line is the probe, a fixed piece of work.` +
    (left ? ` Hollow marks (${left}) are not compared: the other side has fewer blocks.` : "") +
    (above ? ` ${above} slower blocks are above the picture.` : "");
  return { traces, layout, summary };
}

/** The dialog of a case of a comparison. */
export class ComparisonCase extends CaseDialog {
  constructor({ packed, reports, ...rest }) {
    super(rest);
    Object.assign(this, { packed, reports });
  }

  get statusColumn() {
    return "verdict";
  }

  content(row) {
    const { cases } = this;
    const why = cases.value("why", row);
    const timed = SIDES.some((side) => cases.value(`${side}_floor_s`, row) !== null);
    const kept = row < this.packed;
    return [
      element("p", { class: "case-words", id: "case-change" }, this.changeText(row)),
      why ? element("p", { class: "case-words", id: "case-why" }, why) : null,
      this.figures(row),
      ...this.groups(row),
      timed ? element("h3", {}, "Blocks in the order of time") : null,
      timed && kept
        ? element("div", {
            class: "plot",
            id: "case-blocks",
            role: "img",
            "aria-label": ["Blocks of both sides", ...changeLines(cases, row)].join(", "),
          })
        : null,
      timed && kept ? element("p", { class: "note", id: "case-blocks-summary" }) : null,
      timed && !kept
        ? element(
            "p",
            { class: "note" },
            "The blocks are left out to keep the page small. The report of each run has them.",
          )
        : null,
      element("h3", {}, "Both sides"),
      ...this.sides(row),
      ...this.links(row),
      ...this.settings(row),
    ];
  }

  /** The case's change, in a sentence. */
  changeText(row) {
    const { cases } = this;
    if (!hasRatio(cases, row)) return "Not compared.";
    const change = factor(cases, "change", row);
    const ends = ["low", "high"].map((name) => formatChange(factor(cases, name, row))).join(" to ");
    const times = ["base_s", "new_s"].map((name) => formatSeconds(cases.value(name, row))).join(" -> ");
    return `${formatChange(change)} (${ends}): ${times} per iteration.`;
  }

  figures(row) {
    const { cases } = this;
    const names = ["change", "median_change", "noise", "threshold", "q", "processes", "blocks"];
    const shown = names.filter((name) => cases.value(name, row) !== null);
    if (!shown.length) return null;
    return element(
      "dl",
      { class: "case-figures" },
      shown.map((name) => {
        const { heading, about, unit } = cases.spec.get(name);
        const text = name.endsWith("change")
          ? formatChange(factor(cases, name, row))
          : `${cases.text(name, row)} ${unit}`.trim();
        return element("div", { title: about }, element("dt", {}, heading), element("dd", {}, text));
      }),
    );
  }

  /** The groups that the case belongs to. */
  groups(row) {
    const own = this.cases.changedGroups.flatMap((group, at) => (group.cases.includes(row) ? [[group, at]] : []));
    if (!own.length) return [];
    const links = own.map(([group, at]) =>
      element(
        "a",
        { href: linkTo(`only=group:${at}`), dataset: { only: `group:${at}` } },
        `${group.text} (${group.cases.length})`,
      ),
    );
    return [element("h3", {}, "Changed with"), element("p", { class: "case-links", id: "case-groups" }, links)];
  }

  /** Tables of both sides, with a row for each figure that one of them has: what differs, and the rest folded. */
  sides(row) {
    const { cases } = this;
    const common = cases.specs.filter(({ name }) => name.startsWith("base_") && name !== "base_s");
    const extra = cases.specs.filter(
      ({ name }) => name.startsWith("new_") && name !== "new_s" && !cases.spec.has(name.replace("new_", "base_")),
    );
    const names = [...common, ...extra].map(({ name }) => name.replace(/^(base|new)_/, ""));
    const cell = (side, name) => {
      const column = cases.spec.get(`${side}_${name}`);
      if (!column || cases.value(column.name, row) === null) return "-";
      if (name.endsWith("_s")) return formatSeconds(cases.value(column.name, row), 4);
      return `${cases.text(column.name, row)} ${column.unit}`.trim();
    };
    const body = names
      .map((name) => [name, ...SIDES.map((side) => cell(side, name))])
      .filter(([, base, other]) => base !== "-" || other !== "-")
      .map(([name, base, other]) => {
        const { heading, about } = cases.spec.get(`base_${name}`) ?? cases.spec.get(`new_${name}`);
        return element(
          "tr",
          { class: base === other ? null : "differs", dataset: { name } },
          element("th", { scope: "row", title: about }, heading.replace(/^(base|new) /, "")),
          element("td", {}, base),
          element("td", {}, other),
        );
      });
    const table = (id, label, rows) =>
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
        element(
          "table",
          { class: "plain", id },
          element(
            "thead",
            {},
            element("tr", {}, element("td", {}), ...SIDES.map((side) => element("th", { scope: "col" }, side))),
          ),
          element("tbody", {}, rows),
        ),
      );
    const [differing, same] = [true, false].map((differs) =>
      body.filter((each) => (each.className === "differs") === differs),
    );
    const fold = element("summary", {}, `The same on both sides (${same.length})`);
    return [
      differing.length ? table("case-sides", "What differs", differing) : element("p", {}, "Nothing else differs."),
      same.length ? element("details", {}, fold, table("case-same", "The same on both sides", same)) : null,
    ];
  }

  /** Links to the case in each side's own report, where that is beside this page. */
  links(row) {
    const id = this.cases.value("case_id", row);
    const links = this.reports.flatMap((file, at) =>
      file ? [element("a", { href: `${file}#case=${id}` }, `This case in the report of ${SIDES[at]}`)] : [],
    );
    return links.length ? [element("p", { class: "case-links", id: "case-reports" }, links)] : [];
  }

  /** The settings that vary among the cases, and the case's id. */
  settings(row) {
    const { cases } = this;
    const names = new Set([...this.cases.head.settings, "case_id"]);
    const shown = cases.specs.filter(({ name }) => names.has(name) && cases.value(name, row) !== null);
    return [
      element("h3", {}, "The case"),
      element(
        "dl",
        { class: "facts" },
        shown.map(({ name, heading, about }) =>
          element("div", { title: about }, element("dt", {}, heading), element("dd", {}, cases.text(name, row))),
        ),
      ),
    ];
  }

  async draw(row) {
    const plot = document.getElementById("case-blocks");
    if (!plot) return;
    if (!globalThis.Plotly) await runPacked("plotly");
    const blocks = await this.blocks();
    if (this.row !== row || !plot.isConnected) return; // another case was opened meanwhile
    const look = { theme: theme(), width: plot.clientWidth, height: 300 };
    const { traces, layout, summary } = sidesOfCase(this.cases, blocks, row, look);
    plot.style.height = `${layout.height}px`;
    await globalThis.Plotly.react(plot, traces, layout, { displayModeBar: false });
    document.getElementById("case-blocks-summary").textContent = summary;
    plot.dataset.drawn = look.theme;
  }
}
