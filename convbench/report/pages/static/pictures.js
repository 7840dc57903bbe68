// The pictures of a page: the choices in each, and drawing them when they come into view.

import { paper, theme } from "./colours.js";
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
 * - `needs` names the source that it draws from beside the cases; `sources` has functions that read them by name.
 * - `draw` gives {traces, layout, summary, fold} for {cases, rows, source, choice, look}. A `fold` is {title, content}: the
 *   figure's details, made when they are opened.
 *
 * Pictures near the view are drawn first, one after the other, with their latest choices. The others are drawn when the
 * browser is idle.
 */
export class Pictures {
  constructor({ pictures, cases, sources, rows, openCase, openRows }) {
    Object.assign(this, { pictures, cases, sources, rows, openCase, openRows, library: null });
    this.queue = Promise.resolve();
    this.read = {};
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
      figure.querySelector("details")?.addEventListener("toggle", ({ target }) => showFold(target));
    }
    globalThis.addEventListener("beforeprint", () => this.drawNowAll());
    document.addEventListener("keydown", (event) => this.printKey(event));
  }

  /** The browser prints as soon as the page has been asked, so what can be drawn is drawn at once. */
  drawNowAll() {
    if (!globalThis.Plotly) return;
    for (const figure of this.outdated()) {
      const { needs } = this.pictures[figure.dataset.picture];
      if (!needs || this.read[needs]) this.drawNow(figure);
    }
  }

  /** The usual key for printing waits until all pictures are drawn. */
  async printKey(event) {
    if (event.key !== "p" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    const outdated = this.outdated();
    if (!outdated.length) return;
    event.preventDefault();
    for (const figure of outdated) this.draw(figure);
    await this.queue;
    globalThis.print();
  }

  /** The figures whose drawing does not show their choices. */
  outdated() {
    return this.figures.filter((figure) => figure.dataset.drawn !== this.wanted(figure));
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
      const [next] = this.outdated();
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
      const { needs } = this.pictures[figure.dataset.picture];
      if (needs) this.read[needs] ??= await this.sources[needs]();
      if (figure.dataset.drawn !== this.wanted(figure)) this.drawNow(figure);
    });
    return this.queue;
  }

  /** Draws at once; the library and the picture's source have been read. */
  drawNow(figure) {
    const wanted = this.wanted(figure);
    const name = figure.dataset.picture;
    const plot = figure.querySelector(".plot");
    const look = { theme: theme(), width: plot.clientWidth, height: plot.clientWidth < 560 ? 300 : 360 };
    const { choice } = this.choice(name);
    const { draw, needs } = this.pictures[name];
    const source = needs ? this.read[needs] : null;
    const { traces, layout, summary, fold } = draw({ cases: this.cases, rows: this.rows(), source, choice, look });
    if (matchMedia(BELOW).matches) {
      layout.margin.b += HEIGHT_BELOW;
      layout.height += HEIGHT_BELOW;
    } else layout.margin.t = Math.max(layout.margin.t, SAVE_HEIGHT);
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: paper(look.theme).muted, activecolor: paper(look.theme).ink };
    for (const trace of traces) trace.showlegend ??= false; // legends name values, not traces
    plot.style.height = `${layout.height}px`;
    plot.classList.toggle("empty", !traces.length); // its summary says why
    if (traces.length) globalThis.Plotly.react(plot, traces, layout, saving());
    else forget(plot); // without traces its axes have no range, which plotly refuses
    figure.querySelector(".summary").textContent = summary;
    plot.setAttribute("aria-label", `${summary} Arrow keys move from dot to dot, Enter opens the case.`);
    plot.image = (format) => globalThis.Plotly.toImage(asSaved(plot), { format, ...SAVED });
    const details = figure.querySelector("details");
    if (details) {
      details.hidden = !fold;
      details.fold = fold;
      details.dataset.stale = "true";
      if (fold) details.querySelector("summary").textContent = fold.title;
      showFold(details);
    }
    figure.dataset.drawn = wanted;
    figure.dataset.theme = look.theme;
    if (traces.length && !plot.dataset.listening) {
      plot.dataset.listening = "true";
      plot.on("plotly_click", ({ points: [point] }) => {
        plot.focus({ preventScroll: true }); // the reader returns to it
        this.clicked(point.customdata);
      });
    }
    if (!plot.hasAttribute("tabindex")) walkByKeyboard(figure, plot, (carried) => this.clicked(carried));
    plot.tabIndex = traces.length ? 0 : -1;
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

/** Remove a drawing with its dots and what listens to them. */
function forget(plot) {
  globalThis.Plotly.purge(plot);
  delete plot.dataset.listening;
}

/** Fill an open fold with the content of the latest drawing. */
function showFold(details) {
  if (!details.open || !details.fold || !details.dataset.stale) return;
  delete details.dataset.stale;
  details.replaceChildren(details.querySelector("summary"), details.fold.content());
}

/** Room for the buttons that save a picture, pixels: above it, or in narrow windows below its title (report.css). */
const SAVE_HEIGHT = 24;
const HEIGHT_BELOW = 38;
const BELOW = "(max-width: 560px)";
const SAVED = { width: null, height: null, scale: 2 };
const FORMATS = ["svg", "png"];
let savingConfig = null;

/** Plotly's configuration: two buttons, which save the picture. It is one object, so that plotly redraws nothing for it. */
function saving() {
  savingConfig ??= {
    displayModeBar: true,
    displaylogo: false,
    modeBarButtons: [
      FORMATS.map((format) => ({
        name: format,
        title: `Save as ${format.toUpperCase()}`,
        icon: {
          svg: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 34 16" width="34" height="16"><text x="17" y="13" text-anchor="middle" font-family="system-ui, sans-serif" font-size="13">${format.toUpperCase()}</text></svg>`,
        },
        click: (plot) => {
          const page = document.querySelector("title").dataset.file;
          const filename = `${page}-${plot.closest("[data-picture]").dataset.picture}`;
          globalThis.Plotly.downloadImage(asSaved(plot), { format, filename, ...SAVED });
        },
      })),
    ],
  };
  return savingConfig;
}

/** A drawn picture with the page's background. */
function asSaved({ data, layout }) {
  const background = getComputedStyle(document.body).backgroundColor;
  return { data, layout: { ...layout, paper_bgcolor: background, plot_bgcolor: background } };
}

/** Arrow keys point at one dot after the other, and screen readers read it. Enter opens its case. */
function walkByKeyboard(figure, plot, open) {
  const said = figure.querySelector(".said");
  let at = -1;
  plot.setAttribute("role", "application");
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const dots = (plot.data ?? []).flatMap(({ customdata, type }, curveNumber) =>
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
