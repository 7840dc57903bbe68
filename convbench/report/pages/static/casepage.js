// One case: its numbers, its blocks, its check, what ran, similar cases, and how to run it again.

import { CaseDialog } from "./casedialog.js";
import { baseLayout, histogram, logAxis, plainAxis } from "./charts.js";
import { palette, paper, theme } from "./colours.js";
import { copyButton, element } from "./dom.js";
import { capitalised, formatNumber, formatSeconds, formatSi } from "./format.js";
import { runPacked } from "./load.js";
import { commandsOf, sweepOf } from "./rerun.js";
import { linkTo } from "./view.js";
import { nearestFaster } from "./why.js";

/** Unit roundoff of each dtype and precision: half the distance from 1 to the next number. */
const ROUNDOFF = { float64: 53, float32: 24, float16: 11, bfloat16: 8, ieee: 24, tf32: 11, bf16: 8 };
/** Columns that the page of a case shows in other places. */
const ELSEWHERE = new Set(["label", "case_id", "status", "reason", "name", "yaml"]);

/** The precision of a float32 layer; on a device where torch does not say, it may be TF32 (worker/verify/tolerances.py). */
function usedPrecision(cases, row) {
  return cases.value("resolved_precision", row) ?? (cases.leads(row) === "floor" ? "ieee" : "tf32");
}

/** The result of the check, in a sentence. */
export function checkText(cases, row) {
  const value = (name) => cases.value(name, row);
  const status = value("status");
  if (status === "failed") return `Wrong: ${value("reason")}`;
  if (status === "imprecise") return `Right, with less precision than requested: ${value("reason")}`;
  if (value("method") === null) return "It was not checked, because it did not run.";
  const how =
    value("method") === "exact"
      ? "Every element was exact on small integers, whose sum is the same in every order of summation."
      : "Its kernel is not exact on integers (Winograd, FFT), so the norm of its error was checked.";
  const dtype = value("autocast") === "none" ? value("dtype") : value("autocast");
  const bits = ROUNDOFF[dtype === "float32" ? usedPrecision(cases, row) : dtype] ?? ROUNDOFF.float32;
  const error = value("max_error");
  if (error === null) return how;
  const share = error * 2 ** -bits;
  return (
    `${how} On the timed data the largest error was ${formatNumber(error, 2, 0)} units of roundoff (2^-${bits}) of its bound. ` +
    `The bound is the sum |x||w| + |b|, and the error was ${share === 0 ? "0" : share.toExponential(1)} times it.`
  );
}

/** {axis, rows} for each swept setting: the cases that differ in it alone, and this case. */
export function neighbours(cases, row) {
  return cases.axes.flatMap((axis) => {
    const { groups } = cases.groups([axis.name]);
    const rows = cases.rows().filter((other) => groups[other] === groups[row]);
    rows.sort((a, b) => axis.codes[a] - axis.codes[b]);
    return rows.length > 1 ? [{ axis, rows }] : [];
  });
}

/** Another case's time beside this one: `1.31x slower`, or that the difference is within the spread. */
export function comparison(cases, row, other) {
  const [own, its] = [cases.value(cases.time, row), cases.value(cases.time, other)];
  if (row === other) return "this case";
  if (own === null || its === null) return cases.text("status", other);
  const [waited] = [row, other].filter((each) => cases.waiting.has(each));
  if (waited !== undefined)
    return `not compared: threads of ${waited === row ? "this case" : "that case"} waited for cores`;
  if (![row, other].every((each) => cases.isComparable(each)))
    return "not judged: only one process measured one of them";
  const ratio = its / own;
  const spread = Math.max(cases.value("spread", row) ?? 0, cases.value("spread", other) ?? 0);
  if (Math.abs(Math.log(ratio)) <= Math.log1p(spread)) return "equal within the spread";
  return ratio > 1 ? `${formatNumber(ratio, 3, 0)}x slower` : `${formatNumber(1 / ratio, 3, 0)}x faster`;
}

