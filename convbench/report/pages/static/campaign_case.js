// One case of a campaign: what each machine measured, the fastest first.

import { CaseDialog } from "./casedialog.js";
import { element } from "./dom.js";
import { formatNumber, formatSeconds } from "./format.js";

/** The name of a machine's column: `time_0`. */
export const columnOf = (figure, machine) => `${figure}_${machine}`;

/** A machine's time over that of the best one, with what noise leaves open: `1.25x (1.20x to 1.31x)`. */
export function behind(cases, row, machine) {
  const [ratio, low, high] = ["ratio", "low", "high"].map((name) => cases.value(columnOf(name, machine), row));
  if (ratio === null) return "-";
  if (cases.best(row) === machine) return "the best";
  const text = (value) => `${formatNumber(value, 3, 0)}x`;
  return `${text(ratio)} (${text(low)} to ${text(high)})${low > 1 ? "" : ", within noise"}`;
}

export class CampaignCase extends CaseDialog {
  statusColumn = "status";

  content(row) {
    const { cases } = this;
    const value = (name, machine) => cases.value(columnOf(name, machine), row);
    const ranked = cases.machines.map((_, machine) => machine);
    ranked.sort(
      (a, b) => (value("ratio", a) ?? Number.POSITIVE_INFINITY) - (value("ratio", b) ?? Number.POSITIVE_INFINITY),
    );
    const has = (name) => ranked.some((machine) => value(name, machine) !== null);
    const columns = [
      { head: "time", number: true, cell: (machine) => formatSeconds(value("time", machine)) },
      { head: "over the best", number: true, cell: (machine) => behind(cases, row, machine) },
      { head: "spread", number: true, cell: (machine) => percent(cases, columnOf("spread", machine), row) },
      {
        head: "images for a dollar",
        number: true,
        name: "images",
        cell: (machine) => million(value("images", machine)),
      },
      { head: "check", cell: (machine) => value("status", machine) ?? "not reached" },
      { head: "code", name: "implementation", cell: (machine) => value("implementation", machine) ?? "-" },
      { head: "host", name: "host", cell: (machine) => value("host", machine) ?? "-" },
      { head: "reason", name: "reason", cell: (machine) => value("reason", machine) ?? "" },
    ].filter(({ name }) => !name || has(name));
    const line = (machine) =>
      element(
        "tr",
        { class: cases.best(row) === machine ? "best" : null },
        element("th", { scope: "row" }, cases.machines[machine].name),
        ...columns.map(({ number, cell }) => element("td", { class: number ? "number" : null }, cell(machine))),
      );
    const heads = columns.map(({ head, number }) =>
      element("th", { scope: "col", class: number ? "number" : null }, head),
    );
    const table = element(
      "table",
      { class: "plain case-machines" },
      element("caption", { class: "hidden" }, "What each machine measured, the fastest first"),
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "machine"), heads)),
      element("tbody", {}, ranked.map(line)),
    );
    return [
      element("h3", {}, "Machine by machine"),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of the machines" }, table),
    ];
  }

  draw() {}
}

function percent(cases, name, row) {
  return cases.value(name, row) === null ? "-" : `${cases.text(name, row)} %`;
}

function million(images) {
  return images === null ? "-" : `${formatNumber(images / 1e6, 3, 0)} million`;
}
