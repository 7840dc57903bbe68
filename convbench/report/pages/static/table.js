// The table of all cases: DataTables over the page's data. It has sorting, search, a filter for each column, a choice of
// columns, copy and download. The link keeps the reader's settings.

import { confirmCopy, element } from "./dom.js";
import { escapeHtml, unbrokenHtml } from "./format.js";
import { runPacked, stylePacked } from "./load.js";
import { remember, viewed } from "./view.js";

const PAGE = 25;
const LONGEST_PAGE = 500;
const LENGTHS = [PAGE, 100, LONGEST_PAGE];
/** Narrower windows than this, in pixels, show three columns at first. */
const NARROW_WINDOW = 560;

/** Whether a column is shown at first in this window. */
function atFirst(column) {
  return innerWidth < NARROW_WINDOW ? column.narrow : column.shown;
}

/** Order numbers with absent ones last, in both directions; the text of an absent one is empty. */
function defineOrder(DataTable) {
  const compare = (direction) => (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return (a - b) * direction;
  };
  DataTable.type("measured", "order", { asc: compare(1), desc: compare(-1) });
}

/** Spreadsheets read a text that begins so as a formula, see convbench/report/export.py. */
const FORMULA = /^[=+\-@\t\n]/;

/** A cell as `convbench export` writes it: numbers in their SI unit with seven significant digits, words as stored. */
function exported(value) {
  if (typeof value === "number") return String(Number.isInteger(value) ? value : Number(value.toPrecision(7)));
  if (typeof value !== "string") return String(value ?? "");
  const text = value.replace(/\r\n?/g, "\n");
  return FORMULA.test(text) ? `'${text}` : text;
}

/**
 * DataTables' description of one column. DataTables reads the text of cells as HTML, both for display and for search, so
 * all text is escaped.
 */
function tableColumn(cases, column, searched) {
  const search = { text: "searchText", number: "searchNumber", word: "searchList", status: "searchList" }[column.kind];
  const number = column.kind === "number";
  const unit = column.unit ? ` [${column.unit}]` : "";
  return {
    name: column.name,
    ariaTitle: `${column.heading}${unit}`,
    type: number ? "measured" : "string",
    visible: atFirst(column),
    className: number ? "number" : column.name === "label" ? "label" : `text of-${column.name}`,
    columnControl: [{ extend: "dropdown", text: `Filter ${column.heading}`, icon: "search", content: [search] }],
    data: (row, purpose, _, { col }) => {
      if (purpose === "filter" && !searched.has(col)) return "";
      if (number && (purpose === "sort" || purpose === "type")) return cases.value(column.name, row);
      if (purpose === "export") return exported(cases.value(column.name, row));
      const text = cases.text(column.name, row);
      if (number && purpose !== "display") {
        // Readers search for the text they see, 1,234. The column's filter reads the part outside < and > as a number.
        const plain = text.replaceAll(",", "");
        return plain === text ? text : `${plain} <${text}>`;
      }
      const escaped = escapeHtml(text);
      if (purpose !== "display") return escaped;
      if (column.kind === "status") return `<span class="status" data-status="${escaped}">${escaped}</span>`;
      if (column.name === "label")
        return `<a href="#case=${cases.value("case_id", row)}" data-row="${row}">${unbrokenHtml(text)}</a>`;
      return unbrokenHtml(text);
    },
  };
}

/** The part of the table's state for the link: only differences from the initial state. */
function kept(state, cases) {
  const columns = state.columns.flatMap(({ visible }, i) => (visible === atFirst(cases.specs[i]) ? [] : [i]));
  const filters = Object.fromEntries(Object.entries(state.columnControl ?? {}).filter(([, filter]) => isSet(filter)));
  const changes = {};
  if (state.search.search) changes.search = state.search.search;
  if (state.order.length) changes.order = state.order;
  if (state.length !== PAGE) changes.length = state.length;
  if (state.start) changes.start = state.start;
  if (columns.length) changes.columns = columns;
  if (Object.keys(filters).length) changes.filters = filters;
  return Object.keys(changes).length ? JSON.stringify(changes) : null;
}

/** Whether a column's filter is active: DataTables' state has inactive ones too. */
function isSet({ searchInput, searchList }) {
  const logic = searchInput?.logic;
  return Boolean(searchInput?.value || logic === "empty" || logic === "notEmpty" || searchList?.length);
}

/**
 * The columns that are searched. Hidden columns are not, and their texts are not made. Exceptions are the case's id, which
 * is an argument of commands, and columns whose filter comes from a link. So are settings, whose lists of values are made
 * once.
 */
function searchedColumns(state, cases) {
  const visible = (i) => (state ? state.columns[i].visible : atFirst(cases.specs[i]));
  const filtered = (i) => state && isSet(state.columnControl[i] ?? {});
  const all = cases.specs.map((_, i) => i);
  return new Set(
    all.filter((i) => visible(i) || filtered(i) || cases.specs[i].kind === "word" || cases.specs[i].name === "case_id"),
  );
}

