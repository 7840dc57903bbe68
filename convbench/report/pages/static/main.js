// The page is complete without scripts. This adds the interactive table, the pictures and the pages of cases.

import { CasePage } from "./casepage.js";
import { Blocks, Cases, Pairs } from "./cases.js";
import { followCases, showCases } from "./caseview.js";
import { ExplainPage } from "./explain_page.js";
import { readPayload } from "./load.js";
import { choose } from "./pictures.js";
import { RUN_PICTURES } from "./run_pictures.js";
import { selection } from "./selection.js";
import { begin, goTo } from "./shell.js";
import { remember, viewed, whenViewed } from "./view.js";

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
    sources: { blocks, pairs: async () => new Pairs(await readPayload("pairs")) },
    selection: (link) => selection(cases, link),
    kinds: RUN_PICTURES,
    casePage: (shared) => new CasePage(shared),
  });
  const explained = new ExplainPage(cases);
  whenViewed("explain", (id) => explained.show(id));
  const table = document.querySelector("#picture-ratio details");
  const showPairs = ({ axis, values }) => {
    shown.page.close();
    table.open = true;
    choose(shown.pictures, "ratio", { axis, values });
  };
  if (table) {
    table.addEventListener("toggle", () => remember("pairs", table.open ? "shown" : null));
    table.open = viewed("pairs") === "shown";
    if (table.open) goTo(document.getElementById("picture-ratio"));
  }
  if (cases.length === 1) shown.page.openIn(document.getElementById("single"));
  followCases(shown, ({ dataset }) => {
    if (dataset.explain !== undefined) {
      shown.page.close();
      explained.open(dataset.explain);
    } else if (dataset.contrast) showPairs(cases.contrasts[dataset.contrast]);
    else if (dataset.row) shown.page.open(Number(dataset.row));
    else return false;
    return true;
  });
  explained.show(viewed("explain"));
}

begin(start);
