// The page of a comparison: the table, the picture of all ratios, the page of a case.

import { Blocks, Cases } from "./cases.js";
import { followCases, showCases } from "./caseview.js";
import { ComparisonCase } from "./comparison_case.js";
import { COMPARISON_PICTURES, hasRatio } from "./comparison_ratios.js";
import { copyButton } from "./dom.js";
import { readPayload } from "./load.js";
import { begin } from "./shell.js";

/** The rows of a link `verdict:regressed` or `group:3`: {rows, text}, or null for all rows. */
function keptCases(cases, link) {
  const [kind, rest] = (link ?? "").split(/:(.*)/s);
  if (kind === "verdict") {
    const rows = cases.rows().filter((row) => cases.value("verdict", row) === rest);
    return rows.length ? { rows: new Set(rows), text: `the cases that are ${rest}` } : null;
  }
  const group = kind === "group" && /^\d+$/.test(rest ?? "") ? cases.changedGroups[Number(rest)] : null;
  return group ? { rows: new Set(group.cases), text: `the changed cases with ${group.text}` } : null;
}

async function start() {
  const payload = await readPayload("data");
  const cases = new Cases(payload);
  const { head, array } = payload;
  cases.ranked = cases.rows().filter((row) => hasRatio(cases, row));
  cases.changedGroups = head.groups.map((group) => ({ ...group, cases: [...array(group.cases)] }));
  cases.processWord = head.process;
  let blocksRead = null;
  const blocks = () => {
    blocksRead ??= readPayload("blocks").then(({ head: sides, array: arrayOf }) => ({
      base: new Blocks({ head: sides.base, array: arrayOf }),
      new: new Blocks({ head: sides.new, array: arrayOf }),
    }));
    return blocksRead;
  };
  const line = document.getElementById("line");
  line.append(copyButton(() => line.querySelector("pre").textContent));

  const shown = await showCases({
    cases,
    blocks,
    selection: (link) => keptCases(cases, link),
    kinds: COMPARISON_PICTURES,
    casePage: (shared) => new ComparisonCase({ ...shared, packed: head.packed, reports: head.reports }),
  });
  followCases(shown);
}

begin(start);
