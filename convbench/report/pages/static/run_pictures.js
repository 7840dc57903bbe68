// The pictures of the report on a run: the reader's choices in each, and the function that draws it.

import { metricsOf } from "./charts.js";
import { explorePicture } from "./explore.js";
import { heatPicture } from "./heatmap.js";
import { isNetwork, networkPicture, ways } from "./network.js";
import { noisePicture, rankingPicture } from "./ranking.js";
import { rooflinePicture } from "./roofline.js";
import { sidesPicture } from "./sides.js";

const NONE = "";

/** {value, text} of every axis, those named left out. */
function axisOptions(cases, except = []) {
  return cases.axes
    .filter(({ name }) => !except.includes(name))
    .map(({ name, title }) => ({ value: name, text: title }));
}

function withNone(options) {
  return [{ value: NONE, text: "nothing" }, ...options];
}

function metricOptions(cases) {
  return metricsOf(cases).map(({ name, title }) => ({ value: name, text: title }));
}

/** Axes, the most useful first: those with an order, then those with more values. */
function byInterest(cases) {
  const order = (axis) => (axis.scale === "words" ? 0 : 1000) + Math.min(axis.texts.length, 999);
  return [...cases.axes].sort((a, b) => order(b) - order(a)).map(({ name }) => name);
}

/** The default axis for colours: the direction, else one with few values. */
function usualColour(cases, except) {
  const few = cases.axes.filter(({ name, texts }) => !except.includes(name) && texts.length <= 8);
  const found = few.find(({ name }) => name === "direction") ?? few.find(({ scale }) => scale === "words") ?? few[0];
  return found?.name ?? NONE;
}

/** The pictures, as the argument of `Pictures`. */
export const RUN_PICTURES = {
  explore: {
    applies: (cases) => cases.axes.length > 0,
    controls: (cases, chosen) => {
      const [first] = byInterest(cases);
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
      const [first, second] = byInterest(cases);
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
    applies: (cases) => cases.axes.length > 0,
    controls: (cases, chosen) => {
      const usual = cases.axis.has("direction") ? "direction" : cases.axes[0].name;
      const axis = cases.axis.get(chosen.axis ?? usual);
      const values = (except) => axis.texts.filter((text) => text !== except).map((text) => ({ value: text, text }));
      const first = axis.texts.includes(chosen.first) ? chosen.first : axis.texts[0];
      return [
        { key: "axis", label: "Compare values of", options: axisOptions(cases), usual },
        { key: "first", label: "across", options: values(), usual: axis.texts[0] },
        { key: "second", label: "up", options: values(first), usual: axis.texts.find((text) => text !== first) },
        {
          key: "colour",
          label: "coloured by",
          options: withNone(axisOptions(cases, [axis.name])),
          usual: usualColour(cases, [axis.name]),
        },
      ];
    },
    draw: ({ cases, rows, choice, look }) => sidesPicture(cases, rows, choice, look),
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
    applies: isNetwork,
    controls: (cases) => {
      const options = ways(cases, cases.ranked).map(({ text }) => ({ value: text, text }));
      return options.length > 1 ? [{ key: "way", label: "The network as", options, usual: options[0].value }] : [];
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
    controls: () => [],
    draw: async ({ cases, rows, blocks, look }) => noisePicture(cases, rows, await blocks(), look),
  },
};
