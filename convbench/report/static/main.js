// The page without scripts is whole; this adds the interactive table, the pictures, the pages of cases.

import { CasePage } from "./casepage.js";
import { Blocks, Cases } from "./cases.js";
import { mountExplainer } from "./explainer.js";
import { formatCount } from "./format.js";
import { readPayload } from "./load.js";
import { Measured, problemOf } from "./measured.js";
import { choose, Pictures } from "./pictures.js";
import { RUN_PICTURES } from "./run_pictures.js";
import { begin, goTo, keepOver, showThemes } from "./shell.js";
import { showTable } from "./table.js";
import { followLinks, remember, viewed, whenViewed } from "./view.js";

/** Milliseconds after which a reader who types has paused. */
const TYPING_MS = 250;

/** The rows that a link keeps: `finding:3`, `exceptions:3`, `rows:1,2,3`; {rows, text} or null where it keeps all. */
function selection(cases, told) {
  const [kind, rest] = (told ?? "").split(/:(.*)/s);
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
  const name = kind === "finding" ? "the cases behind" : "the cases to the contrary of";
  return { rows: new Set(rows), text: `${name} “${finding.sentence}”` };
}

/** What the case's own page, links, dots and cells do. */
async function start() {
  const cases = new Cases(await readPayload("data"));
  let blocksRead = null;
  const blocks = () => {
    blocksRead ??= readPayload("blocks").then((payload) => new Blocks(payload));
    return blocksRead;
  };
  const file = document.querySelector("title").dataset.file;
  let pictures = null;
  const pictureRows = () => {
    if (!document.getElementById("only-shown").checked) return cases.ranked;
    const shown = new Set(table.rows());
    return cases.ranked.filter((row) => shown.has(row));
  };
  let waiting = null;
  const table = await showTable(cases, file, () => {
    if (!document.getElementById("only-shown").checked) return;
    clearTimeout(waiting); // a reader who types is let finish
    waiting = setTimeout(() => pictures?.refresh(), TYPING_MS);
  });

  const keep = keepOver(table, (told) => selection(cases, told));
  const toTable = (told) => {
    keep(told);
    goTo(document.getElementById("cases"));
  };

  const page = new CasePage({
    cases,
    blocks,
    ordered: table.ordered,
    onOpen: (row, entry) => {
      const id = cases.value("case_id", row);
      if (viewed("case") !== id) remember("case", id, { entry });
    },
    onClose: () => remember("case", null),
    explain: (row) => {
      remember("layer", null);
      explainer.show(problemOf(cases, row), executionOf(row));
      goTo(document.getElementById("explain"));
    },
  });
  const open = (row) => page.open(row);
  const openId = (id) => {
    if (cases.rowOf.has(id)) open(cases.rowOf.get(id));
    else page.close();
  };

  pictures = new Pictures({
    pictures: RUN_PICTURES,
    cases,
    blocks,
    rows: pictureRows,
    openCase: open,
    openRows: (rows) => toTable(`rows:${rows.join(",")}`),
  });
  const only = document.getElementById("only-shown");
  only.checked = viewed("pictures") === "shown";
  only.addEventListener("change", () => {
    remember("pictures", only.checked ? "shown" : null);
    pictures.refresh();
  });

  const executionOf = (row) =>
    Object.fromEntries(
      ["direction", "dtype", "autocast", "memory_format"].map((name) => [name, cases.value(name, row)]),
    );
  const measured = new Measured(cases);
  const first = cases.rowOf.get(viewed("case")) ?? cases.ranked[0] ?? 0;
  const explainer = cases.length
    ? mountExplainer(document.getElementById("explainer"), {
        problem: problemOf(cases, first),
        execution: executionOf(first),
        measured,
        text: viewed("layer"),
        onChange: (text) => remember("layer", text || null),
      })
    : null;

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens the link itself
    event.preventDefault();
    const target = link.getAttribute("href").slice(1);
    if (!target.includes("="))
      goTo(document.getElementById(target)); // a place: what is viewed stays in the address
    else if (link.dataset.only) toTable(link.dataset.only);
    else if (link.dataset.axis) choose(pictures, "explore", { x: link.dataset.axis });
    else if (link.dataset.row) open(Number(link.dataset.row));
    else openId(decodeURIComponent(target.slice("case=".length)));
  });
  whenViewed("case", openId);
  followLinks();
  if (viewed("only")) keep(viewed("only"));
  showThemes(() => {
    pictures.recolour();
    page.redraw();
  });
  if (viewed("case")) openId(viewed("case"));
  pictures.drawRest();
}

begin(start);
