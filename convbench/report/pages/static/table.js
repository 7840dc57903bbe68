// The table of all cases: DataTables over the page's data. Sorting, search, a filter in each column's head, the choice of
// columns, copy and download; what the reader set is kept in the link.

import { element } from "./dom.js";
import { escapeHtml } from "./format.js";
import { runPacked, stylePacked } from "./load.js";
import { remember, viewed } from "./view.js";

const PAGE = 25;
const LONGEST_PAGE = 500;
const LENGTHS = [PAGE, 100, LONGEST_PAGE];

/** Order numbers with absent ones last, whichever way; the text of an absent one is empty. */
function defineOrder(DataTable) {
  const compare = (direction) => (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return (a - b) * direction;
  };
  DataTable.type("measured", "order", { asc: compare(1), desc: compare(-1) });
}

/** What a spreadsheet takes for a formula when a text begins so, as in convbench/report/export.py. */
const FORMULA = /^[=+\-@\t\n]/;

/** A cell as `convbench export` writes it: numbers in their SI unit with seven significant digits, words as stored. */
function exported(value) {
  if (typeof value === "number") return String(Number.isInteger(value) ? value : Number(value.toPrecision(7)));
  if (typeof value !== "string") return String(value ?? "");
  const text = value.replace(/\r\n?/g, "\n");
  return FORMULA.test(text) ? `'${text}` : text;
}

/**
 * DataTables' description of one column. It takes the text of cells for HTML, both to show it and to search it, so all
 * text is escaped.
 */
function tableColumn(cases, column, searched) {
  const search = { text: "searchText", number: "searchNumber", word: "searchList", status: "searchList" }[column.kind];
  const number = column.kind === "number";
  const unit = column.unit ? ` [${column.unit}]` : "";
  return {
    name: column.name,
    ariaTitle: `${column.heading}${unit}`,
    type: number ? "measured" : "string",
    visible: column.shown,
    className: [
      number ? "number" : column.name === "label" ? "label" : `text of-${column.name}`,
      column.printed ? "" : "unprinted",
    ].join(" "),
    columnControl: [{ extend: "dropdown", text: `Filter ${column.heading}`, icon: "search", content: [search] }],
    data: (row, purpose, _, { col }) => {
      if (purpose === "filter" && !searched.has(col)) return "";
      if (number && (purpose === "sort" || purpose === "type")) return cases.value(column.name, row);
      if (purpose === "export") return exported(cases.value(column.name, row));
      const text = cases.text(column.name, row);
      if (number && purpose !== "display") {
        // Readers search for what they see, 1,234; the column's own filter takes what is not between < and > for a number.
        const plain = text.replaceAll(",", "");
        return plain === text ? text : `${plain} <${text}>`;
      }
      const escaped = escapeHtml(text);
      if (purpose !== "display") return escaped;
      if (column.kind === "status") return `<span class="status" data-status="${escaped}">${escaped}</span>`;
      if (column.name === "label")
        return `<a href="#case=${cases.value("case_id", row)}" data-row="${row}">${escaped}</a>`;
      return escaped;
    },
  };
}

/** What the link keeps of the table's state: only what is not as it is at first. */
function kept(state, cases) {
  const columns = state.columns.flatMap(({ visible }, i) => (visible === cases.specs[i].shown ? [] : [i]));
  const filters = Object.fromEntries(Object.entries(state.columnControl ?? {}).filter(([, filter]) => isSet(filter)));
  const told = {};
  if (state.search.search) told.search = state.search.search;
  if (state.order.length) told.order = state.order;
  if (state.length !== PAGE) told.length = state.length;
  if (state.start) told.start = state.start;
  if (columns.length) told.columns = columns;
  if (Object.keys(filters).length) told.filters = filters;
  return Object.keys(told).length ? JSON.stringify(told) : null;
}

/** Whether a column's filter filters: DataTables notes those that do not, too. */
function isSet({ searchInput, searchList }) {
  const logic = searchInput?.logic;
  return Boolean(searchInput?.value || logic === "empty" || logic === "notEmpty" || searchList?.length);
}

/**
 * The columns that are searched: what cannot be seen is not, and its text not made, but for the case's id, which commands
 * take, and for columns whose own filter a link restores.
 */
function searchedColumns(state, cases) {
  const visible = (i) => (state ? state.columns[i].visible : cases.specs[i].shown);
  const filtered = (i) => state && isSet(state.columnControl[i] ?? {});
  const all = cases.specs.map((_, i) => i);
  return new Set(all.filter((i) => visible(i) || filtered(i) || cases.specs[i].name === "case_id"));
}

const isPlain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** DataTables' state of what a link keeps; null where it keeps nothing, or nonsense. */
function restored(text, cases) {
  let told;
  try {
    told = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isPlain(told)) return null;
  const toggled = new Set(Array.isArray(told.columns) ? told.columns : []);
  const isColumn = (i) => Number.isInteger(i) && i >= 0 && i < cases.specs.length;
  const order = (Array.isArray(told.order) ? told.order : []).filter(
    (each) => Array.isArray(each) && cases.spec.has(each[0]) && ["asc", "desc", ""].includes(each[1]),
  );
  const filters = Object.entries(isPlain(told.filters) ? told.filters : {});
  return {
    time: Date.now(),
    start: Number.isInteger(told.start) && told.start >= 0 && told.start < cases.length ? told.start : 0,
    length: LENGTHS.includes(told.length) ? told.length : PAGE,
    order,
    search: {
      search: typeof told.search === "string" ? told.search : "",
      smart: true,
      regex: false,
      caseInsensitive: true,
    },
    columns: cases.specs.map(({ name, shown }, i) => ({ name, visible: toggled.has(i) ? !shown : shown })),
    columnControl: Object.fromEntries(filters.filter(([i, filter]) => isColumn(Number(i)) && isPlain(filter))),
  };
}

/**
 * Show the table. Returns {rows, ordered, only}: the rows that the filters leave, in the sweep's order and in the table's;
 * `only(set)` keeps those of a set (null: all). `changed` is called when the rows are others.
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
    data: cases.rows(),
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
      topStart: "search",
      topEnd: {
        buttons: [
          { extend: "colvis", text: "Columns", columns: ":not(:first-child)", background: false },
          {
            extend: "copyHtml5",
            text: "Copy",
            title: null,
            messageTop: null,
            exportOptions: sent((cell) => cell.replace(/\s+/g, " ").trim()),
          },
          {
            extend: "csvHtml5",
            text: "CSV",
            filename: name,
            footer: false,
            exportOptions: sent((cell) => cell),
          },
        ],
      },
      bottomStart: ["pageLength", "info"],
      bottomEnd: "paging",
    },
    language: {
      search: "Search",
      searchPlaceholder: "any word of a row",
      lengthMenu: "_MENU_ a page",
      info: "_START_ to _END_ of _TOTAL_ cases",
      infoFiltered: "(filtered from _MAX_)",
      infoEmpty: "no cases",
      zeroRecords: "No case is like that.",
      emptyTable: "No cases.",
    },
  });
  let last = [];
  const rows = () => table.rows({ search: "applied", order: "index" }).data().toArray();
  const tell = () => {
    const found = rows();
    const same = found.length === last.length && found.every((row, i) => row === last[i]);
    last = found;
    if (!same) changed();
  };
  table.on("draw", tell);
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

/** On paper there is no next page to turn to: as many rows as a reader may page through at once are printed. */
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
