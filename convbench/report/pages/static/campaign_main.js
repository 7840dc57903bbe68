// The page of a campaign: the table of cases, the pictures of its machines, the page of a case.

import { CampaignCase } from "./campaign_case.js";
import { CAMPAIGN_PICTURES } from "./campaign_pictures.js";
import { Cases } from "./cases.js";
import { followCases, showCases } from "./caseview.js";
import { readPayload } from "./load.js";
import { choose } from "./pictures.js";
import { selection } from "./selection.js";
import { begin } from "./shell.js";

/** Add to the cases what only a campaign has: its machines, the comparisons of settings, the best machine of a row. */
function withMachines(cases, { head, array }) {
  cases.machines = head.machines;
  cases.dtypes = head.dtypes.values;
  cases.dtypeCodes = array(head.dtypes.codes);
  cases.across = head.across.map((one) => ({ ...one, bases: array(one.bases), others: array(one.others) }));
  const best = array(head.best);
  cases.best = (row) => best[row];
  cases.ranked = cases.rows().filter((row) => cases.best(row) >= 0);
  return cases;
}

async function start() {
  const payload = await readPayload("data");
  const cases = withMachines(new Cases(payload), payload);
  const pairs = async () => {
    const { head, array } = await readPayload("pairs");
    return head.across.map((one) =>
      Object.fromEntries(Object.entries(one).map(([name, entry]) => [name, array(entry)])),
    );
  };
  const shown = await showCases({
    cases,
    blocks: null,
    sources: { pairs },
    selection: (link) => selection(cases, link),
    kinds: CAMPAIGN_PICTURES,
    casePage: (shared) => new CampaignCase(shared),
  });
  followCases(shown, ({ dataset }) => {
    if (!dataset.contrast) return false;
    shown.page.close();
    choose(shown.pictures, "across", { values: cases.across[Number(dataset.contrast)].values });
    return true;
  });
}

begin(start);
