// The page is complete without scripts. This adds the interactive table, the pictures and the pages of cases.

import { CasePage } from "./casepage.js";
import { Blocks, Cases } from "./cases.js";
import { followCases, showCases } from "./caseview.js";
import { ExplainPage } from "./explain_page.js";
import { formatCount } from "./format.js";
import { readPayload } from "./load.js";
import { choose } from "./pictures.js";
import { RUN_PICTURES } from "./run_pictures.js";
import { begin } from "./shell.js";
import { viewed, whenViewed } from "./view.js";

/** The rows of a link `finding:3`, `exceptions:3` or `rows:1,2,3`: {rows, text}, or null for all rows. */
function selection(cases, link) {
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
  if (!finding || !["finding", "exceptions"].includes(kind)) return null;
  const rows = kind === "finding" ? finding.cases : finding.exceptions;
  const name = kind === "finding" ? "the cases behind" : "the cases with the opposite of";
  return { rows: new Set(rows), text: `${name} “${finding.sentence}”` };
}

async function start() {
  const cases = new Cases(await readPayload("data"));
  let blocksRead = null;
  const blocks = () => {
    blocksRead ??= readPayload("blocks").then((payload) => new Blocks(payload));
    return blocksRead;
  };
  const shown = await showCases({
    cases,
    blocks,
    selection: (link) => selection(cases, link),
    kinds: RUN_PICTURES,
    casePage: (shared) => new CasePage(shared),
  });
  const explained = new ExplainPage(cases);
  whenViewed("explain", (id) => explained.show(id));
  followCases(shown, ({ dataset }) => {
    if (dataset.explain !== undefined) {
      shown.page.close();
      explained.open(dataset.explain);
    } else if (dataset.axis) choose(shown.pictures, "explore", { x: dataset.axis });
    else if (dataset.row) shown.page.open(Number(dataset.row));
    else return false;
    return true;
  });
  explained.show(viewed("explain"));
}

begin(start);
