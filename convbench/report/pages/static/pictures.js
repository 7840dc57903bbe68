// The pictures of a page: the choices in each, and drawing them when they come into view.

import { theme } from "./colours.js";
import { unescapePlotly } from "./format.js";
import { runPacked } from "./load.js";
import { remember, viewed } from "./view.js";

/** The choices of a picture: the link's values where they are possible, else the defaults. */
function choiceOf(name, { controls: controlsOf }, cases) {
  const chosen = {};
  // A control's options depend on the controls before it, so they are set in order.
  for (let done = 0; ; done += 1) {
    const controls = controlsOf(cases, chosen);
    if (done >= controls.length) return { controls, choice: chosen };
    const { key, options, usual } = controls[done];
    const wanted = viewed(`${name}.${key}`, usual);
    chosen[key] = options.some(({ value }) => value === wanted) ? wanted : (usual ?? options[0]?.value);
  }
}

/**
 * The drawings of the page, in its figures with data-picture. `pictures` has {applies, controls, draw} by name:
 *
 * - `applies` says whether the picture has something to show for these cases.
 * - `controls` are {key, label, options, usual} in their order, given the choices so far.
 * - `draw` gives {traces, layout, summary} for {cases, rows, blocks, choice, look}.
 *
 * Pictures near the view are drawn first, one after the other, with their latest choices. The others are drawn when the
 * browser is idle.
 */
export class Pictures {
  constructor({ pictures, cases, blocks, rows, openCase, openRows }) {
    Object.assign(this, { pictures, cases, blocks, rows, openCase, openRows, library: null, queue: Promise.resolve() });
    this.figures = [...document.querySelectorAll("[data-picture]")].filter((figure) => {
      const applies = pictures[figure.dataset.picture].applies(cases);
      figure.hidden = !applies;
      return applies;
    });
    this.version = 0;
    this.near = new Set();
    for (const figure of this.figures) this.showControls(figure);
    const watch = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (isIntersecting) {
            this.near.add(target);
            this.draw(target);
          } else this.near.delete(target);
        }
      },
      { rootMargin: "400px" },
    );
    const resized = new ResizeObserver((entries) => {
      for (const { target } of entries) this.drawIfNear(target.closest("[data-picture]"));
    });
    for (const figure of this.figures) {
      watch.observe(figure);
      resized.observe(figure.querySelector(".plot"));
    }
  }

  /** {controls, choice} of a picture. */
  choice(name) {
    return choiceOf(name, this.pictures[name], this.cases);
  }

  /** Draw again after a change of theme: pictures in view now, the others when they come into view. */
  recolour() {
    for (const figure of this.figures) this.drawIfNear(figure);
  }

  /** Draw all pictures again after a change of the rows. */
  refresh() {
    this.version += 1;
    for (const figure of this.figures) this.drawIfNear(figure);
    this.drawRest();
  }

  drawIfNear(figure) {
    if (this.near.has(figure)) this.draw(figure);
  }

  /** Draw the outdated pictures out of view when the browser is idle. */
  drawRest() {
    idle().then(() => {
      const next = this.figures.find((figure) => figure.dataset.drawn !== this.wanted(figure));
      if (next) this.draw(next).then(() => this.drawRest());
    });
  }

  /** What a drawing depends on, in one text. */
  wanted(figure) {
    const { choice } = this.choice(figure.dataset.picture);
    return JSON.stringify([theme(), figure.querySelector(".plot").clientWidth, this.version, choice]);
  }

  draw(figure) {
    this.library ??= idle().then(() => runPacked("plotly")); // it takes long, so the reader's first click comes first
    this.queue = this.queue.then(async () => {
      await this.library;
      const wanted = this.wanted(figure);
      if (figure.dataset.drawn !== wanted) {
        await this.drawNow(figure);
        figure.dataset.drawn = wanted;
        figure.dataset.theme = theme();
      }
    });
    return this.queue;
  }

  async drawNow(figure) {
    const name = figure.dataset.picture;
    const plot = figure.querySelector(".plot");
    const look = { theme: theme(), width: plot.clientWidth, height: plot.clientWidth < 560 ? 300 : 360 };
    const { choice } = this.choice(name);
    const { cases, blocks } = this;
    const { traces, layout, summary } = await this.pictures[name].draw({
      cases,
      rows: this.rows(),
      blocks,
      choice,
      look,
    });
    for (const trace of traces) trace.showlegend ??= false; // legends name values, not traces
    plot.style.height = `${layout.height}px`;
    await globalThis.Plotly.react(plot, traces, layout, { displayModeBar: false });
    figure.querySelector(".summary").textContent = summary;
    plot.setAttribute("aria-label", `${summary} Arrow keys move from dot to dot, Enter opens the case.`);
    if (!plot.dataset.listening) {
      plot.dataset.listening = "true";
      plot.on("plotly_click", ({ points: [point] }) => {
        plot.focus({ preventScroll: true }); // the reader returns to it
        this.clicked(point.customdata);
      });
      walkByKeyboard(figure, plot, (carried) => this.clicked(carried));
    }
  }

  /** A dot's custom data is its row; a cell's of the heat map are its rows. */
  clicked(carried) {
    if (typeof carried === "number") this.openCase(carried);
    else if (Array.isArray(carried) && carried.length === 1) this.openCase(carried[0]);
    else if (Array.isArray(carried)) this.openRows(carried);
  }

  /** The selects of a picture; they depend on the choices. */
  showControls(figure) {
    const name = figure.dataset.picture;
    const { controls, choice } = this.choice(name);
    const box = figure.querySelector(".controls");
    const focused = document.activeElement?.name;
    box.replaceChildren(
      ...controls.map(({ key, label, options, usual }) => {
        const select = document.createElement("select");
        select.name = `${name}.${key}`;
        for (const { value, text } of options) select.add(new Option(text, value, false, value === choice[key]));
        select.addEventListener("change", () => {
          remember(select.name, select.value, { usual });
          this.showControls(figure);
          this.draw(figure);
        });
        const named = document.createElement("label");
        named.append(`${label} `, select);
        return named;
      }),
    );
    if (focused) box.querySelector(`select[name="${focused}"]`)?.focus();
  }
}

