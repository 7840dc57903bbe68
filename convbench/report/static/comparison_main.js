// The page of a comparison: its table, the picture of all ratios, the page of a case.

import { Blocks, Cases } from "./cases.js";
import { ComparisonCase } from "./comparison_case.js";
import { COMPARISON_PICTURES, hasRatio } from "./comparison_ratios.js";
import { copyButton } from "./dom.js";
import { readPayload } from "./load.js";
import { Pictures } from "./pictures.js";
import { begin, goTo, keepOver, showThemes } from "./shell.js";
import { showTable } from "./table.js";
import { followLinks, remember, viewed, whenViewed } from "./view.js";

/** Milliseconds after which a reader who types has paused. */
const PAUSE_MS = 250;

/** What a link keeps: `verdict:regressed` or `group:3`; {rows, text}, or null where it keeps all. */
function keptCases(cases, told) {
  const [kind, rest] = (told ?? "").split(/:(.*)/s);
  if (kind === "verdict") {
    const rows = cases.rows().filter((row) => cases.value("verdict", row) === rest);
    return rows.length ? { rows: new Set(rows), text: `the cases that are ${rest}` } : null;
  }
  const group = kind === "group" && /^\d+$/.test(rest ?? "") ? cases.groupsTold[Number(rest)] : null;
  return group ? { rows: new Set(group.cases), text: `the changed cases with ${group.text}` } : null;
}

async function start() {
  const payload = await readPayload("data");
  const cases = new Cases(payload);
  const { head, array } = payload;
  cases.ranked = cases.rows().filter((row) => hasRatio(cases, row));
  cases.groupsTold = head.groups.map((group) => ({ ...group, cases: [...array(group.cases)] }));
  cases.passWord = head.pass;
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

  const only = document.getElementById("only-shown");
  only.checked = viewed("pictures") === "shown";
  const pictureRows = () => {
    if (!only.checked) return cases.ranked;
    const shown = new Set(table.rows());
    return cases.ranked.filter((row) => shown.has(row));
  };
  let pictures = null;
  let waiting = null;
  const table = await showTable(cases, document.querySelector("title").dataset.file, () => {
    if (!only.checked) return;
    clearTimeout(waiting); // a reader who types is let finish
    waiting = setTimeout(() => pictures?.refresh(), PAUSE_MS);
  });
  const keep = keepOver(table, (told) => keptCases(cases, told));
  const toTable = (told) => {
    keep(told);
    goTo(document.getElementById("cases"));
  };
  const page = new ComparisonCase({
    cases,
    blocks,
    packed: head.packed,
    reports: head.reports,
    ordered: table.ordered,
    onOpen: (row, entry) => {
      const id = cases.value("case_id", row);
      if (viewed("case") !== id) remember("case", id, { entry });
    },
    onClose: () => remember("case", null),
  });
  const openId = (id) => {
    if (cases.rowOf.has(id)) page.open(cases.rowOf.get(id));
    else page.close();
  };
  pictures = new Pictures({
    pictures: COMPARISON_PICTURES,
    cases,
    blocks,
    rows: pictureRows,
    openCase: (row) => page.open(row),
    openRows: () => {},
  });
  only.addEventListener("change", () => {
    remember("pictures", only.checked ? "shown" : null);
    pictures.refresh();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens the link itself
    event.preventDefault();
    const target = link.getAttribute("href").slice(1);
    if (!target.includes("="))
      goTo(document.getElementById(target)); // a place: what is viewed stays in the address
    else if (link.dataset.only) {
      page.close();
      toTable(link.dataset.only);
    } else openId(decodeURIComponent(target.slice("case=".length)));
  });
  whenViewed("case", openId);
  followLinks();
  if (viewed("only")) keep(viewed("only"));
  showThemes(() => {
    pictures.refresh();
    page.redraw();
  });
  if (viewed("case")) openId(viewed("case"));
  pictures.drawRest();
}

begin(start);
