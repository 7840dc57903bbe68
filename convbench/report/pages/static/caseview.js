// The parts of every page about cases: the table, the pictures, the page of one case, the links.

import { Pictures } from "./pictures.js";
import { goTo, keepOver, showThemes } from "./shell.js";
import { showTable } from "./table.js";
import { followLinks, remember, viewed, whenViewed } from "./view.js";

/** The pictures wait so many milliseconds after the last key. */
const TYPING_MS = 250;

/**
 * The cases of a page. `sources` are read for pictures that need them. `selection(link)` gives {rows, text} of a link, or null for all cases. `kinds` are the pictures,
 * as the argument of `Pictures`. `casePage(shared)` makes the page of a case. Returns {page, pictures, openId, toTable,
 * keep}.
 */
export async function showCases({ cases, blocks, sources = {}, selection, kinds, casePage }) {
  const only = document.getElementById("only-shown");
  only.checked = viewed("pictures") === "shown";
  let pictures = null;
  let waiting = null;
  const table = await showTable(cases, document.querySelector("title").dataset.file, () => {
    if (!only.checked) return;
    clearTimeout(waiting); // the reader is still typing
    waiting = setTimeout(() => pictures?.refresh(), TYPING_MS);
  });
  const keep = keepOver(table, selection);
  const toTable = (link) => {
    page.close();
    keep(link);
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
    sources,
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

/** Show the view in the address and follow the page's links; `follow(link)` is true if it handled the link. */
export function followCases({ page, pictures, openId, toTable, keep }, follow = () => false) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href*='#']");
    if (!link || link.pathname !== location.pathname) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab opens the link itself
    event.preventDefault();
    const target = link.hash.slice(1);
    if (!target.includes("="))
      goTo(document.getElementById(target)); // a place in the page: the address keeps the view
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