/** Arrow keys point at one dot after the other, and screen readers read it. Enter opens its case. */
function walkByKeyboard(figure, plot, open) {
  const said = figure.querySelector(".said");
  let at = -1;
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const dots = plot.data.flatMap(({ customdata, type }, curveNumber) =>
      type === "heatmap"
        ? []
        : (customdata ?? []).flatMap((row, pointNumber) => (row === null ? [] : [{ curveNumber, pointNumber }])),
    );
    if (step && dots.length) {
      at = (at + step + dots.length) % dots.length;
      const { curveNumber, pointNumber } = dots[at];
      globalThis.Plotly.Fx.hover(plot, [dots[at]], plotOf(plot.data[curveNumber]));
      said.textContent = unescapePlotly(plot.data[curveNumber].text[pointNumber].replace(/<br>/g, ", "));
    } else if (event.key === "Enter" && dots[at])
      open(plot.data[dots[at].curveNumber].customdata[dots[at].pointNumber]);
    else return;
    event.preventDefault();
  });
}

/** Plotly's name of the panel with a trace: `xy`, `x2y2`. */
function plotOf({ xaxis = "x", yaxis = "y" }) {
  return [xaxis + yaxis];
}

/** Resolves when the browser is idle. */
function idle() {
  return new Promise((resolve) => {
    if (globalThis.requestIdleCallback) requestIdleCallback(resolve, { timeout: 1000 });
    else setTimeout(resolve, 200);
  });
}

/** Set a picture's choice and scroll to it. */
export function choose(pictures, name, choice) {
  for (const [key, value] of Object.entries(choice)) remember(`${name}.${key}`, value);
  const figure = pictures.figures.find(({ dataset }) => dataset.picture === name);
  if (!figure) return;
  pictures.showControls(figure);
  pictures.draw(figure);
  const heading = figure.querySelector("h3");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  figure.scrollIntoView({ block: "start" });
}
