// The cases of the run, column by column, for pictures and tables. No drawing here.

import { formatCell, formatNumber } from "./format.js";

/** Payloads hold ratios to a floor as steps of their logarithm (convbench/report/pages/payload.py). */
const RATIO_STEP = 1e-4;
const NO_RATIO = 65535;

/** One process may be slow as a whole, so it shows no difference (analysis/findings/pairs.py). */
const LEAST_PROCESSES = 2;

/** All cases of the run; a row is a case's position in the sweep's order. */
export class Cases {
  constructor({ head, array }) {
    this.head = head;
    /** The settings of the problem; all others are settings of execution. */
    this.problem = head.problem;
    this.length = head.length;
    /** The word for the leading times of all cases: floor, median, or time where some have one and some the other. */
    this.lead = head.lead;
    /** The column that cases are ranked by. */
    this.time = { floor: "floor_s", median: "typical_s", time: "time_s" }[head.lead];
    this.specs = head.columns;
    this.spec = new Map(head.columns.map((column) => [column.name, column]));
    this.columns = new Map();
    for (const [name, entry] of Object.entries(head.cases)) {
      const codes = entry.codes ? array(entry.codes) : null;
      this.columns.set(name, { numbers: entry.array ? array(entry.array) : null, values: entry.values, codes });
    }
    this.axes = head.axes.map((axis) => ({
      ...axis,
      codes: array(axis.codes),
      written: axis.written ? array(axis.written) : null, // with a code for the word that the sweep writes
    }));
    this.axis = new Map(this.axes.map((axis) => [axis.name, axis]));
    this.findings = head.findings.map(({ cases, ...rest }) => ({ ...rest, cases: array(cases) }));
    /** Two values of a setting each, and where their pairs begin among all pairs. */
    this.contrasts = [];
    let start = 0;
    for (const contrast of head.contrasts ?? []) {
      this.contrasts.push({ ...contrast, start });
      start += contrast.pairs;
    }
    this.first = this.contrasts[head.first] ?? null;
    /** Each network with each combination of settings: its cases, the layer of each, and how often each counts. */
    this.ways = (head.ways ?? []).map(({ text, ...columns }) => {
      const [rows, layers, often] = [columns.rows, columns.layers, columns.often].map((entry) => array(entry));
      const parts = [...rows].map((row, i) => ({ row, layer: layers[i], often: often[i] }));
      return { text: text || "as measured", parts };
    });
    this.roofs = head.roofs ? array(head.roofs) : null;
    /** Rows whose threads waited for cores: no comparison and no mean has them. */
    this.waiting = new Set(head.waiting ? array(head.waiting) : []);
    this.grouped = new Map();
    this.rowOf = new Map();
    for (let row = 0; row < this.length; row += 1) this.rowOf.set(this.value("case_id", row), row);
    /** All rows in the order of the table. */
    this.order = head.order ? array(head.order) : this.rows();
    this.ranked = this.rows().filter((row) => this.value("status", row) === "passed" && this.value(this.time, row) > 0);
  }

  /** All rows. */
  rows() {
    return Array.from({ length: this.length }, (_, row) => row);
  }

  has(name) {
    return this.columns.has(name);
  }

  /** The leading figure of a row: floor, or median on a device (convbench/model/lead.py). */
  leads(row) {
    if (this.lead !== "time") return this.lead;
    return this.value("device", row) === "cpu" ? "floor" : "median";
  }

  /** A cell: a number, text, true or false; null where there is none. */
  value(name, row) {
    const column = this.columns.get(name);
    if (!column) return null;
    if (column.numbers) {
      const number = column.numbers[row];
      return Number.isNaN(number) ? null : number;
    }
    const code = column.codes ? column.codes[row] : 0;
    return code < 0 ? null : column.values[code];
  }

  /** A cell's text in its column. Texts of columns with few different values are made once. */
  text(name, row) {
    const column = this.columns.get(name);
    if (!column || column.numbers) return this.written(name, this.value(name, row));
    const code = column.codes ? column.codes[row] : 0;
    column.texts ??= new Map();
    let text = column.texts.get(code);
    if (text === undefined) {
      text = this.written(name, code < 0 ? null : column.values[code]);
      column.texts.set(code, text);
    }
    return text;
  }

  written(name, value) {
    if (name === "status") return value === null ? "not reached" : value.replaceAll("_", " ");
    return formatCell(typeof value === "boolean" ? String(value) : value, this.spec.get(name));
  }

  /**
   * A number for each row. Rows with the same number agree in every axis except those named. Settings that are not swept
   * are the same in all rows.
   */
  groups(except) {
    const names = this.axes.map(({ name }) => name);
    const key = names.filter((name) => except.includes(name)).join(" ");
    if (!this.grouped.has(key)) this.grouped.set(key, this.groupsNow(except));
    return this.grouped.get(key);
  }

