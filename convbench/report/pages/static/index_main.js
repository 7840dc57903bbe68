// The page of all runs: filters over the table, and two ticks that lead to a comparison.

import { copyButton, element } from "./dom.js";
import { formatCount } from "./format.js";
import { remember, viewed } from "./view.js";

const form = document.querySelector(".filters");
const rows = [...document.querySelectorAll("#run-table tbody tr")]; // the newest run first
/** Links to pages of comparisons, by `<base id> <new id>`. */
const pages = JSON.parse(document.getElementById("pages").textContent);
/** Kinds of runs without a case in common, `<lower> <higher>`. */
const apart = new Set(JSON.parse(document.getElementById("apart").textContent));
let ticked = [];

/** Show the rows that have the chosen values and the searched words; the link keeps both. */
function filter() {
  const fields = [...form.elements].filter(({ name }) => name);
  const words = form.elements.search.value.toLowerCase().split(/\s+/);
  const chosen = fields.filter(({ name, value }) => name !== "search" && value);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden =
      !words.every((word) => text.includes(word)) || !chosen.every(({ name, value }) => row.dataset[name] === value);
  }
  for (const { name, value } of fields) remember(name, value || null);
  const left = rows.filter((row) => !row.hidden).length;
  form.querySelector("#shown").textContent =
    left < rows.length ? `${formatCount(left)} of ${formatCount(rows.length)} runs` : "";
}

/** The page of a comparison where it is there, else the command that writes it, or why there can be none. */
function comparison(older, newer) {
  const [base, other] = [older.dataset.run, newer.dataset.run];
  const page = pages[`${base} ${other}`];
  if (page) return ["Their comparison: ", element("a", { href: page }, `${base} and ${other}`)];
  const kinds = [older, newer].map((row) => Number(row.dataset.kind)).sort((a, b) => a - b);
  if (older.dataset.kind && newer.dataset.kind && apart.has(kinds.join(" ")))
    return [`${base} and ${other} have no case in common, so they cannot be compared.`];
  const command = `convbench compare ${base} ${other}`;
  return [element("code", {}, command), " ", copyButton(() => command), " writes the page of their comparison."];
}

/** Show below the second ticked run how both compare. A third tick replaces the first. */
function tick(box) {
  ticked = box.checked ? [...ticked, box] : ticked.filter((each) => each !== box);
  if (ticked.length > 2) ticked.shift().checked = false;
  document.getElementById("compared")?.remove();
  if (ticked.length < 2) return;
  const [newer, older] = rows.filter((row) => ticked.some((each) => row.contains(each)));
  const text = element("div", { role: "status" });
  const cell = element("td", { colspan: "10" }, text);
  box.closest("tr").after(element("tr", { id: "compared" }, cell));
  text.append(...comparison(older, newer)); // after it is in the page, so that screen readers say it
}

if (form) {
  document.documentElement.classList.add("scripted");
  for (const field of form.elements) if (field.name) field.value = viewed(field.name, "");
  for (const select of form.querySelectorAll("select")) if (select.selectedIndex < 0) select.value = "";
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const box of document.querySelectorAll(".tick")) box.addEventListener("change", () => tick(box));
  filter();
}
document.documentElement.dataset.ready = "true";
