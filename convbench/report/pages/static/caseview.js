// What every page about cases does with them: the table, the pictures that may follow it, the page of one, its links.

import { Pictures } from "./pictures.js";
import { goTo, keepOver, showThemes } from "./shell.js";
import { showTable } from "./table.js";
import { followLinks, remember, viewed, whenViewed } from "./view.js";

/** Milliseconds after which a reader who types has paused. */
const TYPING_MS = 250;

/**
 * The cases of a page. `selection(told)` gives {rows, text} of what a link keeps, null where it keeps all; `kinds` are
 * the pictures as `Pictures` takes them; `casePage(shared)` makes the page of a case. Returns {page, pictures,
 * openId, toTable, keep}.
 */
export async function showCases({ cases, blocks, selection, kinds, casePage }) {
  const only = document.getElementById("only-shown");
  only.checked = viewed("pictures") === "shown";
  let pictures = null;
  let waiting = null;
  const table = await showTable(cases, document.querySelector("title").dataset.file, () => {
    if (!only.checked) return;
    clearTimeout(waiting); // a reader who types is let finish
    waiting = setTimeout(() => pictures?.refresh(), TYPING_MS);
  });
  const keep = keepOver(table, selection);
  const toTable = (told) => {
    page.close();
    keep(told);
    goTo(document.getElementById("cases"));
  };
  const page = casePage({
    cases,
    blocks,
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
    pictures: kinds,
    cases,
    blocks,
    rows: () => {
      if (!only.checked) return cases.ranked;
      const shown = new Set(table.rows());
      return cases.ranked.filter((row) => shown.has(row));
    },
    openCase: (row) => page.open(row),
    openRows: (rows) => toTable(`rows:${rows.join(",")}`),
  });
  only.addEventListener("change", () => {
    remember("pictures", only.checked ? "shown" : null);
    pictures.refresh();
  });
  return { page, pictures, openId, toTable, keep };
}

/** Show what the address says and follow the page's links; `follow(link)` says whether one meant something else. */
export function followCases({ page, pictures, openId, toTable, keep }, follow = () => false) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens the link itself
    event.preventDefault();
    const target = link.getAttribute("href").slice(1);
    if (!target.includes("="))
      goTo(document.getElementById(target)); // a place: what is viewed stays in the address
    else if (link.dataset.only) toTable(link.dataset.only);
    else if (!follow(link)) openId(decodeURIComponent(target.slice("case=".length)));
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