/** The columns of a case's times, the leading one first. */
function timesOf(cases) {
  return (
    { floor: ["floor_s", "typical_s"], median: ["typical_s", "floor_s"] }[cases.lead] ?? [
      "time_s",
      "leads",
      "floor_s",
      "typical_s",
    ]
  );
}

/** {traces, layout} of a case's blocks in the order of time, with their distribution beside them. */
export function blocksPicture(cases, blocks, row, look) {
  const ink = paper(look.theme);
  const colours = palette(look.theme, 2, false);
  const layout = baseLayout(look);
  const floor = cases.value("floor_s", row);
  const own = blocks.of(row);
  const seconds = (name, block) => (blocks.ratio(name, block) ?? Number.NaN) * floor;
  const minima = own.map((block) => seconds("minimum", block));
  const medians = own.map((block) => seconds("median", block));
  const byMedian = cases.leads(row) === "median";
  const times = own.map((block) => blocks.time(block));
  const processes = own.map((block) => blocks.processes[block] + 1);
  const lowered = own.map((block) => blocks.throttled[block]);
  const dots = (name, y, marker) => ({
    type: "scatter",
    mode: "markers",
    name,
    x: times,
    y,
    text: y.map(
      (value, i) =>
        `process ${processes[i]}, ${formatNumber(times[i], 3, 0)} s<br>${name} ${formatSeconds(value, 4)}` +
        (lowered[i] ? "<br>the device had lowered its clock" : ""),
    ),
    hovertemplate: "%{text}<extra></extra>",
    marker,
    showlegend: true,
  });
  const traces = [
    dots("minimum", minima, { color: colours[0], size: 7, symbol: lowered.map((one) => (one ? "x" : "circle")) }),
    dots("median", medians, {
      color: colours[1],
      size: 7,
      symbol: lowered.map((one) => (one ? "x-open" : "circle-open")),
    }),
    {
      type: "scatter",
      mode: "lines",
      name: "probe, scaled to the floor",
      x: times,
      y: own.map((block) => seconds("probe", block)),
      line: { color: ink.muted, width: 1, dash: "dot" },
      hoverinfo: "skip",
      showlegend: true,
    },
    {
      type: "scatter",
      mode: "lines",
      ...histogram((byMedian ? medians : minima).filter((value) => value > 0)),
      xaxis: "x2",
      line: { color: colours[byMedian ? 1 : 0], width: 1, shape: "vh" },
      fill: "tozerox",
      hoverinfo: "skip",
      showlegend: false,
    },
  ];
  const narrow = look.width < 520;
  layout.showlegend = true;
  layout.margin.t = narrow ? 66 : 34;
  layout.xaxis = { ...plainAxis(ink), showgrid: false, domain: [0, 0.76] };
  layout.xaxis.title = { ...layout.xaxis.title, text: "Seconds since the run began" };
  layout.xaxis2 = { ...plainAxis(ink), showgrid: false, domain: [0.8, 1], anchor: "y", nticks: 3, tickformat: "d" };
  layout.xaxis2.title = { ...layout.xaxis2.title, text: "Blocks" };
  layout.yaxis = logAxis(
    ink,
    [...minima, ...medians].filter((value) => value > 0),
    (value) => formatSeconds(value, 3),
  );
  const [, high] = layout.yaxis.range;
  const low = Math.log10(Math.min(floor, ...minima.filter((value) => value > 0)));
  layout.yaxis.range = [low - Math.max(0.004, 0.05 * (high - low)), high]; // no dot is cut
  return { traces, layout };
}

/** The dialog of a case of a run. */
export class CasePage extends CaseDialog {
  get statusColumn() {
    return "status";
  }

