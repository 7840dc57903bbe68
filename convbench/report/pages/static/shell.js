// What every interactive page has around its content: themes, links to places, the chip over its table, paper, and what
// happens where scripts fail.

import { element } from "./dom.js";
import { remember } from "./view.js";

const root = document.documentElement;

/** Light, dark, or as the system has it; kept for the next report where the browser lets us. */
export function showThemes(changed) {
  const select = document.getElementById("theme");
  const apply = (name) => {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    const dark = name === "dark" || (name === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.toggle("dark", dark); // DataTables' style knows a dark theme by this class
    changed();
  };
  select.addEventListener("change", () => {
    apply(select.value);
    try {
      localStorage.setItem("convbench-theme", select.value);
    } catch {
      // A browser that keeps nothing for pages from disk: the choice lasts as long as the page.
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

/** Scroll to a part of the page and let the keyboard, and who reads aloud, go on from its heading. */
export function goTo(part) {
  const heading = part.querySelector("h2, h3") ?? part;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  part.scrollIntoView();
}

/**
 * Says over the table which cases are kept, and how to have all back. `selection(told)` gives {rows, text} of what a link
 * says, or null where it keeps all. Returns the function that keeps what a link says.
 */
export function keepOver(table, selection) {
  const chip = document.getElementById("chosen");
  const keep = (told) => {
    const chosen = selection(told);
    remember("only", chosen ? told : null);
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

/** On paper nothing can be opened: what is folded is shown, and folded again. */
function unfoldForPrint() {
  let opened = [];
  globalThis.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open], .unscripted)")].filter(
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
      root.classList.remove("scripted"); // the page without scripts is whole
      document
        .getElementById("answer")
        .prepend(element("p", { class: "stage", role: "alert" }, `The interactive part failed: ${error.message}`));
      throw error;
    });
}