const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** DataTables' state from a link; null where the link has none or an invalid one. */
function restored(text, cases) {
  let saved;
  try {
    saved = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isPlain(saved)) return null;
  const toggled = new Set(Array.isArray(saved.columns) ? saved.columns : []);
  const isColumn = (i) => Number.isInteger(i) && i >= 0 && i < cases.specs.length;
  const order = (Array.isArray(saved.order) ? saved.order : []).filter(
    (each) => Array.isArray(each) && cases.spec.has(each[0]) && ["asc", "desc", ""].includes(each[1]),
  );
  const filters = Object.entries(isPlain(saved.filters) ? saved.filters : {});
  return {
    time: Date.now(),
    start: Number.isInteger(saved.start) && saved.start >= 0 && saved.start < cases.length ? saved.start : 0,
    length: LENGTHS.includes(saved.length) ? saved.length : PAGE,
    order,
    search: {
      search: typeof saved.search === "string" ? saved.search : "",
      smart: true,
      regex: false,
      caseInsensitive: true,
    },
    columns: cases.specs.map((spec, i) => ({ name: spec.name, visible: toggled.has(i) !== atFirst(spec) })),
    columnControl: Object.fromEntries(filters.filter(([i, filter]) => isColumn(Number(i)) && isPlain(filter))),
  };
}

/**
 * Show the table. Returns {rows, ordered, only}. `rows` and `ordered` give the rows that the filters keep, in the
 * sweep's order and in the table's. `only(set)` limits the table to a set; `only(null)` removes the limit. `changed` is
 * called when the rows change.
 */
export async function showTable(cases, name, changed) {
  await stylePacked("datatables-style");
  await runPacked("datatables");
  const { DataTable } = globalThis;
  const box = document.getElementById("case-table-box");
  document.getElementById("rows-left")?.remove();
  document.getElementById("case-table").remove();
  const heads = cases.specs.map(({ heading, unit, about, kind }) => {
    const named = unit ? [`${heading} `, element("span", { class: "unit" }, unit)] : [heading];
    return element("th", { scope: "col", title: about, class: kind === "number" ? "number" : null }, named);
  });
  const host = element(
    "table",
    { id: "case-table", class: "plain" },
    element("caption", { class: "hidden" }, "All cases, one a row. Times are per iteration."),
    element("thead", {}, element("tr", {}, heads)),
  );
  box.append(host);
  defineOrder(DataTable);
  const state = restored(viewed("table"), cases);
  const searched = searchedColumns(state, cases);
  const sent = (body) => ({
    columns: ":visible",
    orthogonal: "export",
    format: { header: (_, column) => cases.specs[column].name, body },
  });
  const table = new DataTable(host, {
    data: [...cases.order],
    columns: cases.specs.map((column) => tableColumn(cases, column, searched)),
    order: [],
    pageLength: PAGE,
    lengthMenu: LENGTHS,
    autoWidth: false,
    orderMulti: true,
    stateSave: true,
    stateDuration: 0,
    stateSaveCallback: (_, state) => remember("table", kept(state, cases)),
    stateLoadCallback: () => state,
    layout: {
      top2Start: "search",
      top2End: {
        buttons: [
          { extend: "colvis", text: "Columns", columns: ":not(:first-child)", background: false },
          { text: "Copy", action: (_, api, button) => copyShown(api, button[0], sent) },
          {
            extend: "csvHtml5",
            text: "CSV",
            filename: name,
            footer: false,
            exportOptions: sent((cell) => cell),
          },
        ],
      },
      topStart: ["pageLength", "info"],
      topEnd: "paging", // above the table: the keyboard reaches it before the columns and the rows
      bottomStart: null,
      bottomEnd: "paging",
    },
    language: {
      search: "Search",
      searchPlaceholder: "a word in any column",
      lengthMenu: "_MENU_ a page",
      info: "_START_ to _END_ of _TOTAL_ cases",
      infoFiltered: "(filtered from _MAX_)",
      infoEmpty: "no cases",
      zeroRecords: "No case matches.",
      emptyTable: "No cases.",
    },
  });
  const rows = () =>
    table
      .rows({ search: "applied" })
      .data()
      .toArray()
      .sort((a, b) => a - b);
  let last = rows();
  const notify = () => {
    const found = rows();
    const same = found.length === last.length && found.every((row, i) => row === last[i]);
    last = found;
    if (!same) changed();
  };
  table.on("draw", notify);
  const namePaging = () =>
    box.querySelector(".dt-layout-table ~ * .dt-paging nav")?.setAttribute("aria-label", "Pages, below");
  table.on("draw", namePaging);
  namePaging();
  printWhole(table);
  table.on("column-visibility", (_, __, column, visible) => {
    if (visible && !searched.has(column)) {
      searched.add(column);
      table.rows().invalidate();
    }
  });
  return {
    rows,
    /** Rows in the order that the table shows them. */
    ordered: () => table.rows({ search: "applied", order: "applied" }).data().toArray(),
    only: (set) => {
      table.search.fixed("only", set ? (_, row) => set.has(row) : null).draw();
    },
  };
}

/** Copy the visible columns of the rows that the filters keep, as lines with tabs; the button confirms it. */
function copyShown(api, button, sent) {
  const { header, body } = api.buttons.exportData(sent((cell) => cell.replace(/\s+/g, " ").trim()));
  confirmCopy(button, [header, ...body].map((cells) => cells.join("\t")).join("\n"));
}

/** Print as many rows as the longest page has, because paper has no paging. */
function printWhole(table) {
  let before = null;
  globalThis.addEventListener("beforeprint", () => {
    before = { length: table.page.len(), page: table.page() };
    table.page.len(LONGEST_PAGE).draw(false);
  });
  globalThis.addEventListener("afterprint", () => {
    table.page.len(before.length).page(before.page).draw(false);
  });
}