  content(row) {
    const { cases } = this;
    return [
      cases.value("reason", row) ? element("p", { class: "reason" }, cases.value("reason", row)) : null,
      this.figures(row),
      cases.value("floor_s", row) === null ? null : element("h3", {}, "Blocks in the order of time"),
      cases.value("floor_s", row) === null
        ? null
        : element("div", { class: "plot", id: "case-blocks", role: "img", "aria-label": this.blocksText(row) }),
      element("h3", {}, "Check"),
      element("p", { id: "case-check" }, checkText(cases, row)),
      ...this.ran(row),
      ...this.neighbourTable(row),
      element("h3", {}, "Convolution"),
      element(
        "p",
        {},
        `${cases.value("expected_output_shape", row)} numbers out. `,
        element(
          "a",
          { href: linkTo(`explain=${cases.value("case_id", row)}`), dataset: { explain: cases.value("case_id", row) } },
          "Show how it is computed",
        ),
      ),
      element("h3", {}, "Run it again"),
      element(
        "ul",
        { class: "commands" },
        commandsOf(cases, row).map(([command, does]) =>
          element(
            "li",
            {},
            element("code", {}, command),
            " ",
            copyButton(() => command),
            element("span", {}, ` ${does}`),
          ),
        ),
      ),
      element(
        "div",
        { class: "code" },
        element("pre", { tabindex: "0", id: "case-yaml" }, sweepOf(cases, row)),
        copyButton(() => sweepOf(cases, row)),
      ),
      element("h3", {}, "All numbers"),
      this.numbers(row),
    ];
  }

  /** The main figures. */
  figures(row) {
    const { cases } = this;
    const names = [...timesOf(cases), "spread", "support", "tflops", "efficiency", "images_per_second"];
    const shown = names.filter((name) => cases.value(name, row) !== null);
    const text = (name) =>
      name.endsWith("_s")
        ? formatSeconds(cases.value(name, row))
        : `${cases.text(name, row)} ${cases.spec.get(name).unit}`;
    return element(
      "dl",
      { class: "case-figures" },
      shown.map((name) =>
        element(
          "div",
          { title: cases.spec.get(name).about },
          element("dt", {}, cases.spec.get(name).heading),
          element("dd", {}, text(name)),
        ),
      ),
    );
  }

  blocksText(row) {
    const text = (name) => this.cases.text(name, row);
    return `${text("blocks")} blocks in ${text("processes")} processes; floor ${text("floor_s")}, ${this.cases.spec.get("typical_s").heading} ${text("typical_s")} ${this.cases.spec.get("floor_s").unit}`;
  }

  /** The implementation that ran, and its limit. */
  ran(row) {
    const { cases } = this;
    const value = (name) => cases.value(name, row);
    const sentences = [];
    const implementation = value("implementation");
    if (implementation) sentences.push(`torch ran ${implementation}.`);
    if (value("efficiency") !== null) {
      sentences.push(
        `It reaches ${cases.text("efficiency", row)} % of what the machine's roofs allow, which is ${formatSeconds(value("attainable_s"))}. ` +
          `The nearer roof is ${value("bound")}${this.roofText(row)}.`,
      );
    }
    if (value("over_roof")) sentences.push(`It is faster than the roofs allow: ${value("over_roof")}.`);
    if (value("note")) sentences.push(`${value("note")}.`);
    if (!sentences.length) return [];
    const words = Object.entries(cases.head.meanings[implementation] ?? {}).map(([word, text]) =>
      element("div", {}, element("dt", {}, element("code", {}, word)), element("dd", {}, text)),
    );
    return [
      element("h3", {}, "What ran"),
      element("p", { id: "case-ran" }, sentences.join(" ")),
      words.length ? element("dl", { class: "meanings", id: "case-meanings" }, words) : null,
      ...this.faster(row),
    ];
  }

  /** The roof of compute that the case belongs to, in words. */
  roofText(row) {
    const roof = this.cases.roofOf(row);
    return roof ? `; its roof of compute is that of ${roof.name}, ${formatSi(roof.flops_per_s)}FLOP/s` : "";
  }

