// The pictures of the report on a run: the reader's choices in each, and the function that draws it.

import { metricsOf } from "./charts.js";
import { explorePicture } from "./explore.js";
import { heatPicture } from "./heatmap.js";
import { EACH_WAY, networkPicture, ways } from "./network.js";
import { noisePicture, rankingPicture } from "./ranking.js";
import { speedupPicture } from "./ratio.js";
import { rooflinePicture } from "./roofline.js";
import { sidesPicture } from "./sides.js";

const NONE = "";

/** {value, text} of every axis, those named left out. */
function axisOptions(cases, except = []) {
  return cases.axes
    .filter(({ name }) => !except.includes(name))
    .map(({ name, title }) => ({ value: name, text: title }));
}

/** A text of some, the first one where it is not among them. */
function oneOf(texts, wanted) {
  return texts.includes(wanted) ? wanted : texts[0];
}

function withNone(options) {
  return [{ value: NONE, text: "nothing" }, ...options];
}

function metricOptions(cases) {
  return metricsOf(cases).map(({ name, title }) => ({ value: name, text: title }));
}

/** Axes, those that change the time most first. The direction comes last: it is a colour. */
function byEffect(cases) {
  const order = (axis) => (axis.name === "direction" ? -1 : axis.effect);
  return [...cases.axes].sort((a, b) => order(b) - order(a)).map(({ name }) => name);
}

/** Axes some of whose values have matched pairs. */
function comparedAxes(cases) {
  const compared = new Set(cases.contrasts.map(({ axis }) => axis));
  return axisOptions(cases).filter(({ value }) => compared.has(value));
}

/** The default axis for colours: the direction, else one with few values. */
function usualColour(cases, except) {
  const few = cases.axes.filter(({ name, texts }) => !except.includes(name) && texts.length <= 8);
  const found = few.find(({ name }) => name === "direction") ?? few.find(({ scale }) => scale === "words") ?? few[0];
  return found?.name ?? NONE;
}

/** The pictures, as the argument of `Pictures`. */
export const RUN_PICTURES = {
  ratio: {
    applies: (cases) => cases.contrasts.length > 0,
    needs: "pairs",
    controls: (cases, chosen) => {
      const axis = chosen.axis ?? cases.first.axis;
      const values = cases.contrasts.filter((each) => each.axis === axis).map((each) => each.values);
      return [
        { key: "axis", label: "Setting", options: comparedAxes(cases), usual: cases.first.axis },
        {
          key: "values",
          label: "values",
          options: values.map((text) => ({ value: text, text })),
          usual: axis === cases.first.axis ? cases.first.values : values[0],
        },
        {
          key: "colour",
          label: "coloured by",
          options: withNone(axisOptions(cases, [axis])),
          usual: usualColour(cases, [axis]),
        },
      ];
    },
    draw: ({ cases, rows, source, choice, look }) => speedupPicture(cases, rows, source, choice, look),
  },
  explore: {
    applies: (cases) => cases.axes.length > 0,
    controls: (cases, chosen) => {
      const [first] = byEffect(cases);
      const x = chosen.x ?? first;
      const colour = chosen.colour ?? usualColour(cases, [x]);
      const rest = [x, colour];
      return [
        { key: "y", label: "Show", options: metricOptions(cases), usual: cases.time },
        { key: "x", label: "over", options: axisOptions(cases), usual: first },
        {
          key: "colour",
          label: "coloured by",
          options: withNone(axisOptions(cases, [x])),
          usual: usualColour(cases, [x]),
        },
        { key: "split", label: "split by", options: withNone(axisOptions(cases, rest)), usual: NONE },
      ];
    },
    draw: ({ cases, rows, choice, look }) => explorePicture(cases, rows, choice, look),
  },
  heat: {
    applies: (cases) => cases.axes.length > 1,
    controls: (cases, chosen) => {
      const [first, second] = byEffect(cases);
      const x = chosen.x ?? first;
      return [
        {
          key: "metric",
          label: "Show",
          options: metricOptions(cases),
          usual: cases.has("tflops") ? "tflops" : cases.time,
        },
        { key: "x", label: "over", options: axisOptions(cases), usual: first },
        { key: "y", label: "and", options: axisOptions(cases, [x]), usual: x === second ? first : second },
      ];
    },
    draw: ({ cases, rows, choice, look }) => heatPicture(cases, rows, choice, look),
  },
  sides: {
    applies: (cases) => comparedAxes(cases).length > 0,
    needs: "pairs",
    controls: (cases, chosen) => {
      const usual = cases.first.axis;
      const axis = cases.axis.get(chosen.axis ?? usual);
      const compared = cases.contrasts.filter((each) => each.axis === axis.name);
      const contrast = axis.name === usual ? cases.first : compared[0];
      const values = (except) => axis.texts.filter((text) => text !== except).map((text) => ({ value: text, text }));
      const first = axis.texts.includes(chosen.first) ? chosen.first : oneOf(axis.texts, contrast.base);
      return [
        { key: "axis", label: "Compare values of", options: comparedAxes(cases), usual },
        { key: "first", label: "across", options: values(), usual: oneOf(axis.texts, contrast.base) },
        {
          key: "second",
          label: "up",
          options: values(first),
          usual: oneOf(
            axis.texts.filter((text) => text !== first),
            contrast.other,
          ),
        },
        {
          key: "colour",
          label: "coloured by",
          options: withNone(axisOptions(cases, [axis.name])),
          usual: usualColour(cases, [axis.name]),
        },
      ];
    },
    draw: ({ cases, rows, source, choice, look }) => sidesPicture(cases, rows, source, choice, look),
  },
  roofline: {
    applies: (cases) => cases.ranked.length > 0,
    controls: (cases) => {
      const bound = cases.has("bound") ? [{ value: "bound", text: "Nearer roof" }] : [];
      const options = withNone([...bound, ...axisOptions(cases)]);
      return [
        { key: "colour", label: "Coloured by", options, usual: usualColour(cases, []) || bound[0]?.value || NONE },
      ];
    },
    draw: ({ cases, rows, choice, look }) => rooflinePicture(cases, rows, choice, look),
  },
  network: {
    applies: (cases) => ways(cases, cases.ranked).length > 0,
    controls: (cases) => {
      const options = ways(cases, cases.ranked).map(({ text }) => ({ value: text, text }));
      const each = { value: EACH_WAY, text: "all, side by side" };
      return options.length > 1
        ? [{ key: "way", label: "The network with", options: [each, ...options], usual: EACH_WAY }]
        : [];
    },
    draw: ({ cases, rows, choice, look }) => networkPicture(cases, rows, choice, look),
  },
  ranking: {
    applies: (cases) => cases.ranked.length > 0,
    controls: (cases) => {
      if (!cases.axes.length) return [];
      const options = withNone(axisOptions(cases));
      return [{ key: "colour", label: "Coloured by", options, usual: usualColour(cases, []) }];
    },
    draw: ({ cases, rows, choice, look }) => rankingPicture(cases, rows, choice, look),
  },
  noise: {
    applies: (cases) => cases.ranked.length > 0,
    needs: "blocks",
    controls: () => [],
    draw: ({ cases, rows, source, look }) => noisePicture(cases, rows, source, look),
  },
};
