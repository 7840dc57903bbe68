// The table of all cases: DataTables over the page's data, with sorting, search and a filter in each column's head.

/** Order numbers with absent ones last, whichever way; the text of an absent one is empty. */
function defineOrder(DataTable) {
  const compare = (direction) => (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return (a - b) * direction;
  };
  DataTable.type("measured", "order", { asc: compare(1), desc: compare(-1) });
}

/**
 * DataTables' description of one column. It takes the text of cells for HTML, both to show it and to search it, so all
 * text is escaped.
 */
function tableColumn(data, column) {
  const values = data.values[column.name];
  const search = { text: "searchText", number: "searchNumber", word: "searchList", status: "searchList" }[column.kind];
  return {
    name: column.name,
    type: column.kind === "number" ? "measured" : "string",
    className: column.kind === "number" ? "number" : column.name === "label" ? "label" : "text",
    columnControl: [{ extend: "dropdown", text: `Filter ${column.heading}`, icon: "search", content: [search] }],
    data: (row, purpose) => {
      const value = values[row];
      if (column.kind === "number" && (purpose === "sort" || purpose === "type")) return value;
      const text = escapeHtml(formatCell(value, column));
      if (column.kind !== "number" || purpose === "display") {
        return column.kind === "status" && purpose === "display" ? `<span class="status" data-status="${text}">${text}</span>` : text;
      }
      return value === null ? "" : text.replaceAll(",", "");
    },
  };
}

async function showTable(data) {
  await stylePacked("datatables-style");
  await runPacked("datatables");
  document.getElementById("rows-left")?.remove();
  const rows = data.values.label.map((_, row) => row);
  defineOrder(globalThis.DataTable);
  new globalThis.DataTable("#case-table", {
    data: rows,
    columns: data.columns.map((column) => tableColumn(data, column)),
    order: [],
    pageLength: 25,
    lengthMenu: [25, 100, 500],
    autoWidth: false,
    layout: { topStart: "search", topEnd: "info", bottomStart: "pageLength", bottomEnd: "paging" },
    language: { search: "Search", searchPlaceholder: "any word of a row", lengthMenu: "_MENU_ a page",
      info: "_START_ to _END_ of _TOTAL_ cases", infoFiltered: "(filtered from _MAX_)", infoEmpty: "no cases",
      zeroRecords: "No case is like that.", emptyTable: "No cases." },
  });
}
