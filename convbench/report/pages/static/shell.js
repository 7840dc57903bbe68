// The parts of every interactive page: themes, links to places, the line over its table, printing, and a message where
// scripts fail.

import { element } from "./dom.js";
import { remember } from "./view.js";

const root = document.documentElement;

/** Light, dark, or the system's theme; stored for the next report where the browser allows it. */
export function showThemes(changed) {
  const select = document.getElementById("theme");
  const apply = (name) => {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    const dark = name === "dark" || (name === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.toggle("dark", dark); // DataTables' style reads this class
    changed();
  };
  select.addEventListener("change", () => {
    apply(select.value);
    try {
      localStorage.setItem("convbench-theme", select.value);
    } catch {
      // Some browsers store nothing for pages from disk. The choice then lasts as long as the page.
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(select.value));
  try {
    select.value = localStorage.getItem("convbench-theme") ?? "system";
  } catch {
    select.value = "system";
  }
  if (!select.value) select.value = "system";
  apply(select.value);
}

/** Scroll to a part of the page and focus its heading, for keyboards and screen readers. */
export function goTo(part) {
  const heading = part.querySelector("h2, h3") ?? part;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  part.scrollIntoView();
}

/**
 * Shows over the table which cases a link selects, with a button for all cases. `selection(link)` gives {rows, text}, or
 * null for all cases. Returns the function that applies a link.
 */
export function keepOver(table, selection) {
  const chip = document.getElementById("chosen");
  const keep = (link) => {
    const chosen = selection(link);
    remember("only", chosen ? link : null);
    chip.replaceChildren();
    chip.hidden = !chosen;
    if (chosen) {
      const all = element("button", { type: "button", onclick: () => keep(null) }, "Show all cases");
      chip.append(element("span", {}, `Shown: ${chosen.text}`), all);
    }
    table.only(chosen?.rows ?? null);
  };
  return keep;
}

/** Open all folds before printing, and close them afterwards. */
function unfoldForPrint() {
  let opened = [];
  globalThis.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open], .unscripted, .pairs)")].filter(
      (each) => !each.closest("#explain"),
    );
    for (const details of opened) details.open = true;
  });
  globalThis.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
}

/** Start the interactive part of the page. */
export function begin(start) {
  root.classList.add("scripted");
  unfoldForPrint();
  start()
    .then(() => {
      root.dataset.ready = "true";
    })
    .catch((error) => {
      root.classList.remove("scripted"); // the page is complete without scripts
      document
        .getElementById("answer")
        .prepend(element("p", { class: "stage", role: "alert" }, `The interactive part failed: ${error.message}`));
      throw error;
    });
}