  groupsNow(except) {
    const groups = new Int32Array(this.length);
    let count = 1;
    for (const axis of this.axes) {
      if (except.includes(axis.name)) continue;
      const numbers = new Map();
      const size = axis.texts.length + 1;
      const codes = axis.written ?? axis.codes;
      for (let row = 0; row < this.length; row += 1) {
        const key = groups[row] * size + codes[row];
        let number = numbers.get(key);
        if (number === undefined) {
          number = numbers.size;
          numbers.set(key, number);
        }
        groups[row] = number;
      }
      count = numbers.size;
    }
    return { groups, count };
  }

  /** Whether the row's time may be compared: several processes measured it, and its threads did not wait for cores. */
  isComparable(row) {
    return this.value("processes", row) >= LEAST_PROCESSES && !this.waiting.has(row);
  }

  /** The roof of compute that a row belongs to; null where none was measured for it. */
  roofOf(row) {
    const code = this.roofs?.[row] ?? -1;
    return code < 0 ? null : this.head.ceilings[code];
  }

  /** The value of an axis in a row, as text. */
  axisText(axis, row) {
    return axis.texts[axis.codes[row]];
  }
}

/** Ratios of pairs are steps of this size of their logarithm (convbench/report/pages/payload.py). */
const PAIR_STEP = 5e-4;

/** The matched pairs of all contrasts. */
export class Pairs {
  constructor({ head, array }) {
    for (const [name, entry] of Object.entries(head)) this[name] = array(entry);
  }

  /**
   * The pairs of a contrast: {base, other, ratio, noise, verdict, isOpen}, `ratio` the time of other over base. `noise`
   * is infinite where one process timed both. `isOpen` is true where too few processes did to judge more.
   */
  of({ start, pairs }) {
    return Array.from({ length: pairs }, (_, i) => {
      const at = start + i;
      const noise = this.noise[at] === NO_RATIO ? Number.POSITIVE_INFINITY : Math.expm1(this.noise[at] * RATIO_STEP);
      const ratio = Math.exp(this.ratio[at] * PAIR_STEP);
      const judged = { verdict: this.verdict[at], isOpen: this.open[at] === 1 };
      return { base: this.base[at], other: this.other[at], ratio, noise, ...judged };
    });
  }
}

/** The blocks of all cases: when each ran, and its minimum, median and probe as ratios. */
export class Blocks {
  constructor({ head, array }) {
    this.seconds = head.seconds;
    const counts = array(head.counts);
    this.starts = new Int32Array(counts.length + 1);
    for (let row = 0; row < counts.length; row += 1) this.starts[row + 1] = this.starts[row] + counts[row];
    this.steps = { minimum: array(head.minimum), median: array(head.median), probe: array(head.probe) };
    this.times = array(head.times);
    this.processes = array(head.processes);
    /** 1 where the device had lowered its clock for heat or power. */
    this.throttled = array(head.throttled);
  }

  /** The positions of a case's blocks. */
  of(row) {
    return Array.from({ length: this.starts[row + 1] - this.starts[row] }, (_, i) => this.starts[row] + i);
  }

  /** A block's minimum, median or probe as a ratio to the floor; null where it was not measured. */
  ratio(name, block) {
    const steps = this.steps[name][block];
    return steps === NO_RATIO ? null : Math.exp(steps * RATIO_STEP);
  }

  /** The block's leading time as a ratio to the floor. */
  leading(cases, row, block) {
    return this.ratio(cases.leads(row) === "floor" ? "minimum" : "median", block);
  }

  /** Seconds from the start of the run. */
  time(block) {
    return (this.times[block] / 65535) * this.seconds;
  }
}

/** The geometric mean of some positive numbers. */
export function geometricMean(numbers) {
  let sum = 0;
  for (const number of numbers) sum += Math.log(number);
  return Math.exp(sum / numbers.length);
}

/** The median of some numbers: the mean of the middle two where their count is even. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** A median is given of this many ratios or more; the findings do the same (analysis/findings/sizes.py). */
const MEDIAN_LEAST = 8;

const writtenRatio = (ratio) => `${formatNumber(ratio, 3, 0)}x`;

/** The range of some ratios: `1.20x to 3.10x`, or one number where both ends are written alike. */
export function rangeOf(ratios) {
  const [low, high] = [Math.min(...ratios), Math.max(...ratios)].map(writtenRatio);
  return low === high ? low : `${low} to ${high}`;
}

/** The median of many different ratios, on a logarithmic scale as in the findings; null of few. */
export function medianOf(ratios) {
  const differ = rangeOf(ratios).includes(" to ");
  return differ && ratios.length >= MEDIAN_LEAST ? writtenRatio(Math.exp(median(ratios.map(Math.log)))) : null;
}

/** At most so many of the items, evenly chosen, the first and the last among them. */
export function thinned(items, most) {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]);
}
