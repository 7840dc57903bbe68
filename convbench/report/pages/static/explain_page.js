// The explainer as a page of its own within the report: `#explain=<case id>` shows a case's layer, `#explain=example` a
// 3x3 with padding.

import { mountExplainer, usualExample } from "./explainer.js";
import { Measured, problemOf } from "./measured.js";
import { remember, viewed } from "./view.js";

/** The settings of execution that the explainer computes with. */
const EXECUTION = ["direction", "dtype", "autocast", "memory_format", "input_format"];

export class ExplainPage {
  constructor(cases) {
    this.cases = cases;
    this.explainer = null;
    this.scrolled = 0; // where the reader left the report
  }

  /** Show the page for a case's id or `example`, or the report for "", as a step that the browser can go back from. */
  open(id) {
    remember("layer", null);
    remember("explain", id || null, { entry: true });
    this.show(id);
  }

  /** The same without a step. */
  show(id) {
    const { classList } = document.body;
    if (!id) {
      if (!classList.contains("explaining")) return;
      classList.remove("explaining");
      scrollTo({ top: this.scrolled, behavior: "instant" });
      return;
    }
    if (!classList.contains("explaining")) this.scrolled = scrollY;
    classList.add("explaining"); // before it is drawn, as it is drawn by its width
    const row = this.cases.rowOf.get(id);
    const problem = row === undefined ? usualExample() : problemOf(this.cases, row);
    const execution =
      row === undefined
        ? { direction: "forward", dtype: "float32" }
        : Object.fromEntries(EXECUTION.map((name) => [name, this.cases.value(name, row)]));
    if (this.explainer) this.explainer.show(problem, execution, viewed("layer") ?? "");
    else
      this.explainer = mountExplainer(document.getElementById("explainer"), {
        problem,
        execution,
        measured: new Measured(this.cases),
        text: viewed("layer") ?? "",
        onChange: (text) => remember("layer", text || null),
      });
    document.getElementById("explain-title").focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: "instant" });
  }
}
