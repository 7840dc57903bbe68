// The case of the run that is nearest to a convolution of the reader's choice.

/** The problem of a case as geometry.js has it. */
export function problemOf(cases, row) {
  const value = (name) => cases.value(name, row);
  const sides = (text) => (/^\d+x\d+$/.test(text) ? text.split("x").map(Number) : text);
  return Object.fromEntries(cases.problem.map((name) => [name, sides(value(name))]));
}

const sidesText = (value) => (Array.isArray(value) ? value.join("x") : String(value));
const wordOf = (name, value) => (name === "batch_size" && value === null ? "unbatched" : sidesText(value));

/** The distance of two problems: 1 for each setting that differs, plus the distance of its numbers. */
export function distance(one, other) {
  let sum = 0;
  for (const [name, value] of Object.entries(one)) {
    if (sidesText(value) === sidesText(other[name])) continue;
    const [a, b] = [value, other[name]].map((each) => (Array.isArray(each) ? each : [each]));
    const numbers = [...a, ...b].every((each) => typeof each === "number");
    sum += 1 + (numbers ? Math.max(...a.map((each, i) => Math.abs(Math.log((each + 1) / (b[i] + 1))))) : 1);
  }
  return sum;
}

/** Finds the nearest problem of the run; each different problem is compared once. */
export class Measured {
  constructor(cases) {
    this.cases = cases;
    const execution = cases.axes.filter((axis) => !cases.problem.includes(axis.name));
    const { groups } = cases.groups(execution.map(({ name }) => name));
    const rows = new Map();
    for (const row of [...cases.ranked, ...cases.rows()]) if (!rows.has(groups[row])) rows.set(groups[row], row);
    this.problems = [...rows.values()].map((row) => ({ row, problem: problemOf(cases, row) }));
  }

  /** {label, href, row, same, differs} of the nearest case, timed if possible; null where there is none. */
  nearest(problem) {
    let [found, least] = [null, Number.POSITIVE_INFINITY];
    for (const each of this.problems) {
      const far = distance(problem, each.problem);
      if (far < least) [found, least] = [each, far];
    }
    if (!found) return null;
    const differs = Object.keys(problem)
      .filter((name) => sidesText(problem[name]) !== sidesText(found.problem[name]))
      .map((name) => `${name} ${wordOf(name, found.problem[name])} instead of ${wordOf(name, problem[name])}`);
    return {
      row: found.row,
      label: this.cases.value("label", found.row),
      href: `#case=${this.cases.value("case_id", found.row)}`,
      same: least === 0,
      differs: differs.join(", "),
    };
  }
}
