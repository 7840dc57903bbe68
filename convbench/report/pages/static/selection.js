// Which cases a link selects: those behind a finding, or some rows.

import { formatCount } from "./format.js";

/** The rows of a link `finding:3` or `rows:1,2,3`: {rows, text}, or null for all rows. */
export function selection(cases, link) {
  const [kind, rest] = (link ?? "").split(/:(.*)/s);
  if (kind === "rows") {
    const rows = new Set(
      (rest ?? "")
        .split(",")
        .filter((row) => /^\d+$/.test(row))
        .map(Number),
    );
    for (const row of rows) if (row >= cases.length) rows.delete(row);
    return rows.size ? { rows, text: `the ${formatCount(rows.size)} cases that you chose` } : null;
  }
  const finding = /^\d+$/.test(rest ?? "") ? cases.findings[Number(rest)] : null;
  if (!finding || kind !== "finding") return null;
  return { rows: new Set(finding.cases), text: `the cases behind “${finding.sentence}”` };
}