  /** The nearest case that is faster per FLOP, and what differs. */
  faster(row) {
    const { cases } = this;
    if (!cases.ranked.includes(row) || cases.ranked.length < 2 || !cases.isComparable(row)) return [];
    const found = nearestFaster(cases, row);
    const none = "No case of this run with the same direction and dtype is faster per FLOP.";
    if (!found) return [element("p", { id: "case-faster" }, none)];
    const id = cases.value("case_id", found.row);
    const link = element(
      "a",
      { href: linkTo(`case=${id}`), dataset: { row: found.row } },
      cases.value("label", found.row),
    );
    const ran = [found.row, row].map((each) => cases.value("implementation", each));
    const differs = [...found.differs, ...(ran[0] === ran[1] ? [] : [`implementation ${ran[0]} instead of ${ran[1]}`])];
    const size = `, ${formatNumber(found.ratio, 3, 0)}x the FLOP/s of this case. What differs: ${differs.join("; ")}.`;
    return [element("p", { id: "case-faster" }, "The nearest case that is faster per FLOP: ", link, size)];
  }

  neighbourTable(row) {
    const { cases } = this;
    const found = neighbours(cases, row);
    if (!found.length) return [];
    const body = found.flatMap(({ axis, rows }) =>
      rows.map((other, i) =>
        element(
          "tr",
          { class: other === row ? "own" : null },
          i ? null : element("th", { scope: "rowgroup", rowspan: String(rows.length) }, axis.title),
          element(
            "td",
            {},
            other === row
              ? cases.axisText(axis, other)
              : element(
                  "a",
                  { href: linkTo(`case=${cases.value("case_id", other)}`), dataset: { row: other } },
                  cases.axisText(axis, other),
                ),
          ),
          element(
            "td",
            { class: "number" },
            cases.value(cases.time, other) === null ? "-" : formatSeconds(cases.value(cases.time, other)),
          ),
          element("td", {}, comparison(cases, row, other)),
        ),
      ),
    );
    const head = ["Setting", "Value", capitalised(cases.lead), "Compared with this case"].map((text, i) =>
      element("th", { scope: "col", class: i === 2 ? "number" : null }, text),
    );
    return [
      element("h3", {}, "Cases that differ in one setting"),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Cases that differ in one setting" },
        element(
          "table",
          { class: "plain", id: "case-neighbours" },
          element("thead", {}, element("tr", {}, head)),
          element("tbody", {}, body),
        ),
      ),
    ];
  }

  numbers(row) {
    const { cases } = this;
    const isShown = (name) => !ELSEWHERE.has(name) && (name !== "leads" || cases.lead === "time");
    const shown = cases.specs.filter(({ name }) => isShown(name) && cases.value(name, row) !== null);
    return element(
      "dl",
      { class: "facts", id: "case-numbers" },
      shown.map(({ name, heading, unit, about }) =>
        element(
          "div",
          { dataset: { name } },
          element("dt", {}, heading),
          element("dd", {}, `${cases.text(name, row)} ${unit}`.trim()),
          about && about !== heading ? element("dd", { class: "about" }, about) : null,
        ),
      ),
    );
  }

  async draw(row) {
    const plot = document.getElementById("case-blocks");
    if (!plot) return;
    if (!globalThis.Plotly) await runPacked("plotly");
    const blocks = await this.blocks();
    if (this.row !== row || !plot.isConnected) return; // another case was opened meanwhile
    const look = { theme: theme(), width: plot.clientWidth, height: 300 };
    const { traces, layout } = blocksPicture(this.cases, blocks, row, look);
    plot.style.height = `${layout.height}px`;
    await globalThis.Plotly.react(plot, traces, layout, { displayModeBar: false });
    plot.dataset.drawn = look.theme;
  }
}
