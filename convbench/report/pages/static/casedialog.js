// The dialog that shows one case over a page: opening, closing, next and previous. Subclasses make its content.

import { element } from "./dom.js";

/**
 * The dialog of a case, one at a time. Subclasses define the column with its status (`statusColumn`) and its elements
 * below the title (`content`), and draw its pictures (`draw`).
 */
export class CaseDialog {
  constructor({ cases, blocks, ordered, onOpen, onClose }) {
    Object.assign(this, { cases, blocks, ordered, onOpen, onClose, row: null });
    this.dialog = document.getElementById("case");
    new ResizeObserver(() => this.redraw()).observe(this.dialog);
    this.dialog.addEventListener("close", () => {
      this.row = null;
      this.onClose();
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.close(); // a click beside it
    });
    this.dialog.addEventListener("keydown", (event) => {
      if (event.target.closest("input, select, textarea, pre, .scroll")) return;
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
  }

  open(row) {
    const stepped = document.activeElement?.closest?.(".case-steps button")?.getAttribute("aria-label");
    this.row = row;
    this.onOpen(row, !this.dialog.open);
    this.fill(row);
    if (!this.dialog.open) this.dialog.showModal();
    // The focused element was replaced: focus the same button again, or the title for screen readers.
    const button = stepped && this.dialog.querySelector(`button[aria-label="${stepped}"]`);
    (button ?? document.getElementById("case-title")).focus({ preventScroll: true });
    this.dialog.scrollTop = 0;
    this.draw(row);
  }

  /** Draw the open case's blocks again after a change of theme or width. */
  redraw() {
    if (this.row !== null) this.draw(this.row);
  }

  close() {
    if (this.dialog.open && !this.isInPage) this.dialog.close();
  }

  /** Show the only case as a part of the page. */
  openIn(place) {
    this.isInPage = true;
    this.dialog.classList.add("in-page");
    place.append(this.dialog);
    this.dialog.open = true;
    this.row = 0;
    this.fill(0);
    this.draw(0);
  }

  /** The next or the previous case in the order of the table. */
  step(by) {
    const order = this.ordered();
    const at = order.indexOf(this.row);
    const next = order[at + by];
    if (at >= 0 && next !== undefined) this.open(next);
  }

  fill(row) {
    const status = this.cases.text(this.statusColumn, row);
    const button = (text, label, act) => element("button", { type: "button", "aria-label": label, onclick: act }, text);
    const parts = [
      element(
        "div",
        { class: "case-bar" },
        element("span", { class: "status", dataset: { status } }, status),
        element(
          "span",
          { class: "case-steps" },
          button("\u2190", "Previous case of the table", () => this.step(-1)),
          button("\u2192", "Next case of the table", () => this.step(1)),
          button("Close", "Close this case", () => this.close()),
        ),
      ),
      element(
        "h2",
        { id: "case-title", tabindex: "-1", autofocus: this.isInPage ? null : "" },
        this.cases.value("label", row),
      ),
      ...this.content(row),
    ];
    this.dialog.replaceChildren(...parts.filter(Boolean));
  }
}
